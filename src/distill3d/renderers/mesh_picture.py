"""Pictures of a finished mesh, as the renderers draw them: same cameras, same light, same compositing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.mesh import Mesh
from distill3d.core.rendering import Rendering
from distill3d.geometry.normals import vertex_normals
from distill3d.kernels.rasterize import rasterize
from distill3d.renderers.base import AMBIENT, DIFFUSE


def render_mesh(
    mesh: Mesh,
    cameras: Cameras,
    light: float | Tensor | None = None,
    background: float | Tensor | None = None,
    samples: int = 2,
    normals: np.ndarray | None = None,
) -> Rendering:
    """Renders a mesh; no gradient flows.

    Args:
        mesh: with a texture, vertex colours or neither (then mid grey).
        cameras: `B` cameras.
        light: how much of the picture is shaded by a lamp at the camera, 0 (albedo alone, the default) to 1:
            shade = (1 - light) + light (0.35 + 0.65 max(0, n.v)), as `renderers.base.shade`; a number or [B].
        background: colour behind the mesh, anything that broadcasts to [B, H, W, 3] or one colour for each camera,
            [B, 3]; black by default.
        samples: rays along each side of a pixel, for smooth edges.
        normals: [V, 3] at the vertices, for callers that draw many pictures of one mesh; found here by default.
    Returns:
        rgb, alpha, depth and normal on the CPU; the normal is smooth and world-space.
    """
    count = len(cameras)
    raster = rasterize(mesh.vertices, mesh.faces, cameras.resized((cameras.height * samples, cameras.width * samples)))
    normals = vertex_normals(mesh.vertices, mesh.faces) if normals is None else normals
    hit = np.nonzero(raster.triangle >= 0)
    corners, weights = mesh.faces[raster.triangle[hit]], raster.barycentrics[hit]
    normal = _unit(_mix(normals, corners, weights))
    color = _colors(mesh, corners, weights)
    if light is not None:
        lamp = torch.as_tensor(light, dtype=torch.float32).reshape(-1).expand(count).numpy()[hit[0]]
        position = cameras.position.detach().cpu().numpy()[hit[0]]
        view = _unit(position - _mix(mesh.vertices, corners, weights))
        facing = np.maximum(np.einsum("pc,pc->p", normal, view), 0.0)
        color = color * ((1.0 - lamp) + lamp * (AMBIENT + DIFFUSE * facing))[:, None]

    def picture(values: np.ndarray) -> Tensor:  # [P, C] at the rays that hit -> [B, H, W, C], mean over each pixel
        full = np.zeros((*raster.triangle.shape, values.shape[1]), np.float32)
        full[hit] = values
        parts = [full[:, a::samples, b::samples] for a in range(samples) for b in range(samples)]
        return torch.from_numpy(sum(parts[1:], parts[0]) / np.float32(len(parts)))

    alpha = picture(np.ones((len(weights), 1), np.float32))
    rgb = picture(color) + (1.0 - alpha) * _background(background, count)
    depth = picture(raster.depth[hit][:, None]) / alpha.clamp_min(1e-12)
    return Rendering(rgb, alpha, depth, torch.nn.functional.normalize(picture(normal), dim=-1))


def sample_texture(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear lookup of [H, W, 3] at `uv` [N, 2], (0, 0) at the bottom left; clamped at the border. -> [N, 3]."""
    height, width = texture.shape[:2]
    column = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    row = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    left, top = column.astype(np.int64), row.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    x, y = (column - left)[:, None].astype(np.float32), (row - top)[:, None].astype(np.float32)
    upper = texture[top, left] * (1 - x) + texture[top, right] * x
    lower = texture[bottom, left] * (1 - x) + texture[bottom, right] * x
    return upper * (1 - y) + lower * y


def _colors(mesh: Mesh, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    if mesh.texture is not None and mesh.uv is not None:
        return sample_texture(mesh.texture, _mix(mesh.uv, corners, weights))
    if mesh.colors is not None:
        return _mix(mesh.colors, corners, weights)
    return np.full((len(corners), 3), 0.5, np.float32)


def _mix(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values [V, C] at the vertices -> [P, C] at points given by their triangle's corners and barycentrics [P, 3]."""
    values = values.astype(np.float32, copy=False)
    return sum(weights[:, k, None] * values[corners[:, k]] for k in range(3))  # type: ignore[return-value]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(np.maximum(np.einsum("pc,pc->p", vectors, vectors), 1e-24))[:, None]


def _background(background: float | Tensor | None, count: int) -> Tensor:
    color = torch.as_tensor(0.0 if background is None else background, dtype=torch.float32).detach().cpu()
    return color.reshape(count, 1, 1, 3) if color.dim() == 2 and color.shape == (count, 3) else color
