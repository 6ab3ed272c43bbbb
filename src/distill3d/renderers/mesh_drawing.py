"""Pictures of a surface, differentiable: what meshes and tetrahedra share.

Rasterise, interpolate, colour and light the pixels that hit, antialias the silhouettes, average the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.rendering import Rendering
from distill3d.kernels.antialias import antialias
from distill3d.kernels.interpolate import interpolate
from distill3d.kernels.mesh_edges import MeshEdges
from distill3d.kernels.rasterize import visible_triangles
from distill3d.kernels.vertex_normals import vertex_normals
from distill3d.renderers.base import over, shade


@dataclass
class Fragments:
    """What is known about the `N` samples that hit the surface, before it has a colour.

    Args:
        cameras: of the samples. triangle: [B, h, w] int32. hit: [B, h, w] bool, N of them.
        position: [N, 3]. values: [N, C], what the caller put at the vertices.
    """

    cameras: Cameras
    triangle: Tensor
    hit: Tensor
    position: Tensor
    values: Tensor


Paint = Callable[[Fragments], Tensor]  # albedo [N, 3]
Light = Callable[[Fragments, Tensor, Tensor, Tensor], Tensor]  # (.., albedo, normal, to_camera) -> lit colour [N, 3]


def draw(
    vertices: Tensor,
    faces: Tensor,
    edges: MeshEdges,
    values: Tensor,
    paint: Paint,
    cameras: Cameras,
    background: Tensor | Callable[[Tensor], Tensor],
    light: Tensor | None = None,
    normals: bool = False,
    supersampling: int = 1,
    lit: Light | None = None,
) -> Rendering:
    """Renders a surface; gradients go to the vertices (through what the pixels see, and through the silhouettes), to
    `values`, and to whatever `paint` uses.

    Args:
        vertices: [V, 3]; faces: [F, 3]; edges: of the faces.
        values: [V, C], interpolated to the samples. paint: turns them into albedo.
        background: colours, or what makes them from directions [B, H, W, 3]. light, normals: see `Renderer.forward`.
        supersampling: samples along each side of a pixel.
        lit: replaces the headlight by another light.
    """
    height, width, s = cameras.height, cameras.width, supersampling
    fine = cameras.resized((height * s, width * s))
    triangle = visible_triangles(vertices, faces, fine)
    hit = triangle >= 0
    smooth = light is not None or normals
    parts = [vertices, values, vertex_normals(vertices, faces)] if smooth else [vertices, values]
    seen = interpolate(torch.cat(parts, 1), vertices, faces, triangle, fine)[hit]
    fragments = Fragments(fine, triangle, hit, seen[:, :3], seen[:, 3 : 3 + values.shape[1]])
    color = paint(fragments)
    picture = hit.nonzero()[:, 0]
    towards = cameras.position[picture] - fragments.position
    distance = (towards.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    layers = [torch.ones_like(distance), distance]
    if smooth:
        normal = F.normalize(seen[:, -3:], dim=-1, eps=1e-12)
        layers.append(normal)
        if light is not None:
            to_camera = towards / distance
            strength = light.to(color)[picture]
            if lit is None:
                color = color * shade(normal, to_camera, strength)[:, None]
            else:
                color = color + strength[:, None] * (lit(fragments, color, normal, to_camera) - color)
    flat = torch.cat([color, *layers], 1)
    hard = flat.new_zeros(*hit.shape, flat.shape[1]).masked_scatter(hit[..., None], flat)
    soft = antialias(hard, vertices, faces, edges, triangle, fine)
    if s > 1:
        soft = F.avg_pool2d(soft.permute(0, 3, 1, 2), s).permute(0, 2, 3, 1)
    foreground, alpha, depth = soft[..., :3], soft[..., 3:4], soft[..., 4:5]
    directions = cameras.rays()[1]
    behind = background(directions) if callable(background) else background.to(foreground)
    return Rendering(
        rgb=over(foreground, alpha, behind),
        alpha=alpha,
        depth=depth / alpha.clamp(min=1e-6),
        normal=F.normalize(soft[..., 5:8], dim=-1, eps=1e-6) if smooth else None,
        extras={"foreground": foreground, "directions": directions},
    )
