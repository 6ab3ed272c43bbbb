"""Hash-grid encoding, forward and backward: the kernel against plain torch.

Both sides encode the same points (16 levels x 2 features), then send the same gradient back to the table. The peer is
the torch reference: vectorised over points and corners, one level after another, on the same threads and allocator. It
looks rows up by plain indexing, `table[rows]`; for comparison a second peer uses `index_select`, torch's fastest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import torch
from figures import Figure, interleaved, main, median_ratio, milliseconds
from torch import Tensor

from distill3d.core.threads import use_threads
from distill3d.kernels.hash_grid import GridLayout, hash_encode
from distill3d.kernels.hash_grid_torch import hash_encode_torch


def ray_samples(count: int, generator: torch.Generator) -> Tensor:
    """Points in 0..1, 128 in order along each of many rays: neighbours fall into the same cells, as in rendering."""
    rays = -(-count // 128)
    start, end = torch.rand(2, rays, 1, 3, generator=generator)
    return torch.lerp(start, end, torch.linspace(0, 1, 128)[:, None]).reshape(-1, 3)[:count].contiguous()


def by_index_select(positions: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    def lookup(table: Tensor, rows: Tensor) -> Tensor:
        return table.index_select(0, rows.flatten()).view(*rows.shape, -1)

    return hash_encode_torch(positions, table, layout, lookup=lookup)


def step(
    encode: Callable[..., Tensor], inputs: tuple[Tensor, ...], positions: Tensor, table: Tensor, layout: GridLayout
):
    upstream = torch.linspace(-1, 1, len(positions) * layout.width).view(len(positions), layout.width)
    return lambda: torch.autograd.grad(encode(positions, table, layout), inputs, upstream)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    use_threads(torch.get_num_threads())
    count, rounds = (100_000, 3) if options.quick else (200_000, 7)
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(count, 3, generator=generator)
    for log2_table in (15, 19):
        layout = GridLayout(log2_table=log2_table)
        table = torch.randn(layout.table_shape, generator=generator).requires_grad_()
        cases = {"random points": (random, False)}
        if not options.quick:
            cases["ray samples"] = (ray_samples(count, generator), False)
            cases["random points, to positions too"] = (random.clone().requires_grad_(), True)
        for name, (positions, both) in cases.items():
            inputs = (table, positions) if both else (table,)
            ours, torch_s = (
                step(encode, inputs, positions, table, layout) for encode in (hash_encode, hash_encode_torch)
            )
            worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours(), torch_s(), strict=True))
            jobs = {"torch": torch_s, "ours": ours}
            if name == "random points":
                jobs["index_select"] = step(by_index_select, inputs, positions, table, layout)
            seconds = interleaved(jobs, rounds, warm_up=0)
            ratio = median_ratio(seconds["torch"], seconds["ours"])
            times = ", ".join(f"{job} {milliseconds(s)}" for job, s in seconds.items())
            print(
                f"2^{log2_table} rows, {count} {name}: {times}: {ratio:.1f} x; gradients differ by {worst:.1e}",
                flush=True,
            )
            options.raw[f"2^{log2_table} {name}"] = seconds
            if name == "random points":
                other = median_ratio(seconds["index_select"], seconds["ours"])
                print(f"  against torch by index_select: {other:.1f} x")
                yield Figure(f"hash_grid_forward_backward_2_{log2_table}", ratio, goal=25, unit="x")


if __name__ == "__main__":
    main(__doc__, measure)
