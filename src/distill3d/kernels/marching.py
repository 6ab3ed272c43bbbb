"""Ray marching through an occupancy grid: where to evaluate a field, and where not to.

Samples of a ray lie on one lattice, `t = (k + jitter) * step` measured from the ray's origin, so that a change of the
occupancy grid adds or removes samples and moves none. Empty space is skipped with a Chebyshev distance field: from a
cell whose nearest occupied cell is `d` cells away, the march jumps to the border of the empty box around it; inside
an occupied region it jumps in the same way, to the border of the solid box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill3d.kernels import cuda_libraries
from distill3d.kernels.marching_cuda import march_in_parts, march_nerfacc
from distill3d.kernels.marching_numba import march_rays
from distill3d.kernels.skip_distance import chebyshev_distance, skips

__all__ = ["RaySamples", "chebyshev_distance", "march"]

RUNS = 8  # stretches a ray that are remembered from counting to filling
_MIDDLE = np.empty(0, np.float32)  # no jitter: every ray has 0.5


@dataclass(frozen=True)
class RaySamples:
    """Packed samples of `R` rays, ray after ray, front to back.

    Args:
        positions: [N, 3] float32, the grid's cube mapped to 0..1.
        t: [N] float32, distance from the ray's origin; a sample stands for an interval of length `step`.
        offsets: [R + 1] int64, the samples of ray r are `offsets[r]:offsets[r + 1]`.
        step: world units.
    """

    positions: Tensor
    t: Tensor
    offsets: Tensor
    step: float

    @property
    def ray_index(self) -> Tensor:
        """[N] int64: the ray of each sample."""
        counts = self.offsets[1:] - self.offsets[:-1]
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def march(
    origins: Tensor, directions: Tensor, distance: Tensor, step: float, jitter: Tensor | None = None, bound: float = 1.0
) -> RaySamples:
    """The samples of each ray that fall into occupied cells.

    Args:
        origins, directions: [R, 3] float32; directions have unit length.
        distance: [G, G, G] uint8, `chebyshev_distance` of the occupancy over the cube [-bound, bound]^3.
        step: distance of two samples on a ray, world units.
        jitter: [R] in [0, 1), the place of the samples within their intervals; None is the middle.
        bound: half the side of the cube, world units.

    Returns:
        samples without gradient; the same as `march_reference`, but for those within rounding of a cell's border.
        The same bits on any number of threads.
    """
    if origins.device.type != "cpu":
        origins, directions = origins.detach().reshape(-1, 3), directions.detach().reshape(-1, 3)
        if jitter is None:
            jitter = torch.full((len(origins),), 0.5, device=origins.device)
        library = cuda_libraries.nerfacc() if origins.device.type == "cuda" else None
        arguments = (origins, directions, distance == 0, step, jitter, bound)
        parts = march_in_parts(*arguments) if library is None else march_nerfacc(library, *arguments)
        return RaySamples(*parts, step)
    positions, t, offsets = march_rays(
        np.ascontiguousarray(origins.detach().float().numpy()).reshape(-1, 3),
        np.ascontiguousarray(directions.detach().float().numpy()).reshape(-1, 3),
        *skips(distance),
        float(step),
        _MIDDLE if jitter is None else jitter.detach().float().contiguous().numpy(),
        float(bound),
        RUNS,
    )
    return RaySamples(torch.from_numpy(positions), torch.from_numpy(t), torch.from_numpy(offsets), step)
