"""3D representations; each is a differentiable renderer. Importing this package registers them by kind."""

from distill3d.renderers.base import Renderer
from distill3d.renderers.nerf import NerfRenderer

__all__ = ["NerfRenderer", "Renderer"]
