"""What every 3D representation can do: a renderer owns the parameters and turns cameras into pictures."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from distill3d.core.cameras import Cameras
from distill3d.core.component import Component
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering

AMBIENT, DIFFUSE = 0.35, 0.65  # of the headlight; the pictures that the embedded prior learnt from have the same light


class Renderer(Component, nn.Module):
    """Base of the family `renderer`; a member is built as `Renderer.build({"kind": ..., ...}, generator=...)`.

    Args:
        config: the member's `Config`.
        generator: source of all randomness of the parameters and of training renderings; not part of `state_dict()`.
    """

    family: ClassVar[str] = "renderer"

    def __init__(self, config: Any, generator: torch.Generator | None = None) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)

    def forward(
        self,
        cameras: Cameras,
        background: Tensor | None = None,
        light: Tensor | None = None,
        normals: bool = False,
    ) -> Rendering:
        """Pictures, differentiable with respect to the parameters.

        Args:
            cameras: B of them.
            background: [3], [B, 3] or [B, H, W, 3] colours in 0..1 behind the object; None is the renderer's own.
            light: None shows the albedo; [B] in 0..1 is the strength of a headlight's shading, see `shade`.
            normals: fill `Rendering.normal` also where no light asks for it.
        """
        raise NotImplementedError(f"renderer {self.kind!r} does not render")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for a torch optimiser: `name`, `params`, `lr`."""
        raise NotImplementedError(f"renderer {self.kind!r} has no parameter groups")

    def advance(self, step: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Called once before each optimisation step, for what changes over a run (coarse to fine, densification)."""

    def start_from(self, other: Renderer) -> None:
        """Takes on the shape and the colours of another representation, as a second stage does.

        Raises:
            UserError: this kind cannot start from the other's, or there is nothing to start from.
        """
        raise UserError(f"renderer kind {self.kind!r} cannot start from kind {other.kind!r}")

    def own_surface(self) -> Mesh | None:
        """The surface that this representation is, with its texture if it has one; None for a density."""
        return None

    def to_mesh(self, resolution: int = 128, threshold: float | None = None) -> Mesh:
        """The surface, untextured.

        Args:
            resolution: samples along each side of the cube [-1, 1]^3.
            threshold: density of the surface; None follows a stated rule.
        """
        raise UserError(f"renderer kind {self.kind!r} cannot be turned into a mesh")

    def color_at(self, points: Tensor) -> Tensor:
        """Albedo [N, 3] in 0..1 at world points [N, 3], without gradient."""
        raise UserError(f"renderer kind {self.kind!r} has no colour at a point")

    def density_at(self, points: Tensor) -> Tensor:
        """Density [N] per world unit at world points [N, 3], without gradient."""
        raise UserError(f"renderer kind {self.kind!r} has no density at a point")


def shade(normal: Tensor, to_camera: Tensor, light: Tensor) -> Tensor:
    """Brightness of a matte surface under a headlight at the camera.

    (1 - light) + light * (0.35 + 0.65 max(0, n . v)): light 0 is the albedo alone.

    Args:
        normal, to_camera: [..., 3] unit vectors; light: broadcasts against [...], 0..1.

    Returns:
        [...], factor on the albedo.
    """
    facing = (normal * to_camera).sum(-1).clamp(min=0)
    return 1 - light + light * (AMBIENT + DIFFUSE * facing)


def lit(foreground: Tensor, normal: Tensor, hit: Tensor, directions: Tensor, light: Tensor) -> Tensor:
    """Premultiplied colours [B, H, W, 3] under a headlight (`shade`) where there is a surface, as they are elsewhere.

    Args:
        normal, directions: [B, H, W, 3] unit vectors, directions from the camera. hit: [B, H, W] bool.
        light: [B] in 0..1.
    """
    brightness = shade(normal, -directions, light.view(-1, 1, 1))
    return foreground * torch.where(hit, brightness, 1.0)[..., None]


def over(foreground: Tensor, alpha: Tensor, background: Tensor) -> Tensor:
    """Premultiplied foreground [B, H, W, 3] with alpha [B, H, W, 1] over [3], [B, 3] or [B, H, W, 3].

    Raises:
        UserError: a background of another shape.
    """
    batch = foreground.shape[0]
    if background.shape == (batch, 3):
        background = background[:, None, None]
    elif background.shape not in ((3,), foreground.shape):
        raise UserError(
            f"background has shape {tuple(background.shape)}; it must be [3], [{batch}, 3] or {list(foreground.shape)}"
        )
    return foreground + (1 - alpha) * background
