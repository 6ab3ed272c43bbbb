"""Photographs with poses become a scene: any renderer, fitted to pixels that it did see, judged by views it did not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from distill3d.core.component import Config
from distill3d.core.ramp import NumberRampField, Ramp
from distill3d.core.rendering import Rendering
from distill3d.files.captures import Capture, Normalization, read_capture
from distill3d.files.captures.undistort import undistorted
from distill3d.geometry.picture_quality import psnr, ssim
from distill3d.renderers import NerfRenderer, Renderer
from distill3d.renderers.regularizers import distortion
from distill3d.systems.base import System, SystemConfig
from distill3d.systems.capture_points import swept_points
from distill3d.systems.capture_rays import PixelSource

FIRST_RAYS = 1024  # before it is known how many samples a ray takes
RAY_STEP = 256  # the number of rays is a multiple of this


class BatchConfig(Config):
    """What one step sees. Renderers that trace rays get single pixels from all pictures, as many as take about
    `samples` evaluations of the field, and at most `rays`; the others get `views` whole pictures."""

    samples: int = Field(1 << 17, ge=1024, le=1 << 24)
    rays: int = Field(1 << 14, ge=RAY_STEP, le=1 << 20)
    views: int = Field(1, ge=1, le=64)


class FitConfig(Config):
    """Weights of the losses; ramps over steps. `ssim` is the share of 1 - SSIM against the mean absolute difference,
    for whole pictures (3D Gaussian Splatting, Kerbl et al. 2023, eq. 7); `distortion` is that of Mip-NeRF 360 eq. 15,
    for rays; `alpha` is for pictures with an alpha."""

    color: Literal["squared", "huber"] = "huber"
    ssim: float = Field(0.2, ge=0, le=1)
    alpha: NumberRampField = Ramp(0.1)
    distortion: NumberRampField = Ramp(0.0)


@dataclass(frozen=True)
class ViewQuality:
    """How well one held-out picture is met. psnr in dB; ssim is left out where the picture is too small for it."""

    name: str
    psnr: float
    ssim: float | None


class Reconstruct(System):
    """A capture to a scene, with any renderer."""

    kind: ClassVar[str] = "reconstruct"
    sections: ClassVar[dict[str, Any]] = {"renderer": Renderer}

    class Config(SystemConfig):
        """`data` is the capture's folder. `downscale` and `hold_out_every` are those of `read_capture`, `radius` is the
        farthest camera's distance from the middle in the scene's world. Every `judge_every` steps the PSNR of the
        held-out views is estimated from every `judge_stride`-th pixel each way. Splats start from the capture's points,
        and where it has none from about `start_points` that a sweep through depths finds."""

        data: str
        downscale: int | Literal["auto"] = "auto"
        hold_out_every: int = Field(8, ge=0)
        radius: float = Field(1.0, gt=0, le=100)
        renderer: dict[str, Any] = {"kind": "nerf"}
        batch: BatchConfig = BatchConfig()
        losses: FitConfig = FitConfig()
        start_points: int = Field(20_000, ge=0, le=1_000_000)
        judge_every: int = Field(100, ge=1)
        judge_stride: int = Field(6, ge=1)

        @property
        def subject(self) -> str:
            return Path(self.data).resolve().name

    normalization: Tensor  # [4, 4] float64, from the file's world to the scene's
    samples_per_ray: Tensor  # of the last steps, so that a resumed run takes as many rays

    def __init__(self, config: Any, device: torch.device, generator: torch.Generator) -> None:
        super().__init__(config, device, generator)
        capture = read_capture(config.data, config.downscale, config.hold_out_every, config.radius)
        self.renderer = Renderer.build(config.renderer, "renderer", generator=generator).to(device)
        self.traces = isinstance(self.renderer, NerfRenderer)
        self.capture = capture if self.traces else self._for_pictures(undistorted(capture))
        self.seen = PixelSource(self.capture, self.capture.part(held_out=False))
        self.kept = PixelSource(self.capture, self.capture.part(held_out=True))
        self.register_buffer("normalization", torch.from_numpy(capture.normalization.matrix))
        self.register_buffer("samples_per_ray", torch.zeros((), dtype=torch.float64))
        self._metrics: dict[str, float] = {}
        self._judged = -1
        self._step = 0

    def _for_pictures(self, capture: Capture) -> Capture:
        """The capture with points to start from, and the renderer started from them where it can be."""
        start = getattr(self.renderer, "start_from_capture", None)
        if start is None:
            return capture
        if capture.points is None and self.config.start_points:
            points, colors = swept_points(capture, self.config.start_points, self.generator)
            capture = replace(capture, points=points, colors=colors)
        start(capture)
        return capture

    @property
    def placing(self) -> Normalization:
        """From the world of the capture's file to the scene's."""
        return Normalization.from_matrix(self.normalization.cpu().numpy())

    def notices(self) -> list[str]:
        capture = self.capture
        learnt, kept = len(self.seen.pictures), len(self.kept.pictures)
        size = f"{capture.cameras.width} x {capture.cameras.height}"
        return [*capture.notices, f"{learnt} pictures of {size} to learn from, {kept} held out"]

    def losses(self, step: int) -> dict[str, Tensor]:
        self._step = step
        return self._losses_of_rays(step) if self.traces else self._losses_of_pictures(step)

    def metrics(self) -> dict[str, float]:
        """Numbers of the last step; every `judge_every` steps also the PSNR of the held-out views so far."""
        due = self._step // self.config.judge_every
        if len(self.kept.pictures) and due != self._judged:
            self._judged = due
            self._metrics["held_out/psnr"] = self.estimate()
        else:
            self._metrics.pop("held_out/psnr", None)
        return dict(self._metrics)

    @torch.no_grad()
    def estimate(self) -> float:
        """Mean PSNR over the held-out views, from a lattice of their pixels."""
        stride = self.config.judge_stride
        with self._judging():
            return float(np.mean([psnr(self._error(int(i), stride)) for i in self.kept.pictures]))

    @torch.no_grad()
    def qualities(self) -> list[ViewQuality]:
        """PSNR and SSIM of every held-out view, all of its pixels."""
        found = []
        with self._judging():
            for i in self.kept.pictures.tolist():
                shown, truth, counts = self.view(i)
                error = (shown - truth)[counts].square().mean()
                large = min(shown.shape[:2]) >= 11
                similar = float(ssim(shown[None], truth[None])) if large else None
                found.append(ViewQuality(name=self.capture.names[i], psnr=psnr(error), ssim=similar))
        return found

    def findings(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """What the report says at the end: numbers over the held-out views, and the worst, the middle and the best of
        these views [H, 2 W, 3] uint8 beside their photographs. Empty where nothing is held out."""
        found = sorted(self.qualities(), key=lambda quality: quality.psnr)
        if not found:
            return {}, {}
        numbers = {"held-out views": float(len(found)), "psnr": float(np.mean([q.psnr for q in found]))}
        similar = [q.ssim for q in found if q.ssim is not None]
        if similar:
            numbers["ssim"] = float(np.mean(similar))
        chosen = {"worst": found[0], "middle": found[len(found) // 2], "best": found[-1]}
        index = self.capture.names.index
        return numbers, {what: self._beside(index(quality.name)) for what, quality in chosen.items()}

    @torch.no_grad()
    def view(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """The scene through camera `index` [H, W, 3], the photograph there [H, W, 3], and which pixels count [H, W].

        Pictures with an alpha stand before white.
        """
        picture = self.capture.pictures[index].float() / 255
        white = torch.ones(3, device=self.device)
        shown = self.renderer(self.capture.cameras[index].to(self.device), background=white).rgb[0].clamp(0, 1).cpu()
        masks = self.capture.masks
        counts = torch.ones(shown.shape[:2], dtype=torch.bool) if masks is None else masks[index]
        return shown, _before(picture, white.cpu()), counts

    @torch.no_grad()
    def preview(self, step: int) -> dict[str, np.ndarray]:
        """A held-out view (or the first picture) as it is by now, beside the photograph."""
        pictures = self.kept.pictures if len(self.kept.pictures) else self.seen.pictures
        return {"held-out": self._beside(int(pictures[len(pictures) // 2]))}

    @torch.no_grad()
    def _beside(self, index: int) -> np.ndarray:
        """uint8 [H, 2 W, 3]: the scene on the left, the photograph on the right."""
        with self._judging():
            shown, truth, _ = self.view(index)
        return (torch.cat([shown, truth], 1) * 255).round().byte().numpy()

    def _losses_of_rays(self, step: int) -> dict[str, Tensor]:
        assert isinstance(self.renderer, NerfRenderer)
        count = self._ray_count()
        origins, directions, colors = (x.to(self.device) for x in self.seen.random(count, self.generator))
        behind = torch.rand(count, 3, generator=self.generator, device=self.generator.device).to(self.device)
        traced = self.renderer.trace(origins, directions)
        shown = traced.foreground + (1 - traced.alpha[:, None]) * behind
        losses = {"color": self._difference(shown, _before(colors, behind))}
        if colors.shape[-1] == 4 and self.config.losses.alpha.at(step):
            off = (traced.alpha - colors[:, 3]).square().mean()
            losses["alpha"] = self.config.losses.alpha.at(step) * off
        if self.config.losses.distortion.at(step):
            losses["distortion"] = self.config.losses.distortion.at(step) * distortion(traced.distortion)
        self.samples_per_ray.fill_(max(traced.samples / count, 1.0))
        self._metrics |= {
            "rays": float(count),
            "samples": float(traced.samples),
            "samples_per_ray": float(self.samples_per_ray),
            "psnr": psnr((shown.detach() - _before(colors, behind)).square().mean()),
        }
        return losses

    def _losses_of_pictures(self, step: int) -> dict[str, Tensor]:
        config = self.config
        drawn = torch.randint(
            len(self.seen.pictures), (config.batch.views,), generator=self.generator, device=self.generator.device
        )
        index = self.seen.pictures[drawn.cpu()]
        behind = torch.rand(len(index), 3, generator=self.generator, device=self.generator.device).to(self.device)
        rendering: Rendering = self.renderer(self.capture.cameras[index].to(self.device), background=behind)
        pictures = (self.capture.pictures[index].float() / 255).to(self.device)
        truth = _before(pictures, behind[:, None, None])
        shown = rendering.rgb
        if self.capture.masks is not None:  # pixels that do not count agree with whatever is rendered
            counts = self.capture.masks[index].to(self.device)[..., None]
            truth = torch.where(counts, truth, shown.detach())
        share = config.losses.ssim
        losses = {"color": (1 - share) * (shown - truth).abs().mean()}
        if share:
            losses["ssim"] = share * (1 - ssim(shown, truth).mean())
        if pictures.shape[-1] == 4 and config.losses.alpha.at(step):
            losses["alpha"] = config.losses.alpha.at(step) * (rendering.alpha - pictures[..., 3:]).square().mean()
        self._metrics["psnr"] = psnr((shown.detach() - truth).square().mean())
        return losses

    def _difference(self, shown: Tensor, truth: Tensor) -> Tensor:
        if self.config.losses.color == "squared":
            return (shown - truth).square().mean()
        return torch.nn.functional.smooth_l1_loss(shown, truth, beta=0.1)

    def _ray_count(self) -> int:
        """As many rays as took the wanted samples in the last step."""
        batch, each = self.config.batch, float(self.samples_per_ray)
        if not each:
            return min(FIRST_RAYS, batch.rays)
        return int(min(batch.rays, max(RAY_STEP, math.floor(batch.samples / each / RAY_STEP) * RAY_STEP)))

    def _error(self, index: int, stride: int) -> Tensor:
        """Mean squared error over a lattice of pixels of one picture."""
        white = torch.ones(3)
        if not isinstance(self.renderer, NerfRenderer):
            shown, truth, counts = self.view(index)
            return (shown - truth)[counts].square().mean()
        origins, directions, colors = self.kept.lattice(index, stride)
        traced = self.renderer.trace(origins.to(self.device), directions.to(self.device))
        foreground, alpha = traced.foreground.cpu(), traced.alpha[:, None].cpu()
        return ((foreground + (1 - alpha) * white).clamp(0, 1) - _before(colors, white)).square().mean()

    def _judging(self) -> _Evaluation:
        return _Evaluation(self.renderer)


class _Evaluation:
    """The renderer in evaluation mode, for as long as somebody looks."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer

    def __enter__(self) -> None:
        self.was_training = self.renderer.training
        self.renderer.eval()

    def __exit__(self, *_: object) -> None:
        self.renderer.train(self.was_training)


def _before(colors: Tensor, behind: Tensor) -> Tensor:
    """Colours [..., 3], or [..., 4] with straight alpha in front of `behind`."""
    if colors.shape[-1] == 3:
        return colors
    alpha = colors[..., 3:]
    return alpha * colors[..., :3] + (1 - alpha) * behind
