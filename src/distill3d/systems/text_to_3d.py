"""A sentence becomes a scene: random views, a guidance's opinion of them, and penalties that keep the volume solid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import field_validator
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering
from distill3d.diffusion import multi_view  # noqa: F401 (registers its kind of prior)
from distill3d.diffusion.prior import Prior
from distill3d.guidance import Guidance
from distill3d.renderers import Renderer
from distill3d.renderers.mesh_regularizers import laplacian, normal_consistency
from distill3d.renderers.regularizers import distortion, opacity_entropy, orientation, sparsity
from distill3d.systems.base import System, SystemConfig
from distill3d.systems.cameras import (
    BackgroundConfig,
    CameraConfig,
    LightConfig,
    check_together,
    random_background,
    random_cameras,
    random_light,
)


class LossConfig(Config):
    """Weights of the penalties, ramps over steps: on the rendering of a volume (`renderers.regularizers`), and on the
    surface of a mesh or of tetrahedra (`laplacian`, `normal_consistency`; `renderers.mesh_regularizers`)."""

    orientation: NumberRampField = Ramp(0.0)
    sparsity: NumberRampField = Ramp(0.0)
    opacity: NumberRampField = Ramp(0.0)
    distortion: NumberRampField = Ramp(0.0)
    laplacian: NumberRampField = Ramp(0.0)
    normal_consistency: NumberRampField = Ramp(0.0)


class PromptConfig(Config):
    """`prompt` says what to make; `negative_prompt` what not; `prior` is asked."""

    prompt: str
    negative_prompt: str = ""
    prior: dict[str, Any] = {"kind": "diffusion", "model": "toybox"}

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("the prompt is empty: say what to make")
        return prompt.strip()


class DistillationConfig(Config):
    """What is optimised, who judges it, and from where it is seen. `renderer` and each of `guidance` name a `kind` and
    its keys; `distill3d list` shows them."""

    renderer: dict[str, Any] = {"kind": "nerf"}
    guidance: list[dict[str, Any]] = [{"kind": "sds"}]
    cameras: CameraConfig = CameraConfig()
    light: LightConfig = LightConfig()
    background: BackgroundConfig = BackgroundConfig()
    losses: LossConfig = LossConfig()


def begun(config: Any) -> dict[str, Any]:
    """The section of the renderer; part Gaussians that are told no other start begin as what the prompt says."""
    section: dict[str, Any] = config.renderer
    untold = section.get("kind") == "parts" and not section.get("start")
    return section | {"start": config.prompt} if untold else section


class TextTo3D(System):
    """Text to 3D by distillation: any renderer with any guidance (DreamFusion, Poole et al. 2023, and its kin).

    Args:
        prior: a prior that is built already; None builds the one that the config names.
    """

    kind: ClassVar[str] = "text_to_3d"
    sections: ClassVar[dict[str, Any]] = {"prior": Prior, "renderer": Renderer, "guidance": Guidance}

    class Config(DistillationConfig, PromptConfig, SystemConfig):
        """A prompt, a prior, a renderer and its guidance."""

    def __init__(
        self, config: Any, device: torch.device, generator: torch.Generator, prior: Prior | None = None
    ) -> None:
        super().__init__(config, device, generator)
        prior = prior or Prior.build(config.prior, "prior", device=device)
        check_together(config.cameras, prior.together)
        prior.requires_grad_(False)
        self._prior = (prior,)  # in a tuple: its weights are no part of this system's state
        self.renderer = Renderer.build(begun(config), "renderer", generator=generator).to(device)
        self.guidance = torch.nn.ModuleList(
            Guidance.build(
                section,
                f"guidance.{i}",
                prior=prior,
                prompt=config.prompt,
                negative_prompt=config.negative_prompt,
                generator=generator,
                **self.told(section),
            )
            for i, section in enumerate(config.guidance)
        )
        self._metrics: dict[str, float] = {}

    @property
    def prior(self) -> Prior:
        return self._prior[0]

    def told(self, section: dict[str, Any]) -> dict[str, Any]:
        """What else the guidance of a section is told, by keyword."""
        return {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = self.renderer.parameter_groups()
        for guidance in self.guidance:
            assert isinstance(guidance, Guidance)
            groups += guidance.parameter_groups()
        return groups

    def notices(self) -> list[str]:
        prompt, told = self.config.prompt, []
        unknown, unheard = self.prior.unknown_words(prompt), self.prior.unheard(prompt)
        if unknown:
            told.append(f"words that the prior has never met, and will not hear: {', '.join(unknown)}")
        if unheard:
            told.append(f"the prompt is too long for the prior, which will not hear: {unheard}")
        return told

    def losses(self, step: int) -> dict[str, Tensor]:
        cameras, rendering = self.render(step)
        losses: dict[str, Tensor] = {}
        self._metrics = {"samples": float(rendering.extras.get("samples", 0))}
        for i, guidance in enumerate(self.guidance):
            kind = self.config.guidance[i]["kind"]
            name = kind if i == 0 else f"{kind}_{i}"
            output = guidance(rendering, cameras, step)
            losses[name] = output.loss
            self._metrics |= {f"{name}/{key}": value for key, value in output.metrics.items()}
        return losses | self.penalties(rendering, step)

    def render(self, step: int) -> tuple[Cameras, Rendering]:
        """The random views of one step. `extras["light"]` tells the guidance how they are lit."""
        config, count = self.config, self.config.cameras.views
        cameras = self.views(step, count)
        light, textureless = random_light(config.light, step, count, self.generator)
        background = random_background(config.background, count, self.generator)
        light = None if light is None else light.to(self.device)
        background = None if background is None else background.to(self.device)
        seen = any(isinstance(guidance, Guidance) and guidance.sees_normals for guidance in self.guidance)
        normals = seen or config.losses.orientation.at(step) > 0

        def draw(renderer: Renderer) -> Rendering:
            rendering = renderer(cameras, background=background, light=light, normals=normals)
            if textureless:
                rendering = without_color(rendering, light)
            rendering.extras["light"] = torch.zeros(count, device=self.device) if light is None else light
            return rendering

        return cameras, self.drawn(draw)

    def views(self, step: int, count: int) -> Cameras:
        """`count` cameras of one step."""
        config = self.config.cameras.model_copy(update={"views": count})
        return random_cameras(config, step, self.generator).to(self.device)

    def drawn(self, draw: Callable[[Renderer], Rendering]) -> Rendering:
        """The views that the guidance is shown."""
        return draw(self.renderer)

    def penalties(self, rendering: Rendering, step: int) -> dict[str, Tensor]:
        weights = {name: ramp.at(step) for name, ramp in self.config.losses}
        losses = {}
        if weights["orientation"] and rendering.normal is not None:
            away = orientation(rendering.normal, rendering.extras["directions"], rendering.alpha)
            losses["orientation"] = weights["orientation"] * away
        if weights["sparsity"]:
            losses["sparsity"] = weights["sparsity"] * sparsity(rendering.alpha)
        if weights["opacity"]:
            losses["opacity"] = weights["opacity"] * opacity_entropy(rendering.alpha)
        if weights["distortion"] and "distortion" in rendering.extras:
            losses["distortion"] = weights["distortion"] * distortion(rendering.extras["distortion"])
        if "surface" in rendering.extras:
            vertices, faces, edges = rendering.extras["surface"]
            if weights["laplacian"]:
                losses["laplacian"] = weights["laplacian"] * laplacian(vertices, edges)
            if weights["normal_consistency"]:
                bent = normal_consistency(vertices, faces, edges)
                losses["normal_consistency"] = weights["normal_consistency"] * bent
        return losses

    def metrics(self) -> dict[str, float]:
        return self._metrics

    def preview(self, step: int) -> dict[str, np.ndarray]:
        """Four sides of the object in plain colour, in one row."""
        return {"views": self.sides_of(self.renderer)}

    @torch.no_grad()
    def sides_of(self, renderer: Renderer) -> np.ndarray:
        """Four sides of a scene, uint8 [128, 512, 3]."""
        turn = torch.arange(4) * (torch.pi / 2) + 0.5
        cameras = Cameras.orbit(turn, 0.3, 2.8, 0.785, 128).to(self.device)
        was_training = renderer.training
        renderer.eval()
        rendering = renderer(cameras, background=torch.full((3,), 0.5, device=self.device))
        renderer.train(was_training)
        row = torch.cat(list(rendering.rgb), 1).clamp(0, 1)
        return (row * 255).round().byte().cpu().numpy()


def without_color(rendering: Rendering, light: Tensor | None) -> Rendering:
    """The same views of an object of plain grey, with their shading: shows shape alone (DreamFusion, section 3.1)."""
    from distill3d.renderers.base import shade

    if light is None or rendering.normal is None:
        return rendering
    brightness = shade(rendering.normal, -rendering.extras["directions"], light.view(-1, 1, 1))[..., None]
    foreground = (rendering.alpha * brightness * 0.8).expand(-1, -1, -1, 3)
    behind = rendering.rgb - rendering.extras["foreground"]
    return Rendering(
        foreground + behind,
        rendering.alpha,
        rendering.depth,
        rendering.normal,
        rendering.extras | {"foreground": foreground},
    )
