"""RePaint on the toybox: does going back and forth make the filled half fit the known one? (Lugmayr et al. 2022)

The right half of real pictures is hidden, and filled without any text. Three ways: plain compositing, resampling with
jumps, and plain compositing with as many steps as resampling makes calls, which the paper finds worse. Measured are
the known pixels (exact), the jump across the seam, in mean absolute difference of the two columns that meet there, and
the error of the filled half against what was hidden there.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable

import torch
from samples import Cell, made
from toys import FLAGS, Figure, Ground, Toys, load, main, seeds, write_rows

from distill3d.diffusion.repaint import inpaint, resampling
from distill3d.toybox.judge import SIZE


def seam(pictures: torch.Tensor) -> float:
    """Mean absolute difference across the middle."""
    return float((pictures[:, :, SIZE // 2] - pictures[:, :, SIZE // 2 - 1]).abs().mean())


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    prior = load(options.model, options.device)
    count = options.pictures or (16 if options.quick else 32)
    steps, jump, repeats = (20, 5, 4) if options.quick else (25, 5, 6)
    calls = sum(b < a for a, b in itertools.pairwise(resampling(steps, jump, repeats)))
    ways = {"plain": (steps, 1), "resampled": (steps, repeats), "slow": (calls, 1)}
    toys = Toys.draw(count, 9_000_000)
    ground = Ground(toys, 8 if options.quick else 16)
    real = toys.pictures()
    keep = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    keep[:, :, : SIZE // 2] = True
    shown = {"real": real, "known": torch.where(keep[..., None], real, 0.5)}
    print(f"{count} pictures; {steps} steps, resampled {calls} calls (jumps of {jump}, {repeats} times)")
    print(f"{'real':<10} seam {seam(real):.4f}")

    def cell(name: str, walked: int, again: int) -> Cell:
        def draw(rows: slice) -> torch.Tensor:
            condition, hidden = toys.condition(prior, rows, silent=True), real[rows].to(prior.device)
            return inpaint(prior, hidden, keep, condition, walked, 1.0, jump, again, seeds(rows))

        made_by = calls if again > 1 else walked
        return Cell(name, count, made_by, draw, f"repaint {walked} {jump} {again}")

    found: dict[str, dict[str, float]] = {}
    cells = [cell(name, *way) for name, way in ways.items()]
    for name, pictures in made(cells, prior, options.keep):
        shown[name] = pictures
        error = (pictures - real)[:, :, SIZE // 2 :].square().mean().sqrt()
        found[name] = {
            "seam": seam(pictures),
            "error": float(error),
            "distance": ground.distance(pictures),
            "known": float((pictures - real)[:, :, : SIZE // 2].abs().max()),
        }
        print(f"{name:<10} " + "   ".join(f"{k} {v:.4f}" for k, v in found[name].items()), flush=True)
    write_rows(options.grid, shown)
    options.raw |= found
    yield Figure("repaint_known_pixels_off", max(row["known"] for row in found.values()), 0.0, at_most=True)
    plain, resampled = (found[name]["seam"] - seam(real) for name in ("plain", "resampled"))
    yield Figure("repaint_seam_left_of_plain", resampled / plain, 1.0, "x", at_most=True)
    for other in ("plain", "slow"):
        ratio = found["resampled"]["error"] / found[other]["error"]
        yield Figure(f"repaint_error_resampled_over_{other}", ratio, 1.0, "x", at_most=True)


if __name__ == "__main__":
    main(__doc__, measure, **FLAGS)
