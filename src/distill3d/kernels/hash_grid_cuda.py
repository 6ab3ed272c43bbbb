"""The hash grid through tiny-cuda-nn, on the same table.

tiny-cuda-nn places a point of level l at x scale_l + 0.5, and its resolutions follow a rule of their own. Taken one
level at a time both can be steered: a grid of one level with base resolution n + 1 has scale n and n + 1 vertices a
side, and the point x - 0.5 / n then stands at n x, where ours stands. From there on the two agree: vertices x fastest,
rows rounded up to 8, the same primes, hashing where the vertices outnumber the table. So the rows of a level of our
table, read as one flat vector, are the parameters of its grid, and the gradient to those is the gradient to the rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from distill3d.kernels.hash_grid_torch import GridLayout


def grid_config(layout: GridLayout, level: int) -> dict[str, Any]:
    """tiny-cuda-nn's encoding section for one level."""
    return {
        "otype": "HashGrid",
        "n_levels": 1,
        "n_features_per_level": layout.features,
        "log2_hashmap_size": layout.log2_table,
        "base_resolution": layout.resolutions[level] + 1,
        "per_level_scale": 1.0,
    }


def grid_points(positions: Tensor, layout: GridLayout, level: int) -> Tensor:
    """[N, 3]: where tiny-cuda-nn has to be asked so that it looks at `positions`; clamped to the unit cube first."""
    return positions.clamp(0, 1) - 0.5 / layout.resolutions[level]


def fits(layout: GridLayout) -> bool:
    return layout.features in (1, 2, 4, 8)


@lru_cache(maxsize=64)
def _grid(library: Any, layout: GridLayout, level: int, device: int) -> Any:
    with torch.cuda.device(device):
        return library.Encoding(3, grid_config(layout, level), dtype=torch.float32)


def hash_encode_tinycudann(library: Any, positions: Tensor, table: Tensor, layout: GridLayout, active: int) -> Tensor:
    """Arguments and result of `hash_encode`; gradients to the table alone.

    Never run by its authors: `benchmarks/gpu.py` compares it with the reference where both are present.
    """
    device = positions.device.index or 0
    columns = []
    for level in range(active):
        first, last = layout.offsets[level : level + 2]
        flat = table[first:last].reshape(-1)
        grid = _grid(library, layout, level, device)
        columns.append(functional_call(grid, {"params": flat}, (grid_points(positions.detach(), layout, level),)))
    rest = positions.new_zeros(len(positions), (layout.levels - active) * layout.features)
    return torch.cat([*columns, rest], -1)
