"""Which triangle every pixel sees, on CUDA: nvdiffrast where it is installed, else rays cast by warp.

Only the triangle's number is taken from them. Barycentrics, silhouettes and all gradients follow from it and the
vertices in torch (`interpolate_reference`, `antialias_reference`), so CPU and CUDA agree by construction wherever they
see the same triangle. nvdiffrast's own `antialias` is not used: it searches from the pixels (see `antialias`).
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError

FAR = 1e4  # world units: the far plane of the rasteriser, and the length of a ray


def visible_triangles_cuda(vertices: Tensor, faces: Tensor, cameras: Cameras, near: float) -> Tensor:
    """See `rasterize.visible_triangles`. Where a ray runs within rounding of an edge, the neighbour may be named.

    Raises:
        UserError: neither library is installed.
    """
    if not len(faces):
        return torch.full((len(cameras), cameras.height, cameras.width), -1, dtype=torch.int32, device=vertices.device)
    try:
        nvdiffrast = importlib.import_module("nvdiffrast.torch")
    except ImportError:
        return visible_triangles_warp(vertices, faces, cameras, near)
    clip = clip_space(vertices, cameras, near)
    size = [cameras.height, cameras.width]
    seen, _ = nvdiffrast.rasterize(_context(nvdiffrast, vertices.device), clip, faces.int().contiguous(), size)
    return (seen[..., 3].int() - 1).flip(1).contiguous()  # row 0 is at its bottom; triangles count from 1


def clip_space(vertices: Tensor, cameras: Cameras, near: float) -> Tensor:
    """OpenGL's clip coordinates [B, V, 4] (y up), so that pixel centres lie at (column + 0.5, row + 0.5)."""
    pose, k = cameras.camera_to_world.to(vertices), cameras.intrinsics.to(vertices)
    x, y, z = ((vertices - pose[:, None, :3, 3]) @ pose[:, :3, :3]).unbind(-1)  # z is negative in front
    width, height = cameras.width, cameras.height
    fx, fy, cx, cy = (k[:, i, j, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    right = 2 * fx / width * x + (2 * cx / width - 1) * -z
    up = 2 * fy / height * y - (2 * cy / height - 1) * -z
    deep = -(FAR + near) / (FAR - near) * z - 2 * FAR * near / (FAR - near)
    return torch.stack([right, up, deep, -z], -1).contiguous()


def visible_triangles_warp(vertices: Tensor, faces: Tensor, cameras: Cameras, near: float) -> Tensor:
    """The first triangle that each pixel's ray meets, by warp's bounding volumes; works on a CPU too, on one thread.

    Raises:
        UserError: warp is not installed.
    """
    warp, kernel = _warp()
    device = "cpu" if vertices.device.type == "cpu" else str(vertices.device)
    mesh = warp.Mesh(
        points=warp.from_torch(vertices.detach().float().contiguous(), dtype=warp.vec3),
        indices=warp.from_torch(faces.int().reshape(-1).contiguous()),
    )
    origins, directions = (a.reshape(-1, 3).to(vertices.device).float().contiguous() for a in cameras.rays())
    axis = -cameras.camera_to_world[:, :3, 2].to(directions)
    pixels = cameras.height * cameras.width
    along = (directions.view(-1, pixels, 3) * axis[:, None]).sum(-1).reshape(-1, 1)
    triangle = torch.full((len(origins),), -1, dtype=torch.int32, device=vertices.device)
    starts = (origins + directions * (near / along)).contiguous()  # at the near plane
    warp.launch(
        kernel,
        dim=len(origins),
        inputs=[
            mesh.id,
            warp.from_torch(starts, dtype=warp.vec3),
            warp.from_torch(directions, dtype=warp.vec3),
            FAR,
            warp.from_torch(triangle),
        ],
        device=device,
    )
    if device != "cpu":
        warp.synchronize_device(device)  # torch's stream does not wait for warp's
    return triangle.view(len(cameras), cameras.height, cameras.width)


@lru_cache(maxsize=4)
def _context(nvdiffrast: Any, device: torch.device) -> Any:
    return nvdiffrast.RasterizeCudaContext(device=device)


@lru_cache(maxsize=1)
def _warp() -> tuple[Any, Any]:
    """warp and its kernel, compiled once in a process."""
    try:
        import warp
    except ImportError as missing:
        raise UserError(
            "drawing a mesh on this device needs nvdiffrast or warp: pip install warp-lang (or device=cpu)"
        ) from missing
    warp.config.log_level = warp.LOG_WARNING  # no greeting
    warp.init()
    from distill3d.kernels.rasterize_warp import first_hit  # its types are evaluated on import: warp has to be there

    return warp, first_hit
