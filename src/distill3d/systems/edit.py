"""Editing a scene that exists: its renderer again, from where it stands, beside a copy that stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, field_validator, model_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.rendering import Rendering
from distill3d.diffusion.text_image import TOYBOX, TextImageEncoder, check, load_text_image
from distill3d.files.captures import Normalization
from distill3d.geometry.picture_quality import psnr
from distill3d.geometry.region import Region
from distill3d.guidance import Guidance
from distill3d.guidance.editing import Editing
from distill3d.renderers import GaussianRenderer, MeshRenderer, NerfRenderer, Renderer
from distill3d.systems.base import SystemConfig
from distill3d.systems.cameras import drawn, spread
from distill3d.systems.edit_region import check_region, hold_to, inside_and_all
from distill3d.systems.edit_sentences import change_as_told, in_wrong_order
from distill3d.systems.region_picture import volume_share
from distill3d.systems.text_to_3d import DistillationConfig, PromptConfig, TextTo3D

SIDES, SIDE_PIXELS = 4, 128  # views of previews and findings


class Edit(TextTo3D):
    """A scene, what it was in words, and what it should become (delta denoising, posterior distillation, or SDS).

    `take` gives it the scene; a checkpoint holds both, so that a run needs its source no more once it has begun.
    """

    kind: ClassVar[str] = "edit"
    begun_by: ClassVar[str | None] = "distill3d edit SOURCE BEFORE AFTER"
    source: Renderer
    normalization: Tensor  # [4, 4] float64, from the file's world to the scene's
    own_poses: Tensor  # [N, 4, 4] camera to world, of the capture that the scene was made from
    own_lenses: Tensor  # [N, 3, 3], of pictures one pixel wide and high

    class Config(DistillationConfig, PromptConfig, SystemConfig):
        """`source` says where the scene came from and `source_prompt` what it is; `prompt`, what it should become.
        `renderer` is filled in from the source. `moves` are the parameter groups of the renderer that may change, by
        name; all of them where it is empty; `rates` are factors on the learning rates of some of them. `region`, in the
        source's own coordinates, is the only part of space that may change (see `geometry.region`); `region_told` is
        what a person is told instead of it. `clip` is the text-image encoder (a name or folder of
        `diffusion.text_image`) that the findings' directional similarity is asked of; left out, it is the embedded one
        for the embedded priors, and for others there is none. `own_views`: the number of cameras of its capture that
        the scene is seen from; with 0 they are random ones all around it, as `cameras` says."""

        source: str
        source_prompt: str
        moves: tuple[str, ...] = ()
        rates: dict[str, NonNegativeFloat] = {}
        region: str | None = None
        region_told: str = ""
        clip: str | None = None
        own_views: int = Field(0, ge=0, le=10_000)

        @field_validator("source_prompt")
        @classmethod
        def _says_what_it_is(cls, prompt: str) -> str:
            if not prompt.strip():
                raise ValueError("say what the scene is, before the edit")
            return prompt.strip()

        @model_validator(mode="after")
        def _region_holds(self) -> Edit.Config:
            if self.region is not None:
                Region.parse(self.region)
                if self.optimizer.weight_decay:
                    raise ValueError("optimizer.weight_decay would change what lies outside the region")
            return self

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator, **more: Any) -> None:
        super().__init__(config, device, generator, **more)
        section = {**config.renderer, "region": None} if "region" in config.renderer else config.renderer
        self.source = Renderer.build(section, "renderer", generator=generator).to(device)
        self.source.requires_grad_(False)
        self.register_buffer("normalization", torch.eye(4, dtype=torch.float64, device=device))
        for name, shape in (("own_poses", (4, 4)), ("own_lenses", (3, 3))):
            self.register_buffer(name, torch.zeros(config.own_views, *shape, device=device))
        self._held = False
        if config.clip is not None:
            check(config.clip, "clip")  # before the work, not after it
        for renderer in (self.renderer, self.source):
            with_all_harmonics(renderer)

    def told(self, section: dict[str, Any]) -> dict[str, Any]:
        edits = issubclass(Guidance.find(section["kind"]), Editing)
        return {"source_prompt": self.config.source_prompt} if edits else {}

    def take(self, scene: Renderer, placing: Normalization | None = None, own: Cameras | None = None) -> None:
        """Begins with a scene of the config's renderer. `placing`: how it was moved into the unit ball. `own`: the
        cameras of its capture, as many as `own_views`, square pinholes."""
        if own is not None:
            own = own.resized(1)
            self.own_poses.copy_(own.camera_to_world)
            self.own_lenses.copy_(own.intrinsics)
        if placing is not None:
            self.normalization.copy_(torch.from_numpy(placing.matrix))
        if isinstance(scene, MeshRenderer):
            scene.advance(0)  # folds the last step in, before its pins are drawn
            scene.pinned = None
        state = {name: value.clone() for name, value in scene.state_dict().items()}
        self.source.load_state_dict(state)
        region = self.region
        if region is not None and isinstance(self.renderer, NerfRenderer) and isinstance(scene, NerfRenderer):
            self.renderer.edit_of(scene, region.to_file)
            return
        self.renderer.load_state_dict(state)
        if region is not None and isinstance(self.renderer, MeshRenderer):
            self.renderer.pinned = ~region.contains(self.source.get_buffer("base"))

    @property
    def region(self) -> Region | None:
        """The config's region in the world that is optimised."""
        if self.config.region is None:
            return None
        return Region.parse(self.config.region).seen_from(self.normalization.inverse())

    @property
    def placing(self) -> Normalization | None:
        matrix = self.normalization.cpu().numpy()
        return None if np.array_equal(matrix, np.eye(4)) else Normalization.from_matrix(matrix)

    def views(self, step: int, count: int) -> Cameras:
        if not self.config.own_views:
            return super().views(step, count)
        order = torch.argsort(drawn(self.generator, self.config.own_views))
        return self.own(order[torch.arange(count) % len(order)], round(self.config.cameras.size.at(step)))

    def own(self, which: Tensor, size: int) -> Cameras:
        """Some cameras of the capture, for pictures of `size` pixels."""
        which = which.to(self.device)
        return Cameras(self.own_poses[which], self.own_lenses[which], 1, 1).resized(size)

    @property
    def shown(self) -> Cameras:
        """The views of previews and findings."""
        if not self.config.own_views:
            return side_cameras(self.device)
        return self.own(torch.tensor(spread(self.config.own_views, SIDES)), SIDE_PIXELS)

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = super().parameter_groups()
        everywhere = ("background", "environment") if self.config.region is not None else ()
        moves = self.config.moves
        groups = [g for g in groups if (not moves or g.get("name") in moves) and g.get("name") not in everywhere]
        return [{**g, "lr": g["lr"] * self.config.rates.get(str(g.get("name")), 1.0)} for g in groups]

    def advance(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        region = self.region
        if region is not None and not self._held:  # of the source, so that a resumed edit holds the same elements
            hold_to(region, self.renderer, self.source, optimizer)
            self._held = True
        super().advance(step, optimizer)
        with_all_harmonics(self.renderer)

    @property
    def before(self) -> Renderer:
        return self.source

    def drawn(self, draw: Callable[[Renderer], Rendering]) -> Rendering:
        """The edited scene, with the same views of the source beside it: with the same jitter of the samples, so that
        a scene that has not changed looks the same to the bit."""
        before = self.generator.get_state()
        with torch.no_grad():
            was = draw(self.source.train(self.renderer.training))
        self.generator.set_state(before)
        rendering = draw(self.renderer)
        rendering.extras["source"] = was
        return rendering

    def notices(self) -> list[str]:
        same = self.config.source_prompt == self.config.prompt
        told = ["both sentences are the same: nothing will change"] if same else self._wrong_order()
        if self.region is not None:
            told.append(check_region(self.source, self.region, self.config.region_told or str(self.config.region)))
        return super().notices() + told

    @torch.no_grad()
    def _wrong_order(self) -> list[str]:
        if self._clip is None or not self.config.source_prompt:
            return []
        return in_wrong_order(
            self._clip, seen_from(self.shown, self.source)[0], self.config.source_prompt, self.config.prompt
        )

    @torch.no_grad()
    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides, before above after."""
        rows = [seen_from(self.shown, renderer) for renderer in (self.source, self.renderer)]
        return {"before_after": bytes_of(torch.cat([row for row, _ in rows], 0))}

    @torch.no_grad()
    def findings(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """How far the pictures are from the source's, whether they changed as the sentence did, and four sides."""
        (before, alpha), (after, alpha_after) = (seen_from(self.shown, r) for r in (self.source, self.renderer))
        moved = (before - after).square().mean()
        union = torch.maximum(alpha, alpha_after).sum().clamp(min=1e-6)
        numbers = {
            "psnr_to_source": float(-10 * moved.clamp(min=1e-10).log10()),
            "silhouette_iou_to_source": float(torch.minimum(alpha, alpha_after).sum() / union),
        }
        if self.region is not None:
            numbers |= change_by_region(self.region, (before - after).abs(), self.shown)
            numbers |= held_by(self.source, self.region)
        if self._clip is not None and self.config.source_prompt:
            numbers |= change_as_told(self._clip, before, after, self.config.source_prompt, self.config.prompt)
        return numbers, {"before_after": bytes_of(torch.cat([before, after], 0))}

    @cached_property
    def _clip(self) -> TextImageEncoder | None:
        embedded = str(self.config.prior.get("model", TOYBOX)).startswith(TOYBOX)
        name = self.config.clip or (TOYBOX if embedded else None)
        return None if name is None else load_text_image(name, self.device, "clip")


def with_all_harmonics(renderer: Renderer) -> None:
    """A scene that exists is seen as it is: letting in harmonics one after another is for one that begins."""
    if isinstance(renderer, GaussianRenderer):
        renderer.degree = renderer.config.sh_degree


def side_cameras(device: torch.device) -> Cameras:
    turn = torch.arange(SIDES) * (2 * torch.pi / SIDES) + 0.5
    return Cameras.orbit(turn, 0.3, 2.8, 0.785, SIDE_PIXELS).to(device)


def change_by_region(region: Region, difference: Tensor, cameras: Cameras) -> dict[str, float]:
    """The change of B cameras' pictures, [H, B W, 3] absolute, where rays go through the region and elsewhere."""
    origins, directions = cameras.rays()
    meets = region.meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(directions.shape[:-1])
    row = torch.cat(list(meets), 1)
    numbers = {}
    for name, where in (("through_region", row), ("beside_region", ~row)):
        if bool(where.any()):
            numbers[f"psnr_to_source_{name}"] = psnr(difference[where].square().mean())
            numbers[f"largest_change_{name}"] = float(difference[where].max())
    return numbers


def held_by(renderer: Renderer, region: Region) -> dict[str, float]:
    """How much of a scene lies in a region: its elements, and the share of the unit ball."""
    count, total, what = inside_and_all(renderer, region)
    name = what.replace(" ", "_").lower()
    share = volume_share(region)
    return {f"{name}_in_region": float(count), f"{name}_in_all": float(total), "region_of_unit_ball": share}


def sides(renderer: Renderer, device: torch.device) -> tuple[Tensor, Tensor]:
    """Four sides in plain colour in one row, [H, 4 W, 3], and their coverage [H, 4 W, 1]."""
    return seen_from(side_cameras(device), renderer)


def seen_from(cameras: Cameras, renderer: Renderer) -> tuple[Tensor, Tensor]:
    """The pictures of B cameras in plain colour in one row, [H, B W, 3], and their coverage [H, B W, 1]."""
    was_training = renderer.training
    renderer.eval()
    rendering = renderer(cameras, background=torch.full((3,), 0.5, device=cameras.device))
    renderer.train(was_training)
    return torch.cat(list(rendering.rgb), 1), torch.cat(list(rendering.alpha), 1)


def bytes_of(picture: Tensor) -> np.ndarray:
    return (picture.clamp(0, 1) * 255).round().byte().cpu().numpy()
