"""Ray marching on CUDA: nerfacc walks the grid, and its samples are put back on the lattice of `marching`.

nerfacc takes intervals of equal length one after another from a near plane on and keeps those whose middle lies in an
occupied cell: with the near plane on the lattice, half a step early, these are the samples of `march_reference`. It
adds its steps up in float32, so the distances drift by some 1e-4 of a step; the lattice index that each is nearest to
does not, and gives the exact distance back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from distill3d.kernels.marching_torch import march_reference

AT_ONCE = 1 << 22  # lattice points that plain torch looks up in one go


def march_nerfacc(
    nerfacc: Any, origins: Tensor, directions: Tensor, occupied: Tensor, step: float, jitter: Tensor, bound: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments and result of `march_reference`, by `nerfacc.traverse_grids` (0.5.3)."""
    if not len(origins):
        return march_reference(origins, directions, occupied, step, jitter, bound)
    box = torch.tensor([[-bound] * 3 + [bound] * 3], dtype=torch.float32, device=origins.device)
    origins, directions = origins.float().contiguous(), directions.float().contiguous()
    _, samples, _ = nerfacc.traverse_grids(
        origins,
        directions,
        occupied[None],
        box,
        near_planes=near_planes(origins, directions, step, jitter, bound),
        step_size=step,
    )
    index, counts = samples.ray_indices, samples.packed_info[:, 1]
    positions, t = on_the_lattice(origins, directions, samples.vals, index, step, jitter, bound)
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    offsets[1:] = counts.cumsum(0)
    return positions, t, offsets


def near_planes(origins: Tensor, directions: Tensor, step: float, jitter: Tensor, bound: float) -> Tensor:
    """[R] float32: half a step in front of the last lattice sample before the ray enters the cube, or of the first."""
    tiny = torch.where(directions < 0, -1e-20, 1e-20).double()
    inverse = 1 / torch.where(directions.abs() > 1e-20, directions.double(), tiny)
    entry = torch.minimum((-bound - origins) * inverse, (bound - origins) * inverse).amax(-1)
    k = (entry / step - jitter).floor().clamp(min=0)
    return ((k + jitter - 0.5) * step).float()


def on_the_lattice(
    origins: Tensor, directions: Tensor, t: Tensor, index: Tensor, step: float, jitter: Tensor, bound: float
) -> tuple[Tensor, Tensor]:
    """Positions [N, 3] in 0..1 and distances [N] of the lattice samples nearest to distances t [N] on rays `index`."""
    shift = jitter.double()[index]
    exact = ((t.double() / step - shift).round() + shift) * step
    points = origins.double()[index] + exact[:, None] * directions.double()[index]
    return (points / (2 * bound) + 0.5).clamp(0, 1).float(), exact.float()


def march_in_parts(
    origins: Tensor,
    directions: Tensor,
    occupied: Tensor,
    step: float,
    jitter: Tensor,
    bound: float,
    at_once: int = AT_ONCE,
) -> tuple[Tensor, Tensor, Tensor]:
    """`march_reference` over so many rays at a time that a table of their lattice points stays small."""
    longest = float(origins.norm(dim=-1).max()) / step + 3**0.5 * bound / step + 1 if len(origins) else 1.0
    rows = max(1, int(at_once / longest))
    starts = range(0, max(len(origins), 1), rows)
    parts = [
        march_reference(origins[k : k + rows], directions[k : k + rows], occupied, step, jitter[k : k + rows], bound)
        for k in starts
    ]
    positions, t, offsets = zip(*parts, strict=True)
    counts = torch.cat([o[1:] - o[:-1] for o in offsets])
    return torch.cat(positions), torch.cat(t), torch.cat([counts.new_zeros(1), counts.cumsum(0)])
