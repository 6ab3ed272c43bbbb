"""At which density a volume ends, for somebody who looks at its rendering."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from distill3d.core.errors import UserError

FULLEST = 0.6  # share of the cube above the level from which a density counts as exploded
FLOOR = 1e-2  # densities below it count as it: logarithms stay finite and hard edges are not drawn inwards


def density_threshold(
    density: np.ndarray, step: float | None = None, views: int = 6, rays: int = 48
) -> tuple[float, str]:
    """The level whose silhouettes agree best with what volume rendering shows.

    Along every ray of a few parallel projections two things are known from the grid: the opacity 1 - exp(-sum of
    density times step), and the largest density on the way, the level up to which the ray hits the surface.
    Sorting the rays by the second gives the intersection over union of {hits the surface} with {opacity > 1/2} for
    every level at once; the best level is taken (the middle, in logarithms, of a flat best stretch). A fixed rule such
    as "a segment of ten steps is half opaque" is a little better for sharp, dense volumes and far worse for soft ones.

    Args:
        density: [R, R, R] over [-1, 1]^3, per world unit, indexed [x, y, z].
        step: world units between two samples on a ray; the grid's own spacing by default.
        views: directions, spread evenly over the half sphere. rays: along each side of a projection.
    Returns:
        the level, and the rule in words with its numbers, for reports.
    Raises:
        UserError: the density is not finite, empty (no ray is half opaque), or exploded (over 60 % of the cube above
            the level, or inside at every wall); says what to try.
    """
    if not np.isfinite(density).all():
        raise UserError("the density has values that are not finite; lower the learning rate or clip gradients")
    step = 2.0 / (density.shape[0] - 1) if step is None else step
    opacity, largest = _project(torch.from_numpy(np.ascontiguousarray(density, np.float32)), step, views, rays)
    opaque = opacity > 0.5
    if not opaque.any():
        raise UserError(
            f"the density is empty: no ray is half opaque (greatest opacity {opacity.max():.2f}, greatest density "
            f"{density.max():.3g}); train for more steps, lower the sparsity or opacity weights, or change the seed"
        )
    order = np.argsort(-largest, kind="stable")
    level_down, hits = largest[order], np.cumsum(opaque[order])
    agreement = hits / (np.arange(1, len(order) + 1) + opaque.sum() - hits)
    best = np.flatnonzero(agreement >= agreement.max() - 1e-9)
    below = level_down[min(best[-1] + 1, len(order) - 1)]  # the first ray that must not hit
    level = math.sqrt(max(level_down[best[0]], FLOOR) * max(below, FLOOR))
    full = float((density > level).mean())
    walls = [density.take(side, axis) > level for axis in range(3) for side in (0, -1)]
    if full > FULLEST or all(wall.any() for wall in walls):
        raise UserError(
            f"the density has exploded: {100 * full:.0f} % of the cube is full"
            f"{', and it touches all walls' if all(wall.any() for wall in walls) else ''}; lower the guidance scale or "
            f"the learning rate, or raise the sparsity and opacity weights"
        )
    return level, (
        f"density {level:.3g}, where silhouettes of the surface and of opacity > 1/2 agree best "
        f"(IoU {agreement.max():.3f} over {views} projections)"
    )


def _project(density: Tensor, step: float, views: int, rays: int) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and largest density of each ray of parallel projections, [views * rays * rays] each."""
    span = math.sqrt(3.0)
    along = torch.arange(-span, span, step)
    across = (torch.arange(rays) + 0.5) * (2 * span / rays) - span
    grid = density.clamp_min(FLOOR).log()[None, None]
    opacity, largest = [], []
    for k in range(views):
        up = (k + 0.5) / views  # Fibonacci half sphere: even and aligned with no axis
        turn = math.pi * (1 + math.sqrt(5.0)) * (k + 0.5)
        flat = math.sqrt(1 - up * up)
        forward = torch.tensor([flat * math.cos(turn), flat * math.sin(turn), up])
        right = torch.tensor([-math.sin(turn), math.cos(turn), 0.0])
        places = torch.stack(torch.meshgrid(across, across, indexing="ij"), -1).reshape(-1, 2)
        start = places[:, :1] * right + places[:, 1:] * torch.linalg.cross(forward, right)
        points = start[:, None] + along[None, :, None] * forward
        values = torch.nn.functional.grid_sample(  # wants the last axis first
            grid, points.flip(-1)[None, None], align_corners=True, padding_mode="border"
        )[0, 0, 0]
        inside = (points.abs() <= 1).all(-1)
        values = torch.where(inside, values.exp(), 0.0)
        opacity.append(1 - torch.exp(-values.sum(-1) * step))
        largest.append(values.max(-1).values)
    return torch.cat(opacity).numpy(), torch.cat(largest).numpy()
