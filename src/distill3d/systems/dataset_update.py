"""Editing by iterative dataset update (Haque et al. 2023, Instruct-NeRF2NeRF): pictures are edited, the scene follows.

The data set is a ring of pictures of the scene. Every few steps some of them are replaced by edited ones, made from
what the scene looks like by then; in every step the scene is fitted to some of them as if they were photographs. Edits
of single pictures do not agree with each other, and the scene is what they have in common; pictures made from the
scene agree better with every round.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.rendering import Rendering
from distill3d.files.captures import Normalization
from distill3d.guidance.pictures import shown
from distill3d.renderers import Renderer
from distill3d.systems.edit import Edit, bytes_of
from distill3d.systems.frame_editing import FrameEditConfig, check_prior, edited_frames

BACKGROUND = 0.5  # behind the frames of a prior that knows no coverage
HUBER = 0.1  # difference of colours up to which the loss is quadratic: a few wrong frames do not decide
SHOWN = 4  # frames of a preview


class DatasetUpdate(Edit):
    """A scene that is refitted to pictures of itself, which a prior edits one after the other."""

    kind: ClassVar[str] = "dataset_update"
    begun_by: ClassVar[str | None] = "distill3d edit SOURCE INSTRUCTION --method in2n"
    frames: Tensor  # [N, R, R, C], the data set as it is by now
    poses: Tensor  # [N, 4, 4] camera to world
    lenses: Tensor  # [N, 3, 3]
    lights: Tensor  # [N]
    order: Tensor  # [N], in which frames are replaced in this round
    replaced: Tensor  # [N], how often each frame was replaced

    class Config(Edit.Config):
        """As for every edit, with `edits` instead of `guidance`: how frames are edited. `frames`: how many there are;
        `every` so many steps, `at_once` of them are replaced. `cameras` says where they stand, `cameras.views` how many
        of them a step is fitted to. `light.shaded` is a share of the frames. Where frames are edited by an instruction,
        `prompt` is it, and there is no `source_prompt`."""

        source_prompt: str = ""
        guidance: list[dict[str, Any]] = []
        edits: FrameEditConfig = FrameEditConfig()
        frames: int = Field(24, ge=1, le=1000)
        every: int = Field(10, ge=1)
        at_once: int = Field(1, ge=1, le=64)

        @field_validator("guidance")
        @classmethod
        def _none(cls, guidance: list[dict[str, Any]]) -> list[dict[str, Any]]:
            if guidance:
                raise ValueError("a scene that is refitted to edited frames has no guidance: see edits")
            return guidance

        @field_validator("source_prompt")
        @classmethod
        def _says_what_it_is(cls, prompt: str) -> str:
            return prompt.strip()

        @field_validator("at_once")
        @classmethod
        def _no_frame_twice(cls, count: int, info: Any) -> int:
            if "frames" in info.data and count > info.data["frames"]:
                raise ValueError(f"at_once is at most the number of frames ({info.data['frames']})")
            return count

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator, **more: Any) -> None:
        super().__init__(config, device, generator, **more)
        check_prior(self.prior, config.edits.by, config.prior.get("model", config.prior["kind"]))
        count, size = config.frames, self.prior.resolution
        shape = {
            "frames": (count, size, size, self.prior.channels),
            "poses": (count, 4, 4),
            "lenses": (count, 3, 3),
            "lights": (count,),
        }
        for name, numbers in shape.items():
            self.register_buffer(name, torch.zeros(numbers, device=device))
        for name in ("order", "replaced"):
            self.register_buffer(name, torch.zeros(count, dtype=torch.long, device=device))

    def take(self, scene: Renderer, placing: Normalization | None = None, own: Cameras | None = None) -> None:
        """Begins with a scene, and with pictures of it."""
        super().take(scene, placing, own)
        config = self.config
        ring = self.views(0, config.frames)
        self.poses.copy_(ring.camera_to_world)
        self.lenses.copy_(ring.intrinsics)
        shaded = torch.arange(config.frames) < round(config.light.shaded * config.frames)
        self.lights.copy_(shaded.float()[self._shuffled().cpu()])
        for part in torch.arange(config.frames, device=self.device).split(8):
            self.frames[part] = shown(self._drawn(self.source, part), self.prior)

    def losses(self, step: int) -> dict[str, Tensor]:
        config = self.config
        if step % config.every == 0:
            self.update(step)
        drawn = torch.rand(config.frames, generator=self.generator, device=self.generator.device)
        some = drawn.argsort()[: min(config.cameras.views, config.frames)].to(self.device)
        rendering = self._rendered(self.renderer, some)
        difference = torch.nn.functional.smooth_l1_loss(shown(rendering, self.prior), self.frames[some], beta=HUBER)
        self._metrics |= {"samples": float(rendering.extras.get("samples", 0)), "replaced": float(self.replaced.sum())}
        return {"frames": difference} | self.penalties(rendering, step)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Replaces the next frames in the round's order by edited pictures of the scene as it is."""
        config = self.config
        done = int(self.replaced.sum())
        picked = []
        for i in range(done, done + config.at_once):
            if i % config.frames == 0:
                self.order.copy_(self._shuffled())
            picked.append(self.order[i % config.frames].clone())
        which = torch.stack(picked).unique()  # a round that ends may name a frame that the next one begins with
        self.frames[which] = edited_frames(
            self.prior,
            config.edits,
            config.prompt,
            self._drawn(self.renderer, which),
            self._drawn(self.source, which),
            self.cameras(which),
            self.lights[which],
            step,
            self.generator,
            config.negative_prompt,
        ).to(self.frames)
        self.replaced.index_add_(0, torch.stack(picked), torch.ones_like(self.order[: len(picked)]))

    def cameras(self, which: Tensor) -> Cameras:
        """The cameras of some frames."""
        size = round(self.config.cameras.size.at(0))
        return Cameras(self.poses[which], self.lenses[which], size, size)

    def _rendered(self, renderer: Renderer, which: Tensor) -> Rendering:
        """Some frames' views of a scene."""
        light = self.lights[which]
        behind = torch.full((len(which), 3), BACKGROUND, device=self.device)
        normals = self.config.losses.orientation.at(0) > 0
        return renderer(self.cameras(which), behind, light if bool(light.any()) else None, normals)

    @torch.no_grad()
    def _drawn(self, renderer: Renderer, which: Tensor) -> Rendering:
        """The same without jitter of samples, as a picture is looked at."""
        was_training = renderer.training
        renderer.eval()
        rendering = self._rendered(renderer, which)
        renderer.train(was_training)
        return rendering

    def _shuffled(self) -> Tensor:
        keys = torch.rand(self.config.frames, generator=self.generator, device=self.generator.device)
        return keys.argsort().to(self.device)

    @torch.no_grad()
    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides before and after, and some frames: as they were, as they are in the data set, as the scene is."""
        return super().preview(step) | {"frames": self._sheet()}

    @torch.no_grad()
    def findings(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        numbers, pictures = super().findings()
        found = {"frames_replaced": float((self.replaced > 0).sum()), "replacements": float(self.replaced.sum())}
        return numbers | found, pictures | {"frames": self._sheet()}

    def _sheet(self) -> np.ndarray:
        some = torch.arange(min(SHOWN, self.config.frames), device=self.device)
        was, now = (shown(self._drawn(r, some), self.prior) for r in (self.source, self.renderer))
        return bytes_of(torch.cat([torch.cat(list(row[..., :3]), 1) for row in (was, self.frames[some], now)], 0))
