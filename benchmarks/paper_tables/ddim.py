"""DDIM's table 1 on the toybox: quality against the number of steps and the noise put back at each.

Frechet distance (`toys.Ground`) for S steps and eta from 0 to 1, and sigma-hat, the larger variance of DDPM. The
paper's order is the claim: at few steps little noise wins and sigma-hat is far behind; at a thousand it wins.

The walk ends at t = 0. The paper's network predicts noise, so its last call, next to the clean end, can take away
almost nothing of what the step before has added; ours predicts the clean picture and would wipe it all off, and with it
what the table is about. Ended like that (`--wiped`), ten steps with much noise are no worse than with none.

The thousand-step row takes most of the time, so a full run makes it for eta 0, 1 and sigma-hat, and of fewer pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from toys import FLAGS, Figure, Ground, Toys, batches, load, main, write_rows

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


def drawn(prior: DiffusionPrior, toys: Toys, steps: int, eta: Eta, wiped: bool) -> torch.Tensor:
    """A picture of each toy, from noise of its own, by `steps` calls of the network."""
    total = len(prior.schedule)
    times = timesteps(steps) if wiped else timesteps(min(steps + 1, total), "linspace", total)[:-1]
    pictures = []
    for rows in batches(len(toys)):
        seeds = [torch.Generator().manual_seed(i) for i in range(len(toys))[rows]]
        condition = toys.condition(prior, rows)
        x = standard_normal(condition.text.new_empty(prior.x_shape(len(condition))), seeds)
        with torch.no_grad():
            denoise = guided_denoiser(prior, condition, 1.0)
            x = ddim(prior.schedule, denoise, x, times, eta, prior.clip_range, seeds)
        pictures.append(prior.decode(x).clamp(0, 1).cpu())
    return torch.cat(pictures)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior = load(options.model, options.device)
    count = options.pictures or (32 if options.quick else 64)
    toys = Toys.draw(count, 9_000_000)
    ground = Ground(toys, 8 if options.quick else 16)
    table: dict[int, dict[Eta, float]] = {}
    shown = {"real": toys.pictures()}
    print(f"{count} pictures; real pictures of the same toys are at {ground.distance(shown['real']):.2f}")
    print("steps" + "".join(f"{eta:>16}" for eta in ETAS) + "   (the paper's in brackets)")
    for steps in (10, 20) if options.quick else (10, 20, 50, 100, 1000):
        whole = steps < 1000 or options.whole
        if not whole:
            ground = Ground(Toys.draw(count // 2, 9_000_000), 16)
        table[steps] = {}
        for eta in ETAS if whole else (0.0, 1.0, "sigma-hat"):
            pictures = drawn(prior, ground.toys, steps, eta, options.wiped)
            table[steps][eta] = ground.distance(pictures)
            if steps in (10, 1000):
                shown[f"{steps}, {eta}"] = pictures
        cells = [
            f"{table[steps][eta]:8.2f} ({paper:5.1f})" if eta in table[steps] else f"{'':16}"
            for eta, paper in zip(ETAS, PAPER[steps], strict=True)
        ]
        print(f"{steps:>5}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    write_rows(options.grid, shown)
    options.raw |= {"distance": {s: {str(e): v for e, v in row.items()} for s, row in table.items()}}
    few, many = table[10], table.get(1000)
    yield Figure("ddim_10_steps_eta_1_over_0", few[1.0] / few[0.0], 1.0, "x")
    yield Figure("ddim_10_steps_sigma_hat_over_worst_eta", few["sigma-hat"] / max(few[e] for e in ETAS[:-1]), 1.0, "x")
    best = None if many is None else min(v for e, v in many.items() if e != "sigma-hat") / many["sigma-hat"]
    yield Figure("ddim_1000_steps_best_eta_over_sigma_hat", best, 1.0, "x")


if __name__ == "__main__":
    main(
        __doc__,
        measure,
        wiped={"action": "store_true", "help": "end with a call that takes all noise away"},
        whole={"action": "store_true", "help": "the thousand-step row for every eta and all pictures"},
        **FLAGS,
    )
