"""3D representations; each is a differentiable renderer. Importing this package registers them by kind."""

from distill3d.renderers.base import Renderer
from distill3d.renderers.gaussians import GaussianRenderer
from distill3d.renderers.mesh import MeshRenderer
from distill3d.renderers.nerf import NerfRenderer
from distill3d.renderers.parts import PartsRenderer
from distill3d.renderers.tetrahedra import TetrahedraRenderer

__all__ = ["GaussianRenderer", "MeshRenderer", "NerfRenderer", "PartsRenderer", "Renderer", "TetrahedraRenderer"]
