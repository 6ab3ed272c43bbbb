"""DDIM's table 1 on the toybox: quality against the number of steps and the noise put back at each.

Frechet distance (`toys.Ground`) for S steps and eta from 0 to 1, and sigma-hat, the larger variance of DDPM. The
paper's order is the claim: at few steps little noise wins and sigma-hat is far behind; at a thousand it wins.

The walk ends at t = 0. The paper's network predicts noise, so its last call, next to the clean end, can take away
almost nothing of what the step before has added; ours predicts the clean picture and would wipe it all off, and with it
what the table is about. Ended like that (`--wiped`), ten steps with much noise are no worse than with none.

A thousand steps take most of the time, so a full run makes that row for eta 0, 1 and sigma-hat, and of fewer pictures.
What differs from eta 0 is given with the jackknife's standard error: the pictures are few, but of the same toys.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from samples import Cell, made
from toys import FLAGS, Figure, Ground, Toys, load, main, seeds, write_rows

from distill3d.diffusion.ddim import Eta, ddim
from distill3d.diffusion.guided import guided_denoiser
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.timesteps import timesteps
from distill3d.diffusion.walk import standard_normal

ETAS: tuple[Eta, ...] = (0.0, 0.2, 0.5, 1.0, "sigma-hat")
PAPER = {  # CIFAR-10, Song et al. 2021, table 1
    10: (13.36, 14.04, 16.66, 41.07, 367.43),
    20: (6.84, 7.11, 8.35, 18.36, 133.37),
    50: (4.67, 4.77, 5.25, 8.01, 32.72),
    100: (4.16, 4.25, 4.46, 5.78, 9.99),
    1000: (4.04, 4.09, 4.29, 4.73, 3.17),
}


def cell(prior: DiffusionPrior, toys: Toys, count: int, steps: int, eta: Eta, wiped: bool) -> Cell:
    """A picture of each toy, from noise of its own, by `steps` calls of the network."""
    total = len(prior.schedule)
    times = timesteps(steps) if wiped else timesteps(min(steps + 1, total), "linspace", total)[:-1]

    @torch.no_grad()
    def draw(rows: slice) -> torch.Tensor:
        noise, condition = seeds(rows), toys.condition(prior, rows)
        x = standard_normal(condition.text.new_empty(prior.x_shape(len(condition))), noise)
        x = ddim(prior.schedule, guided_denoiser(prior, condition, 1.0), x, times, eta, prior.clip_range, noise)
        return prior.decode(x).clamp(0, 1)

    return Cell(f"{steps}, {eta}", count, len(times) - 1, draw, "wiped" if wiped else "ddim")


def rms(pictures: torch.Tensor, others: torch.Tensor) -> float:
    return float((pictures - others).square().mean().sqrt())


def told(steps: int) -> tuple[str, ...]:
    """The paper's row, in brackets; empty where it has none."""
    return tuple(f"({value:5.1f})" for value in PAPER[steps]) if steps in PAPER else ("",) * len(ETAS)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior = load(options.model, options.device)
    count = options.pictures or (24 if options.quick else 32)
    few = count if options.whole else min(count, options.few)
    rows = options.rows or ((10, 20) if options.quick else PAPER)
    counts = {steps: few if steps == 1000 else count for steps in rows}
    toys = Toys.draw(count, 9_000_000)
    grounds = {n: Ground(toys.first(n), 16) for n in {count, *counts.values()}}
    wanted = {s: ETAS if s < 1000 or options.whole else (0.0, 1.0, "sigma-hat") for s in counts}
    cells = [cell(prior, toys, counts[s], s, eta, options.wiped) for s in counts for eta in wanted[s]]
    shown = {"real": toys.pictures()}
    print(f"{count} pictures ({few} at a thousand steps); real ones of the same toys are at "
          f"{grounds[count].distance(shown['real']):.2f}")  # fmt: skip
    at = iter(made(cells, prior, options.keep))
    table: dict[int, dict[Eta, float]] = {}
    print("steps" + "".join(f"{eta:>16}" for eta in ETAS) + "   (the paper's in brackets)")
    for steps, n in counts.items():
        pictures = {eta: next(at)[1] for eta in wanted[steps]}
        shown |= {f"{steps}, {eta}": p for eta, p in pictures.items()}
        table[steps] = {eta: grounds[n].distance(p) for eta, p in pictures.items()}
        cells_shown = [
            f"{table[steps][eta]:8.2f} {paper:>7}" if eta in table[steps] else ""
            for eta, paper in zip(ETAS, told(steps), strict=True)
        ]
        print(f"{steps:>5}" + "".join(f"{shown_cell:>16}" for shown_cell in cells_shown), flush=True)
        if n < count and 100 in table:  # the rows above, of as few pictures: only such values are to be compared
            same = {e: grounds[n].distance(shown[f"100, {e}"][:n]) for e in wanted[steps]}
            print(f"  100 steps, of the same {n}: " + ", ".join(f"{e} {v:.2f}" for e, v in same.items()))
        for eta in wanted[steps][1:]:
            more, error = grounds[n].difference(pictures[eta], pictures[0.0])
            print(f"      eta {eta} is {more:+.2f} +- {error:.2f} from eta 0")
    if {10, 100} <= table.keys():
        moved = {f"{s}, {e}": rms(shown[f"{s}, {e}"][:n], shown["100, 0.0"][:n]) for s, e in ((10, 0.0), (100, 1.0))}
        moved["real ones of other toys"] = rms(toys.first(n).pictures(1), shown["real"][:n])
        print("root mean square off 100 steps of eta 0, and between two real pictures of the same words and camera:")
        print("  " + ", ".join(f"{name} {value:.4f}" for name, value in moved.items()))
        options.raw["root_mean_square"] = moved
    first = ("real", *(f"{s}, {e}" for s in (10, 1000) if s in table for e in wanted[s]))
    write_rows(options.grid, {name: shown[name] for name in first})
    options.raw |= {"distance": {s: {str(e): v for e, v in row.items()} for s, row in table.items()}}
    least, many = table.get(10), table.get(1000)
    if least is not None:
        worst = max(least[e] for e in ETAS[:-1])
        yield Figure("ddim_10_steps_eta_1_over_0", least[1.0] / least[0.0], 1.0, "x")
        yield Figure("ddim_10_steps_sigma_hat_over_worst_eta", least["sigma-hat"] / worst, 1.0, "x")
    best = None if many is None else min(v for e, v in many.items() if e != "sigma-hat") / many["sigma-hat"]
    yield Figure("ddim_1000_steps_best_eta_over_sigma_hat", best, 1.0, "x")


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        wiped={"action": "store_true", "help": "end with a call that takes all noise away"},
        whole={"action": "store_true", "help": "the thousand-step row for every eta and all pictures"},
        rows={"type": int, "nargs": "+", "default": None, "metavar": "S", "help": "only these numbers of steps"},
        few={"type": int, "default": 8, "help": "pictures at a thousand steps (8)"},
        **FLAGS,
    )
