"""The pictures of docs/schedules.md, docs/samplers.md and docs/guidance.md: python docs/make/diffusion.py"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from plots import WIDTH, panel, write_grid, write_panels
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion import schedule_families as families
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.guided import branches, guided
from distill3d.diffusion.perp_neg import perp_neg
from distill3d.diffusion.prediction import Prediction
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import ddim, sample, standard_normal, timesteps
from distill3d.diffusion.schedule import NoiseSchedule

OUT = Path(__file__).resolve().parents[1] / "pictures"
STEPS = 25


def schedules() -> None:
    scaled = families.alpha_bar_of(families.scaled_linear_betas())
    known = {
        "linear (DDPM)": NoiseSchedule.from_betas(families.linear_betas()),
        "scaled linear (Stable Diffusion)": NoiseSchedule.from_alpha_bar(scaled),
        "the same, zero terminal SNR": NoiseSchedule.from_alpha_bar(families.zero_terminal_snr(scaled)),
        "cosine (toybox)": NoiseSchedule.from_betas(families.cosine_betas()),
        "rectified flow": NoiseSchedule(*families.rectified_flow()),
    }
    t = torch.arange(0, 1000, 9)
    share = {name: (t.numpy(), s.alpha[t].numpy()) for name, s in known.items()}
    snr = {name: (t.numpy(), s.log_snr(t).clamp(-12, 12).numpy()) for name, s in known.items()}
    panels = [panel("alpha: what is left of the picture", share, "t"), panel("log SNR, cut at 12", snr, "t", WIDTH)]
    write_panels(OUT / "schedules.svg", panels)


def samplers(prior: DiffusionPrior) -> None:
    told, budgets = chair(prior), (2, 5, 10, 25, 100)
    noise = standard_normal(torch.empty(prior.x_shape(1)), torch.Generator().manual_seed(3))
    rows = {}
    for name in ("ddim", "dpm++", "heun", "ddpm", "renoise"):
        rows[name] = [
            sample(prior, told, steps, 2.0, generator=torch.Generator().manual_seed(5), sampler=name, start=noise)[0]
            for steps in budgets
        ]
    write_grid(OUT / "samplers.png", numpy(rows), [f"{steps} steps" for steps in budgets])


def guidance(prior: DiffusionPrior) -> None:
    told, scales = chair(prior), (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
    noise = standard_normal(torch.empty(prior.x_shape(1)), torch.Generator().manual_seed(3))

    def by_scale(**options: object) -> list[Tensor]:
        return [sample(prior, told, STEPS, scale, start=noise, **options)[0] for scale in scales]

    rows = {
        "plain": by_scale(),
        "rescale 0.7": by_scale(rescale=0.7),
        "0.2 to 0.8 only": by_scale(interval=(0.2, 0.8)),
    }
    write_grid(OUT / "guidance-scale.png", numpy(rows), [f"scale {scale:g}" for scale in scales])


def negatives(prior: DiffusionPrior) -> None:
    """A negative prompt that shares a word with the prompt takes that word away; Perp-Neg leaves it."""
    told, unwanted = chair(prior, "a red chair"), chair(prior, "a red cube")
    noise = standard_normal(torch.empty(prior.x_shape(1)), torch.Generator().manual_seed(3))

    def drawn(denoise: Callable[[Tensor, Tensor], Prediction]) -> Tensor:
        x = ddim(prior.schedule, denoise, noise, timesteps(STEPS), clip=prior.clip_range)
        return prior.decode(x).clamp(0, 1)[0]

    def plain(weight: float) -> Tensor:
        return drawn(lambda x, t: guided(prior, x, t, [told, unwanted], [3.0, -3.0 * weight]))

    def perpendicular(weight: float) -> Tensor:
        return drawn(lambda x, t: perp_neg(prior, x, t, told, [unwanted], 3.0, [-weight]))

    weights = (0.0, 0.5, 1.0, 1.5)
    rows = {"subtracted": [plain(w) for w in weights], "Perp-Neg": [perpendicular(w) for w in weights]}
    write_grid(OUT / "perp-neg.png", numpy(rows), [f"weight {w:g}" for w in weights])


def noise_levels(prior: DiffusionPrior) -> None:
    """One network output seen four ways, at four times."""
    told, times = chair(prior), (100, 400, 700, 950)
    generator = torch.Generator().manual_seed(0)
    clean = prior.encode(sample(prior, told, STEPS, 2.0, generator=generator))
    columns = []
    for time in times:
        t = torch.tensor([time])
        x_t = prior.schedule.add_noise(clean, standard_normal(clean, generator), t)
        seen = branches(prior, x_t, t, [told])[0]
        columns.append([(v / 2 + 0.5)[0].permute(1, 2, 0) for v in (x_t, seen.clean, seen.noise / 2, seen.velocity)])
    names = ("x_t", "clean picture", "noise (halved)", "velocity")
    rows = {name: [column[k][..., :3] for column in columns] for k, name in enumerate(names)}
    write_grid(OUT / "predictions.png", numpy(rows), [f"t = {time}" for time in times])


def chair(prior: DiffusionPrior, prompt: str = "a blue chair") -> Condition:
    return prior.condition([prompt], Cameras.orbit(torch.tensor([0.6]), 0.3, size=64), light=1.0)


def numpy(rows: dict[str, list[Tensor]]) -> dict[str, list[np.ndarray]]:
    return {name: [picture.numpy() for picture in pictures] for name, pictures in rows.items()}


if __name__ == "__main__":
    schedules()
    with torch.no_grad():
        toybox = DiffusionPrior.build({"kind": "diffusion", "model": "toybox"})
        for draw in (noise_levels, samplers, guidance, negatives):
            draw(toybox)
            print(draw.__name__)
