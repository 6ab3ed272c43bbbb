"""Which samples of a ray are worth evaluating with a gradient: those that light can still reach.

An occupancy grid knows what is empty, not what is hidden, and behind the walls of a room nothing ever tells the field
to be empty: most of the lattice lies there. The density at every few samples, without gradient, bounds the optical
thickness in front of a sample from below, so what is left out is hidden for certain.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from distill3d.renderers.nerf_space import FieldSamples

PROBE = 4  # samples of which one is looked at; the rest only adds to the thickness
HIDDEN = 9.21  # optical thickness in front: a transmittance below 1e-4, where compositing stops as well


@torch.no_grad()
def visible(at: FieldSamples, density: Callable[[Tensor], Tensor], step: float) -> FieldSamples:
    """The samples in front of which the thickness found is below `HIDDEN`.

    Args:
        density: positions [N, 3] in 0..1 -> [N] per world unit.
        step: length of a sample's interval in the rays' coordinate.
    """
    count = len(at.t)
    if count == 0:
        return at
    probed = density(at.positions[::PROBE]) * step
    if at.stretch is not None:
        probed = probed * at.stretch[::PROBE]
    rays = len(at.offsets) - 1
    ray = torch.repeat_interleave(torch.arange(rays, device=at.t.device), at.offsets.diff())
    # float64: the sum runs over all rays, a ray's own thickness is a difference of two of its values
    passed = torch.cat([at.t.new_zeros(1, dtype=torch.float64), probed.double().clamp(max=1e4).cumsum(0)])
    before = (torch.arange(count, device=at.t.device) + PROBE - 1) // PROBE  # probes in front of each sample
    at_start = (at.offsets[:-1] + PROBE - 1) // PROBE
    keep = passed[before] - passed[at_start][ray] < HIDDEN
    offsets = torch.zeros_like(at.offsets)
    offsets[1:] = torch.bincount(ray[keep], minlength=rays).cumsum(0)
    stretch = None if at.stretch is None else at.stretch[keep]
    return FieldSamples(at.positions[keep], at.t[keep], stretch, offsets)
