"""Coloured points out of photographs alone, for captures that bring none: a sweep through depths.

Along the ray of a random pixel, the place where other cameras see the same colours is where the surface is most likely
(plane sweeping, Collins 1996). Nothing is trained, and wrong points are few enough for splats to move or fade them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill3d.files.captures import Capture

DEPTHS = 64  # places along each ray, even in the inverse of the distance
WITNESSES = 12  # other pictures that are asked
AGREEING = 0.5  # share of the witnesses that counts: the others may be hidden behind something
FEWEST = 3  # witnesses that have to show the place
TRUSTED = 0.7  # share of the rays that is kept, the most consistent ones
CHUNK = 2048  # rays at once


@torch.no_grad()
def swept_points(
    capture: Capture, count: int, generator: torch.Generator, near: float = 0.2, far: float = 8.0
) -> tuple[Tensor, Tensor]:
    """Points [N, 3] in the scene's world and their colours [N, 3] in 0..1, about `count` of them.

    Args:
        capture: without a lens; held-out pictures are not looked at.
        near, far: first and last distance from a camera, world units.
    """
    learnt = capture.part(held_out=False)
    cameras, height, width = capture.cameras, capture.cameras.height, capture.cameras.width
    looks = _looks(capture, learnt)
    wanted = round(count / TRUSTED)
    total = len(learnt) * height * width
    solid = (capture.pictures[learnt, ..., 3] > 127).flatten().nonzero()[:, 0] if capture.has_alpha else None
    drawn = torch.randint(
        total if solid is None else len(solid), (wanted,), generator=generator, device=generator.device
    ).cpu()
    drawn = drawn if solid is None else solid[drawn]
    which, flat = drawn // (height * width), drawn % (height * width)
    witnesses = torch.randperm(len(learnt), generator=generator, device=generator.device).cpu()[:WITNESSES]
    pixels = torch.stack([flat % width, flat // width], -1) + 0.5
    origins, directions = cameras.rays_at(learnt[which], pixels)
    inverse = torch.linspace(1 / near, 1 / far, DEPTHS)
    places, costs = [], []
    for rows in torch.arange(len(which)).split(CHUNK):
        points = origins[rows, None] + directions[rows, None] / inverse[:, None]  # [n, D, 3]
        own = looks[which[rows], :, flat[rows] // width, flat[rows] % width]
        off = torch.stack([_difference(points, own, cameras[int(learnt[w])], looks[w]) for w in witnesses.tolist()])
        ranked = off.sort(0).values  # [M, n, D], infinite where a witness does not show the place
        cost = ranked[: max(FEWEST, int(AGREEING * len(witnesses)))].mean(0)
        best = cost.min(-1)
        places.append(points[torch.arange(len(rows)), best.indices])
        costs.append(best.values)
    cost, place = torch.cat(costs), torch.cat(places)
    trusted = cost.argsort()[: min(count, int(torch.isfinite(cost).sum()))].sort().values
    colors = capture.pictures[learnt[which], flat // width, flat % width, :3].float() / 255
    return place[trusted], colors[trusted]


def _looks(capture: Capture, pictures: Tensor) -> Tensor:
    """[P, 6, H, W]: the colour of each pixel and that of its surroundings."""
    rgb = capture.pictures[pictures, ..., :3].movedim(-1, 1).float() / 255
    around = torch.nn.functional.avg_pool2d(rgb, 5, 1, 2, count_include_pad=False)
    return torch.cat([rgb, around], 1)


def _difference(points: Tensor, own: Tensor, camera, look: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """[n, D]: how differently one camera sees points [n, D, 3] whose look is `own` [n, 6]; infinite outside of it."""
    local = (points - camera.position[0]) @ camera.camera_to_world[0, :3, :3]
    depth = -local[..., 2]
    k = camera.intrinsics[0]
    column = k[0, 0] * local[..., 0] / depth + k[0, 2]
    row = k[1, 2] - k[1, 1] * local[..., 1] / depth
    height, width = look.shape[1:]
    seen = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = look[:, row.long().clamp(0, height - 1), column.long().clamp(0, width - 1)]  # [6, n, D]
    off = (at - own.T[:, :, None]).abs().mean(0)
    return torch.where(seen, off, torch.inf)
