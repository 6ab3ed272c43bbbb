"""`antialias` in plain torch: the reference, and the way of every device but the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.kernels.mesh_edges import MeshEdges

NEAR = 1e-6


def antialias_reference(
    picture: Tensor, vertices: Tensor, faces: Tensor, edges: MeshEdges, triangle: Tensor, cameras: Cameras
) -> Tensor:
    """The same as `antialias`, in any precision; the gradients follow from the code."""
    for axis in (0, 1):
        source = picture
        flat = source.reshape(-1, source.shape[-1])
        moved = torch.zeros_like(flat)
        for b in range(len(cameras)):
            inner, outer, share = _pairs(vertices, faces, edges, triangle[b], cameras[b], axis)
            start = b * triangle[0].numel()
            amount = (share - 0.5)[:, None].to(flat)
            change = amount * (flat[start + inner] - flat[start + outer])
            moved = moved.index_add(0, start + torch.where(share > 0.5, outer, inner), change)
        picture = (flat + moved).view(source.shape)
    return picture


def _pairs(
    vertices: Tensor, faces: Tensor, edges: MeshEdges, triangle: Tensor, camera: Cameras, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one picture and axis: inner and outer pixel [N] (flat), and where between them the edge is [N]."""
    height, width = triangle.shape
    k = camera.intrinsics[0].to(vertices)
    focal, centre = k.diagonal()[:2], k[:2, 2]
    flip = vertices.new_tensor([1.0, -1.0, -1.0])
    points = (vertices - camera.position[0].to(vertices)) @ camera.camera_to_world[0, :3, :3].to(vertices) * flip
    screen = points[:, :2] / points[:, 2:] * focal + centre
    ends, side = _silhouette(points.detach(), faces, edges)
    lines, places = (height, width) if axis == 0 else (width, height)
    across, along = screen[ends][..., 1 - axis], screen[ends][..., axis]  # [E, 2]
    first = (across.detach().min(1).values - 0.5).ceil().clamp(0, lines).long()
    last = (across.detach().max(1).values - 0.5).ceil().clamp(0, lines).long()
    count = (last - first).clamp(min=0)
    edge = torch.repeat_interleave(torch.arange(len(ends), device=ends.device), count)
    line = torch.arange(len(edge), device=ends.device) - (count.cumsum(0) - count)[edge] + first[edge]
    reach = (line + 0.5 - across[edge, 0]) / (across[edge, 1] - across[edge, 0])
    crossing = along[edge, 0] + reach * (along[edge, 1] - along[edge, 0])
    p, q = points[ends[edge]].detach().unbind(1)
    normal = torch.linalg.cross(p, q)[:, axis]
    after = (normal * side[edge] > 0).long()
    before = (crossing.detach() - 0.5).floor().long()
    inner_place, outer_place = before + after, before + 1 - after
    share = (crossing - 0.5 - inner_place) * (1 - 2 * after)
    inner = line * width + inner_place if axis == 0 else inner_place * width + line
    outer = line * width + outer_place if axis == 0 else outer_place * width + line

    inside = (before >= 0) & (before + 1 < places)
    inner, outer = inner.where(inside, 0), outer.where(inside, 0)
    f, g = triangle.reshape(-1)[inner].long(), triangle.reshape(-1)[outer].long()
    nearness = (1 - reach.detach()) / p[:, 2] + reach.detach() / q[:, 2]
    behind = _closeness(points.detach(), faces, g, outer, width, focal, centre)
    ahead = _closeness(points.detach(), faces, f, inner, width, focal, centre)
    valid = inside & (f >= 0) & (f != g) & (ahead > behind) & (nearness > behind)
    slope = (along[:, 1] - along[:, 0]).abs()[edge] / (across[:, 1] - across[:, 0]).abs()[edge]
    steep = (slope <= 1) if axis == 0 else (slope < 1)
    chosen = _outermost(torch.minimum(inner, outer), share.detach(), valid, height * width)
    keep = (chosen & steep).nonzero()[:, 0]
    return inner[keep], outer[keep], share[keep]


def _silhouette(points: Tensor, faces: Tensor, edges: MeshEdges) -> tuple[Tensor, Tensor]:
    """Edges [N, 2] whose faces all lie on one side, and the sign of that side [N]."""
    p, q, r = points[faces.long()].unbind(1)
    signs = (p * torch.linalg.cross(q, r)).sum(-1).sign()
    sides = edges.sides.long()
    of_side = signs[sides // 2] * (2 * (sides % 2) - 1)
    starts = edges.starts.long()
    owner = torch.repeat_interleave(torch.arange(len(starts) - 1, device=sides.device), starts[1:] - starts[:-1])
    low = torch.ones(len(starts) - 1).to(points).scatter_reduce(0, owner, of_side, "amin")
    high = -torch.ones(len(starts) - 1).to(points).scatter_reduce(0, owner, -of_side, "amin")
    ends = edges.ends.long()
    side = ((high > 0) & (low >= 0)).to(points) - ((low < 0) & (high <= 0)).to(points)
    keep = ((side != 0) & (points[ends][..., 2] > NEAR).all(1)).nonzero()[:, 0]
    return ends[keep], side[keep]


def _closeness(
    points: Tensor, faces: Tensor, triangle: Tensor, pixel: Tensor, width: int, focal: Tensor, centre: Tensor
) -> Tensor:
    """Inverse depth [N] of the planes of triangles [N] at pixels [N]; 0 where there is no triangle."""
    p, q, r = points[faces.long()[triangle.clamp(min=0)]].unbind(1)
    normal = torch.linalg.cross(q - p, r - p)
    place = torch.stack([pixel % width, pixel // width], -1) + 0.5
    ray = torch.cat([(place - centre) / focal, torch.ones_like(normal[:, :1])], -1)
    return torch.where(triangle >= 0, (ray * normal).sum(-1) / (p * normal).sum(-1), 0.0)


def _outermost(key: Tensor, share: Tensor, valid: Tensor, count: int) -> Tensor:
    """[N] bool: the valid entries with the largest share of their key, of equal ones the first."""
    share = share.where(valid, -1.0)
    best = torch.full((count,), -1.0).to(share).scatter_reduce(0, key, share, "amax")
    tied = valid & (share == best[key])
    order = torch.arange(len(key), device=key.device).where(tied, len(key))
    first = torch.full((count,), len(key), device=key.device).scatter_reduce(0, key, order, "amin")
    return tied & (first[key] == order)
