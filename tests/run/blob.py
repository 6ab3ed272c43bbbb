"""A real NeRF that is pushed a little: enough to export it."""

from typing import Any

from distill3d.core.cameras import Cameras
from distill3d.renderers.base import Renderer
from distill3d.systems.base import System, SystemConfig


class Blob(System):
    """One view, made darker."""

    kind = "test_blob"
    sections = {"renderer": Renderer}

    class Config(SystemConfig):
        renderer: dict[str, Any]

    def __init__(self, config, device, generator):
        super().__init__(config, device, generator)
        self.renderer = Renderer.build(config.renderer, generator=generator)

    def losses(self, step):
        return {"dark": self.renderer(Cameras.orbit(0.0, size=16)).rgb.mean()}
