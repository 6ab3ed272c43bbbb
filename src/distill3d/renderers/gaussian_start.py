"""What Gaussians start from: coloured points, which come from a ball, a surface, another renderer or a capture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.splats import Splats
from distill3d.kernels.spherical_harmonics import constant_of_color
from distill3d.renderers.base import Renderer
from distill3d.renderers.mesh_picture import sample_texture

SMALLEST, LARGEST = 1e-4, 0.5  # world units, of a Gaussian's size at the start
VIEWS, SIZE = 24, 128  # of the pictures that another renderer is asked for
SURFACE_ALPHA = 0.9
WIDTH, THICKNESS = 0.8, 0.1  # of a disc on a surface: times the distance of its neighbours, and times its width


@dataclass
class Cloud:
    """Coloured points: points [N, 3] world units, colors [N, 3] in 0..1, normals [N, 3] of the surface that they lie
    on, unit length, or None; float32."""

    points: Tensor
    colors: Tensor
    normals: Tensor | None = None


def ball_cloud(count: int, radius: float, color: float, generator: torch.Generator) -> Cloud:
    """Points evenly inside a ball around the origin, grey but for a little noise."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device).cpu()

    turn, up = 2 * math.pi * uniform(count), 2 * uniform(count) - 1
    flat = (1 - up * up).sqrt()
    direction = torch.stack([flat * turn.cos(), flat * turn.sin(), up], -1)
    points = radius * uniform(count, 1) ** (1 / 3) * direction
    return Cloud(points, (color + 0.1 * (uniform(count, 3) - 0.5)).clamp(0, 1))


def mesh_cloud(mesh: Mesh, count: int, generator: torch.Generator) -> Cloud:
    """Points evenly over a surface, in the colours of its texture or its vertices (else mid grey).

    Raises:
        UserError: the mesh has no area.
    """
    corners = torch.from_numpy(mesh.vertices[mesh.faces].astype(np.float64))
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = across.norm(dim=-1)
    if not len(area) or not float(area.sum()) > 0:
        raise UserError(f"the mesh {mesh.name!r} has no surface to put Gaussians on")
    # stratified over the summed areas: even where the triangles are not, and no limit on their number
    draw = torch.rand(2 * count, generator=generator, device=generator.device).cpu().double()
    places = (torch.arange(count) + torch.rand(count, generator=generator, device=generator.device).cpu()) / count
    summed = area.cumsum(0)
    face = torch.searchsorted(summed, places.double() * summed[-1]).clamp(max=len(area) - 1)
    root, share = draw[:count].sqrt(), draw[count:]
    weights = torch.stack([1 - root, root * (1 - share), root * share], -1)
    points = (weights[..., None] * corners[face]).sum(1)
    index, mix = mesh.faces[face.numpy()], weights.numpy()
    if mesh.texture is not None and mesh.uv is not None:
        colors = sample_texture(mesh.texture, np.einsum("nk,nkc->nc", mix, mesh.uv[index]).astype(np.float32))
    elif mesh.colors is not None:
        colors = np.einsum("nk,nkc->nc", mix, mesh.colors[index])
    else:
        colors = np.full((count, 3), 0.5)
    normals = torch.nn.functional.normalize(across[face], dim=-1).float()
    return Cloud(points.float(), torch.from_numpy(np.asarray(colors, np.float32)).clamp(0, 1), normals)


@torch.no_grad()
def renderer_cloud(source: Renderer, count: int, generator: torch.Generator) -> Cloud:
    """Points on what another renderer shows from all around: its unlit pictures, lifted by their depth.

    Raises:
        UserError: its pictures are empty.
    """
    turn = torch.arange(VIEWS) * (math.pi * (3 - math.sqrt(5)))
    cameras = Cameras.orbit(turn, torch.asin(torch.linspace(-0.9, 0.95, VIEWS)), 2.8, math.radians(45), SIZE)
    device = next((p.device for p in source.parameters()), torch.device("cpu"))
    training, points, colors, normals = source.training, [], [], []
    source.eval()
    try:
        for k in range(VIEWS):
            seen = source(cameras[k].to(device), background=torch.zeros(3, device=device), normals=True)
            origins, directions = cameras[k].rays()
            hit = (seen.alpha[..., 0] > SURFACE_ALPHA).cpu()
            points.append((origins + seen.depth.cpu() * directions)[hit])
            colors.append((seen.rgb / seen.alpha.clamp(min=1e-6)).cpu()[hit])
            normal = -directions if seen.normal is None else seen.normal.cpu()
            normals.append(torch.where((normal != 0).any(-1, keepdim=True), normal, -directions)[hit])
    finally:
        source.train(training)
    found = torch.cat(points)
    if not len(found):
        raise UserError(f"the {source.kind} shows nothing that Gaussians could start from: no pixel is opaque")
    order = torch.randperm(len(found), generator=generator, device=generator.device).cpu()[:count]
    return Cloud(found[order], torch.cat(colors)[order].clamp(0, 1), torch.cat(normals)[order])


def checked_cloud(points: Tensor, colors: Tensor | None, most: int, generator: torch.Generator) -> Cloud:
    """Points of another program, at most `most` of them (drawn evenly), grey where they have no colour.

    Raises:
        UserError: there are none, the shapes disagree, or a number is not finite.
    """
    colors = torch.full_like(points, 0.5) if colors is None else colors
    if points.dim() != 2 or points.shape[-1] != 3 or colors.shape != points.shape or not len(points):
        raise UserError(f"a point cloud needs points [N, 3] and colours [N, 3], not {tuple(points.shape)} and "
                        f"{tuple(colors.shape)}")  # fmt: skip
    if not bool(points.isfinite().all() and colors.isfinite().all()):
        raise UserError("a point cloud has a number that is not finite")
    if len(points) > most:
        chosen = torch.randperm(len(points), generator=generator, device=generator.device).cpu()[:most].sort().values
        points, colors = points[chosen], colors[chosen]
    return Cloud(points.float().cpu(), colors.float().cpu().clamp(0, 1))


def splats_of(cloud: Cloud, degree: int, opacity: float) -> Splats:
    """One Gaussian a point, as large as the mean distance to its three nearest neighbours (3DGS, section 5.1).

    It is round where nothing is known of a surface, else a disc in it, a tenth as thick as wide.
    """
    points = cloud.points.numpy().astype(np.float64)
    count = len(points)
    size = np.full(count, 0.1)
    if count > 1:
        distance, _ = cKDTree(points).query(points, k=min(4, count))
        size = np.sqrt(np.square(distance[:, 1:]).mean(1))
    scales = np.repeat(size.clip(SMALLEST, LARGEST)[:, None], 3, 1)
    quats = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    if cloud.normals is not None:
        scales *= (WIDTH, WIDTH, WIDTH * THICKNESS)
        quats = _turned_to(cloud.normals).numpy()
    sh = np.zeros((count, (degree + 1) ** 2, 3), np.float32)
    sh[:, 0] = constant_of_color(cloud.colors).numpy()
    return Splats(
        cloud.points.numpy().astype(np.float32),
        quats,
        np.log(scales).astype(np.float32),
        np.full(count, math.log(opacity / (1 - opacity)), np.float32),
        sh,
    )


def _turned_to(normals: Tensor) -> Tensor:
    """Quaternions [N, 4] of rotations that take the z axis to unit vectors [N, 3]: (1 + z.n, z x n), not normalised."""
    x, y, z = normals.unbind(-1)
    turned = torch.stack([1 + z, -y, x, torch.zeros_like(x)], -1)
    upside_down = torch.tensor([0.0, 1.0, 0.0, 0.0])
    turned = torch.where((z < -0.9999)[:, None], upside_down, turned)
    return torch.nn.functional.normalize(turned, dim=-1)
