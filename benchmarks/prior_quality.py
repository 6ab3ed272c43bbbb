"""Quality of the embedded prior: are its pictures what was asked for, and from where?

60 prompts (40 of colour and category pairs that training has seen, 20 of held-out pairs), each sampled at views evenly
around the object, 15 degrees above it. The judge is a classifier trained on other seeds of the toybox
(`distill3d.toybox.judge`), the azimuth is read by comparison with real toybox pictures (`distill3d.toybox.pose`). Both
judge real pictures of the same prompts and views too, and the goals are set by what the classifier says of those. The
last table is the prior's loss when it is told the right camera, a wrong one, or none.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from figures import CannotRun, Figure, main
from PIL import Image, ImageDraw
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.condition import Condition
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.diffusion.sampling import sample
from distill3d.toybox.captions import Description, Item, wordings
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.dataset import make_batch
from distill3d.toybox.gate import CAMERAS, camera_losses
from distill3d.toybox.heldout import held_out
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.palette import COLORS
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.pose import azimuth_error, read_azimuth
from distill3d.toybox.world import make_toy

SEEN, HELD_OUT = 40, 20
ELEVATION = 15.0  # degrees
BATCH = 30  # pictures sampled together
GATED = ("car", "chair", "mug", "house", "cube", "snowman", "mushroom", "airplane")
REAL_SEED = 8_000_000  # of the real pictures; neither the prior nor the judge has met it


@dataclass(frozen=True)
class Prompt:
    text: str
    category: str
    color: str
    seen: bool


@dataclass(frozen=True)
class Scores:
    """What the judges say of one picture after another, [N] each."""

    category: np.ndarray  # bool
    color: np.ndarray  # bool
    read: list[str]  # "red mushroom"
    azimuth_error: np.ndarray  # degrees; nan where a prompt has no front

    @property
    def right(self) -> np.ndarray:
        return self.category & self.color


def prompts(seed: int = 0) -> list[Prompt]:
    """40 seen and 20 held-out pairs of plain toys, no category twice in either list."""
    rng = np.random.default_rng(seed)
    names, pairs = tuple(CATEGORIES), held_out()
    chosen = [(_pick(rng, [c for c in COLORS if (c, n) not in pairs]), n) for n in rng.permutation(names)[:SEEN]]
    novel = [(_pick(rng, [c for c in COLORS if (c, n) in pairs]), n) for n in rng.permutation(names)[:HELD_OUT]]
    described = [(pair, True) for pair in chosen] + [(pair, False) for pair in novel]
    return [Prompt(wordings(Description(Item(str(n), c)))[0], str(n), c, seen) for (c, n), seen in described]


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def azimuths(count: int, prompt: int) -> Tensor:
    """`count` directions evenly around, started elsewhere for every prompt so that few views still meet all sides."""
    start = (prompt * 0.5 * (math.sqrt(5) - 1)) % 1
    return (torch.arange(count) + start) * (2 * math.pi / count)


def orbit(azimuth: Tensor) -> Cameras:
    return Cameras.orbit(azimuth, math.radians(ELEVATION), size=SIZE)


def sampled(
    prior: DiffusionPrior, asked: Sequence[Prompt], views: int, steps: int, cfg_scale: float, seed: int = 0
) -> Tensor:
    """[prompts * views, 64, 64, 4], prompt by prompt, in batches of a few prompts."""
    texts = [prompt.text for prompt in asked for _ in range(views)]
    where = torch.cat([azimuths(views, i) for i in range(len(asked))])
    generator, pictures = torch.Generator().manual_seed(seed), []
    for start in range(0, len(texts), BATCH):
        part = slice(start, start + BATCH)
        condition = prior.condition(texts[part], orbit(where[part]).to(prior.device), light=1.0)
        pictures.append(sample(prior, condition, steps=steps, cfg_scale=cfg_scale, generator=generator).cpu())
    return torch.cat(pictures)


def real(asked: Sequence[Prompt], views: int, seed: int = REAL_SEED) -> Tensor:
    """Toybox pictures of the same prompts and views, a fresh toy in each, [prompts * views, 64, 64, 4]."""
    pictures = []
    for i, prompt in enumerate(asked):
        cameras = orbit(azimuths(views, i))
        poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
        for j in range(views):
            toy = make_toy(Description(Item(prompt.category, prompt.color)), seed + 1000 * i + j)
            pictures.append(picture(pack(toy), poses[j], lenses[j], SIZE, light=1.0))
    rgba = torch.from_numpy(np.stack(pictures))
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    return rgba


def score(judge: Judge, pictures: Tensor, asked: Sequence[Prompt], views: int) -> Scores:
    """Judges pictures [prompts * views, 64, 64, 4] that should show `asked`, each from its `azimuths`."""
    told = judge.judge(pictures)
    categories, colors = told.category_names, told.color_names
    wanted = [prompt for prompt in asked for _ in range(views)]
    off = [
        azimuth_error(read_azimuth(seen, prompt.category, prompt.color, math.radians(ELEVATION)), azimuths(views, i))
        if CATEGORIES[prompt.category].asymmetric
        else torch.full((views,), torch.nan)
        for i, (prompt, seen) in enumerate(zip(asked, pictures.split(views), strict=True))
    ]
    return Scores(
        np.array([read == prompt.category for read, prompt in zip(categories, wanted, strict=True)]),
        np.array([read == prompt.color for read, prompt in zip(colors, wanted, strict=True)]),
        [f"{color} {category}" for color, category in zip(colors, categories, strict=True)],
        np.degrees(torch.cat(off).numpy()),
    )


def camera_gate(prior: DiffusionPrior, count: int, share: float = 0.8) -> dict[str, dict[str, float]]:
    """The prior's losses by category and by what it is told of the camera (`distill3d.toybox.gate`)."""

    def clean(x_t: Tensor, t: Tensor, captions: list[str], views: Tensor) -> Tensor:
        return prior.denoise(x_t, t, Condition(prior.text(captions), views)).clean

    batches = [make_batch(20_000 + i, 0, count, SIZE, category=name) for i, name in enumerate(GATED)]
    device = prior.device
    return camera_losses(clean, prior.schedule, lambda b: prior.encode(b.pictures.to(device)), batches, share)


def write_grid(path: Path, pictures: Tensor, asked: Sequence[Prompt], views: int) -> None:
    """A row of views for each prompt, prompts side by side; a held-out pair's prompt has a star."""
    paper, label, columns = 0.93, 118, 2 if views > 3 else 5
    shown = pictures.numpy()
    on_paper = shown[..., :3] + (paper - 0.5) * (1 - shown[..., 3:])  # the samples are over grey 0.5
    rows, width = -(-len(asked) // columns), label + views * SIZE
    sheet = np.full((rows * SIZE, columns * width, 3), paper)
    image_rows = on_paper.reshape(len(asked), views, SIZE, SIZE, 3).transpose(0, 2, 1, 3, 4)
    corners = [((i % rows) * SIZE, (i // rows) * width) for i in range(len(asked))]
    for (top, left), row in zip(corners, image_rows, strict=True):
        sheet[top : top + SIZE, left + label : left + width] = row.reshape(SIZE, views * SIZE, 3)
    image = Image.fromarray(np.round(255 * sheet.clip(0, 1)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for (top, left), prompt in zip(corners, asked, strict=True):
        text = prompt.text + ("" if prompt.seen else " *")
        pen.text((left + label - 6, top + SIZE // 2), text, fill=(40, 40, 40), anchor="rm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        prior, judge = DiffusionPrior.build({"kind": "diffusion", "model": options.model}), Judge.load(options.judge)
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    if not (prior.sees_cameras and prior.sees_alpha and prior.resolution == SIZE):
        raise CannotRun(f"{options.model} is no prior of RGBA pictures of {SIZE} pixels that sees cameras")
    views = options.views or (1 if options.quick else 6)
    steps = options.steps or (15 if options.quick else 40)
    asked = prompts()
    print(f"{views} views a prompt, DDIM of {steps} steps, guidance scale {options.cfg:g}", flush=True)
    pictures = sampled(prior, asked, views, steps, options.cfg)
    if options.grid:
        write_grid(options.grid, pictures, asked, views)
    real_views = 8 if options.quick else 24
    ours, truth = score(judge, pictures, asked, views), score(judge, real(asked, real_views), asked, real_views)

    seen = np.array([prompt.seen for prompt in asked])
    _table(asked, ours, truth, views, real_views)
    shares = {}
    for name, kind in (("seen", seen), ("held-out", ~seen)):
        mine, his = np.repeat(kind, views), np.repeat(kind, real_views)
        shares[name] = 100 * ours.right[mine].mean(), 100 * truth.right[his].mean()
        print(
            f"{name} pairs: samples right {shares[name][0]:.1f} % (category {100 * ours.category[mine].mean():.1f}, "
            f"colour {100 * ours.color[mine].mean():.1f}), real pictures right {shares[name][1]:.1f} % "
            f"(category {100 * truth.category[his].mean():.1f}, colour {100 * truth.color[his].mean():.1f})"
        )
    off, off_real = float(np.nanmedian(ours.azimuth_error)), float(np.nanmedian(truth.azimuth_error))
    faces = sum(CATEGORIES[prompt.category].asymmetric for prompt in asked)
    print(f"azimuth of {faces} asymmetric prompts: median error {off:.1f} degrees, real pictures {off_real:.1f}")
    gate = camera_gate(prior, 8 if options.quick else 48)
    print("loss by camera       " + "".join(f"{name:>15}" for name in CAMERAS))
    for category, row in gate.items():
        print(f"{category:<21}" + "".join(f"{row[name]:>15.4f}" for name in CAMERAS))
    options.raw |= {
        "prompts": [prompt.text for prompt in asked],
        "read": ours.read,
        "azimuth_error_deg": [None if np.isnan(v) else round(float(v), 1) for v in ours.azimuth_error],
        "real": {name: his for name, (_, his) in shares.items()},
        "camera_gate": gate,
    }
    yield Figure("prior_right_seen", shares["seen"][0], goal=round(shares["seen"][1] - 5, 1), unit="%")
    yield Figure("prior_right_heldout", shares["held-out"][0], goal=round(shares["held-out"][1] - 15, 1), unit="%")
    yield Figure("prior_azimuth_error_deg", off, goal=20, at_most=True)


def _table(asked: Sequence[Prompt], ours: Scores, truth: Scores, views: int, real_views: int) -> None:
    """A line a prompt: how many samples are right, what the wrong ones are taken for, and where they are seen from."""
    for i, prompt in enumerate(asked):
        mine, his = slice(i * views, (i + 1) * views), slice(i * real_views, (i + 1) * real_views)
        wrong = [read for read, right in zip(ours.read[mine], ours.right[mine], strict=True) if not right]
        turned = f"{np.median(ours.azimuth_error[mine]):4.0f} deg" if CATEGORIES[prompt.category].asymmetric else ""
        print(
            f"{prompt.text:<22}{'' if prompt.seen else 'held out':<9}{ours.right[mine].sum():>2} of {views}"
            f"   real {truth.right[his].sum():>2} of {real_views}  {turned:<9} {', '.join(dict.fromkeys(wrong))}",
            flush=True,
        )


if __name__ == "__main__":
    main(
        __doc__ or "",
        measure,
        model={"default": "toybox", "help": "a prior: toybox, or a folder in diffusers layout"},
        judge={"type": Path, "default": None, "metavar": "FOLDER", "help": "another judge than the shipped one"},
        views={"type": int, "default": None, "help": "pictures a prompt (6; quick: 1)"},
        steps={"type": int, "default": None, "help": "DDIM steps (40; quick: 15)"},
        cfg={"type": float, "default": 2.0, "help": "guidance scale (2)"},
        grid={"type": Path, "default": None, "metavar": "FILE.png", "help": "write the samples here"},
    )
