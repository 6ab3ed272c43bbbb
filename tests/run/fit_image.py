"""A small real system: a picture fitted by Adam, with noise from the run's generator in every step."""

from __future__ import annotations

import time

import torch
from pydantic import Field
from torch import nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Config
from distill3d.core.ramp import Ramp, RampField
from distill3d.core.rendering import Rendering
from distill3d.renderers.base import Renderer
from distill3d.systems.base import System, SystemConfig


class Pixels(Renderer):
    """A picture of free pixels, the same from everywhere."""

    kind = "test_pixels"

    class Config(Config):
        size: int = Field(16, ge=1)
        lr: float = Field(0.05, gt=0)

    def __init__(self, config, generator=None):
        super().__init__(config, generator)
        self.pixels = nn.Parameter(torch.zeros(config.size, config.size, 3))
        self.register_buffer("refreshes", torch.zeros((), dtype=torch.int64))

    def forward(self, cameras: Cameras, background=None, **_) -> Rendering:
        rgb = self.pixels.sigmoid().expand(len(cameras), -1, -1, -1)
        return Rendering(rgb, torch.ones_like(rgb[..., :1]), torch.zeros_like(rgb[..., :1]))

    def parameter_groups(self):
        return [{"params": [self.pixels], "lr": self.config.lr, "name": "pixels"}]

    def advance(self, step, optimizer=None):
        self.refreshes += 1

    def to_mesh(self, *args, **kwargs):
        raise NotImplementedError("a picture has no mesh")


class FitImage(System):
    """Fits pixels to a gradient picture under noise; the noise's strength follows a hidden state."""

    kind = "test_fit_image"
    sections = {"renderer": Renderer}

    class Config(SystemConfig):
        prompt: str
        renderer: dict
        noise: float = Field(0.1, ge=0)
        nan_at: int | None = None  # the step at which a loss stops being a number
        wait: RampField = Ramp(0.0)  # seconds a step

    def __init__(self, config, device, generator):
        super().__init__(config, device, generator)
        self.renderer = Renderer.build(config.renderer, generator=torch.Generator().manual_seed(config.seed + 2))
        self.noise = torch.Generator(device).manual_seed(config.seed + 1)
        ramp = torch.linspace(0, 1, self.renderer.config.size)
        across, down = torch.meshgrid(ramp, ramp, indexing="xy")
        self.target = torch.stack([across, down, torch.full_like(across, 0.5)], -1)
        self.drift = 1.0

    def losses(self, step):
        if wait := self.config.wait.at(step):
            time.sleep(wait)
        rgb = self.renderer(Cameras.orbit(0.0)).rgb[0]
        noise = torch.randn(rgb.shape, generator=self.noise)
        strength = self.config.noise * self.drift * torch.rand((), generator=self.generator)
        strength = strength * torch.rand((), generator=self.renderer.generator) * torch.rand(())
        fit = (rgb - self.target - strength * noise).square().mean()
        smooth = 1e-3 * rgb.diff(dim=0).abs().mean()
        if step == self.config.nan_at:
            smooth = smooth + (self.renderer.pixels.sum() * 0).sqrt()  # 0, with a gradient that is not a number
        return {"fit": fit, "smooth": smooth}

    def advance(self, step, optimizer):
        super().advance(step, optimizer)
        self.drift *= 0.99

    def metrics(self):
        return {"error": (self.renderer.pixels.sigmoid() - self.target).abs().mean().item()}

    def preview(self, step):
        torch.rand(7, generator=self.generator)  # looking must not change the run
        return {"view": (self.renderer.pixels.detach().sigmoid() * 255).byte().numpy()}

    def extra_state(self):
        return {"drift": self.drift}

    def load_extra_state(self, state):
        self.drift = state["drift"]
