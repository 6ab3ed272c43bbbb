"""Quality of the miniature of Stable Diffusion: does its autoencoder give pictures back, are its samples what was asked
for, and from where?

Every kind of toy that it learnt, in colours that training has seen, is sampled once for each view word. The judge is
the toybox's classifier (`distill3d.toybox.judge`), which reads colour over grey and coverage: both are made from the
sample by what differs from the colour of its border, and so they are for the real pictures of the same prompts that
set the goals. Read as another prompt's (a neighbour's in the list), the same samples should be wrong.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from figures import CannotRun, Figure, main
from PIL import Image, ImageDraw
from prior_quality import Prompt
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.view_names import with_view
from distill3d.diffusion.latents import LatentCodec
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.toybox.backdrops import over_grey
from distill3d.toybox.captions import Description, Item, wordings
from distill3d.toybox.dataset import FREQUENT
from distill3d.toybox.heldout import held_out
from distill3d.toybox.judge import SIZE, Judge, Verdicts
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.train_autoencoder import UNSEEN, toy_pictures
from distill3d.toybox.world import make_toy

VIEWS = {"front": (0.0, 15.0), "side": (90.0, 15.0), "back": (180.0, 15.0), "overhead": (0.0, 70.0)}  # degrees
COLORED = tuple(color for color in COLORS if color != "gray")  # gray toys have the colour of the wall
BATCH = 29  # pictures sampled together
REAL_SEED = 8_500_000


def prompts(seed: int = 0) -> list[Prompt]:
    """Every kind once, in a colour that training has seen it in."""
    rng, hidden = np.random.default_rng(seed), held_out()
    asked = []
    for name in sorted(FREQUENT):
        options = [color for color in COLORED if (color, name) not in hidden]
        color = options[int(rng.integers(len(options)))]
        asked.append(Prompt(wordings(Description(Item(name, color)))[0], name, color, True))
    return asked


def sampled(prior: DiffusionPrior, asked: Sequence[Prompt], steps: int, cfg_scale: float, seed: int = 0) -> Tensor:
    """[views * prompts, 64, 64, 3], view by view."""
    texts = [with_view(prompt.text, name) for name in VIEWS for prompt in asked]
    generator, pictures = torch.Generator().manual_seed(seed), []
    for start in range(0, len(texts), BATCH):
        condition = prior.condition(texts[start : start + BATCH])
        pictures.append(sample(prior, condition, steps=steps, cfg_scale=cfg_scale, generator=generator).cpu())
    return torch.cat(pictures)


def real(asked: Sequence[Prompt], seed: int = REAL_SEED) -> Tensor:
    """Toybox pictures of the same prompts and views before a grey wall, [views * prompts, 64, 64, 3]."""
    pictures = []
    for azimuth, elevation in VIEWS.values():
        camera = Cameras.orbit(torch.tensor([math.radians(azimuth)]), math.radians(elevation), size=SIZE)
        pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
        for i, prompt in enumerate(asked):
            toy = make_toy(Description(Item(prompt.category, prompt.color)), seed + i)
            rgba = picture(pack(toy), pose, lens, SIZE, light=1.0)
            pictures.append(rgba[..., :3] + 0.5 * (1 - rgba[..., 3:]))
    return torch.from_numpy(np.stack(pictures))


def right(told: Verdicts, asked: Sequence[Prompt]) -> tuple[np.ndarray, np.ndarray]:
    """Whether category and colour are the prompt's, bool [views * prompts] each."""
    wanted = list(asked) * len(VIEWS)
    category = [a == prompt.category for a, prompt in zip(told.category_names, wanted, strict=True)]
    color = [a == prompt.color for a, prompt in zip(told.color_names, wanted, strict=True)]
    return np.array(category), np.array(color)


@torch.no_grad()
def autoencoder(prior: DiffusionPrior, count: int) -> tuple[float, float]:
    """PSNR of reconstructions of unseen pictures before plain walls, dB, and the spread of their scaled latents."""
    pictures = (toy_pictures(UNSEEN, 0, count, SIZE)[0].permute(0, 2, 3, 1) + 1) / 2
    latents = torch.cat([prior.encode(part) for part in pictures.split(32)])
    back = torch.cat([prior.decode(part) for part in latents.split(32)]).clamp(0, 1)
    return float(-10 * (back - pictures).square().mean().log10()), float(latents.std())


def write_grid(path: Path, pictures: Tensor, asked: Sequence[Prompt]) -> None:
    """A row of four views for each prompt, three prompts side by side."""
    label, columns = 118, 3
    rows, width = -(-len(asked) // columns), label + len(VIEWS) * SIZE
    sheet = np.full((rows * SIZE, columns * width, 3), 0.93)
    by_prompt = pictures.numpy().reshape(len(VIEWS), len(asked), SIZE, SIZE, 3).transpose(1, 2, 0, 3, 4)
    corners = [((i % rows) * SIZE, (i // rows) * width) for i in range(len(asked))]
    for (top, left), row in zip(corners, by_prompt, strict=True):
        sheet[top : top + SIZE, left + label : left + width] = row.reshape(SIZE, len(VIEWS) * SIZE, 3)
    image = Image.fromarray(np.round(255 * sheet.clip(0, 1)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for (top, left), prompt in zip(corners, asked, strict=True):
        pen.text((left + label - 6, top + SIZE // 2), prompt.text, fill=(40, 40, 40), anchor="rm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        prior, judge = DiffusionPrior.build({"kind": "diffusion", "model": options.model}), Judge.load()
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    if not isinstance(prior.codec, LatentCodec) or prior.resolution != SIZE:
        raise CannotRun(f"{options.model} is no latent prior of {SIZE} pixels")
    asked, steps = prompts(), options.steps or (12 if options.quick else 30)
    psnr, spread = autoencoder(prior, 32 if options.quick else 128)
    print(f"reconstructions {psnr:.2f} dB, scaled latents' standard deviation {spread:.3f}", flush=True)
    pictures = sampled(prior, asked, steps, options.cfg)
    if options.grid:
        write_grid(options.grid, pictures, asked)
    told = judge.judge(over_grey(pictures))
    truth = judge.judge(over_grey(real(asked)))
    category, color = right(told, asked)
    swapped_category, swapped_color = right(told, [*asked[1:], asked[0]])
    shares = {}
    for name, (kinds, colors) in {
        "samples": (category, color),
        "samples, read as another prompt's": (swapped_category, swapped_color),
        "real pictures": right(truth, asked),
    }.items():
        shares[name] = 100 * (kinds & colors).mean()
        print(f"{name:<34} category {100 * kinds.mean():5.1f} %  colour {100 * colors.mean():5.1f} %  "
              f"both {shares[name]:5.1f} %")  # fmt: skip
    for i, view in enumerate(VIEWS):
        part = slice(i * len(asked), (i + 1) * len(asked))
        print(f"{view:<10} category {100 * category[part].mean():5.1f} %  colour {100 * color[part].mean():5.1f} %")
    for i, prompt in enumerate(asked):
        read = [f"{told.color_names[j]} {told.category_names[j]}" for j in range(i, len(category), len(asked))]
        print(f"{prompt.text:<22} {', '.join(read)}")
    yield Figure("latent_autoencoder_psnr", psnr, goal=28, unit="dB")
    yield Figure("latent_right", shares["samples"], goal=round(shares["real pictures"] - 5, 1), unit="%")


if __name__ == "__main__":
    main(
        __doc__ or "",
        measure,
        model={"required": True, "help": "a latent prior: a folder in diffusers layout, as toybox train-latent makes"},
        steps={"type": int, "default": None, "help": "DDIM steps (30; quick: 12)"},
        cfg={"type": float, "default": 3.0, "help": "guidance scale (3)"},
        grid={"type": Path, "default": None, "metavar": "FILE.png", "help": "write the samples here"},
    )
