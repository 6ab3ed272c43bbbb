"""Do views that are sampled together show one thing? The embedded multi-view prior (MVDream, Shi et al. 2024).

Prompts that leave the colour open, each in groups of four views at 90 degrees, at the height of the toy, in plain
colours: drawn from noise, and from pictures of a real toy of which noise of level 0.9 leaves a little; with the trained
attention over views, and each view on its own, from the same noise. (The prior's own attention over four views, read
once, is the latter in every digit.) DDIM's steps are dense where the noise is high, where a group settles on a colour
or does not. Read off every group:

- colour agreement: share of pairs of its views in which the judge names one colour;
- toy's colour: share of its views in which that is the colour of the real toy (from noise: by chance);
- colour spread: standard deviation between its views of the mean colour of the object, over the three channels;
- outline agreement: overlap (intersection over union) of the coverage of opposite views, one of them mirrored;
- kind right: share of its views in which the judge names the kind that was asked for.

The real toys are read the same way: four views of one (what agreement can reach), and of four (what it is by chance).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from figures import CannotRun, Figure, main
from PIL import Image
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.ddim import ddim
from distill3d.diffusion.multi_view import MultiViewPrior
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.toybox.judge import SIZE, Judge
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.sheet import grid
from distill3d.toybox.world import toy_from_prompt

KINDS = (
    "chair", "car", "mug", "house", "table", "lamp", "boat", "hat",
    "sofa", "tower", "truck", "snowman", "airplane", "cube", "duck", "mushroom",
)  # fmt: skip
VIEWS = 4
GROUPS_AT_ONCE = 4
REAL_SEED = 8_100_000
WAYS = ("trained", "separate")
LEVELS = (1.0, 0.9)


@dataclass(frozen=True)
class Reading:
    """Means over groups of views."""

    color_agreement: float
    toys_color: float
    color_spread: float
    outline_agreement: float
    kind_right: float

    def __str__(self) -> str:
        return (
            f"colour agreement {self.color_agreement:.1%}, toy's colour {self.toys_color:.1%}, "
            f"colour spread {self.color_spread:.3f}, "
            f"outline agreement {self.outline_agreement:.1%}, kind right {self.kind_right:.1%}"
        )


def cameras_of(groups: Sequence[int]) -> Cameras:
    """Each group's four cameras; where the first stands goes evenly around from group to group."""
    start = (torch.tensor(groups) * 0.5 * (math.sqrt(5) - 1)) % 1
    azimuth = (start[:, None] + torch.arange(VIEWS)) * (2 * math.pi / VIEWS)
    return Cameras.orbit(azimuth.flatten(), 0.0, size=SIZE)


def priors(attention: str | None) -> dict[str, DiffusionPrior]:
    """The two ways to sample."""
    return {
        "trained": MultiViewPrior(MultiViewPrior.Config(views=VIEWS, attention=attention)),
        "separate": DiffusionPrior(),
    }


def times(prior: DiffusionPrior, level: float, steps: int) -> list[int]:
    """From a noise level down to the clean end, -1; dense where the noise is high."""
    falling = [level * (1 - (i / steps) ** 2) for i in range(steps)]
    return [*sorted({int(share * (len(prior.schedule) - 1)) for share in falling}, reverse=True), -1]


@torch.no_grad()
def sampled(prior: DiffusionPrior, toys: Tensor, prompts: Sequence[str], level: float, steps: int) -> Tensor:
    """[groups, 4, 64, 64, 4], a group a prompt, from these pictures at a noise level, each with its own seed."""
    made, when = [], times(prior, level, steps)
    for first in range(0, len(prompts), GROUPS_AT_ONCE):
        groups = range(len(prompts))[first : first + GROUPS_AT_ONCE]
        condition = prior.condition([prompts[g] for g in groups for _ in range(VIEWS)], cameras_of(groups), light=0.0)
        x0 = prior.encode(toys[groups.start : groups.stop].flatten(0, 1))
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(first))
        x_t = prior.schedule.add_noise(x0, noise, torch.full((len(x0),), when[0])) if level < 1 else noise
        denoise = partial(prior.denoise, condition=condition)
        made.append(prior.decode(ddim(prior.schedule, denoise, x_t, when, clip=prior.clip_range)))
    return torch.cat(made).clamp(0, 1).unflatten(0, (-1, VIEWS))


def real(prompts: Sequence[str], one: bool) -> Tensor:
    """The same views of fresh toys, [groups, 4, 64, 64, 4]: of one toy in a group, or of four."""
    rng, made = np.random.default_rng(REAL_SEED), []
    for group, prompt in enumerate(prompts):
        cameras = cameras_of([group])
        poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
        toys = [toy_from_prompt(prompt, rng) for _ in range(VIEWS)]
        made += [picture(pack(toys[0 if one else v]), poses[v], lenses[v], SIZE, light=0.0) for v in range(VIEWS)]
    rgba = torch.from_numpy(np.stack(made))
    rgba[..., :3] += 0.5 * (1 - rgba[..., 3:])
    return rgba.unflatten(0, (-1, VIEWS))


def read(pictures: Tensor, toys: Tensor, kinds: Sequence[str], judge: Judge) -> Reading:
    """pictures and those of the real toys, [groups, 4, 64, 64, 4], colour over grey, and coverage."""
    color, cover = pictures[..., :3], pictures[..., 3:]
    solid = (cover > 0.5).float()
    mean = (color * solid).sum((2, 3)) / solid.sum((2, 3)).clamp(min=1)  # [groups, 4, 3]
    spread = mean.std(1, unbiased=False).mean()
    verdicts = judge.judge(pictures.flatten(0, 1))
    named = np.array(verdicts.color_names).reshape(-1, VIEWS)
    same = np.mean([named[:, a] == named[:, b] for a, b in combinations(range(VIEWS), 2)])
    front, back = solid[:, : VIEWS // 2].bool(), solid[:, VIEWS // 2 :].flip(3).bool()
    overlap = (front & back).sum((2, 3, 4)) / (front | back).sum((2, 3, 4)).clamp(min=1)
    right = np.mean([seen == kinds[i // VIEWS] for i, seen in enumerate(verdicts.category_names)])
    truth = np.array(judge.judge(toys.flatten(0, 1)).color_names).reshape(-1, VIEWS)
    return Reading(float(same), float((named == truth).mean()), float(spread), float(overlap.mean()), float(right))


def write_sheet(path: Path, pictures: dict[str, Tensor], prompts: Sequence[str]) -> None:
    """A line a group, a block of four views a way."""
    cells, captions = [], []
    for group, prompt in enumerate(prompts):
        for way, made in pictures.items():
            for view in made[group].numpy():
                grey = 0.5 * (1 - view[..., 3:])
                cells.append(np.concatenate([view[..., :3] - grey, view[..., 3:]], -1))
            captions += [prompt, way, "", ""]
    sheet: Image.Image = grid(cells, captions, VIEWS * len(pictures))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    try:
        ways, judge = priors(options.attention), Judge.load()
    except UserError as problem:
        raise CannotRun(str(problem)) from problem
    kinds = KINDS[:8] if options.quick else KINDS
    prompts = [f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}" for kind in kinds]
    print(f"{len(kinds)} groups of {VIEWS} views, DDIM of {options.steps} steps, no guidance", flush=True)
    toys, found = real(prompts, True), {}
    for name, made in (("one real toy", toys), ("four real toys", real(prompts, False))):
        found[name] = read(made, toys, kinds, judge)
        print(f"{name:<15}{found[name]}", flush=True)
    for level in LEVELS:
        pictures = {}
        for way in WAYS:
            pictures[way] = sampled(ways[way], toys, prompts, level, options.steps)
            found[f"{way} {level:g}"] = read(pictures[way], toys, kinds, judge)
            print(f"{f'{way} {level:g}':<15}{found[f'{way} {level:g}']}", flush=True)
        if options.grid:
            write_sheet(options.grid.with_stem(f"{options.grid.stem}-{level:g}"), pictures, prompts)
    options.raw |= {name: vars(reading) for name, reading in found.items()}
    for level in LEVELS:
        trained, separate = found[f"trained {level:g}"], found[f"separate {level:g}"]
        gained = 100 * (trained.color_agreement - separate.color_agreement)
        yield Figure(f"view_color_agreement_gained_from_{level:g}", gained, 20, "%")
        lost = 100 * (separate.kind_right - trained.kind_right)
        yield Figure(f"view_kind_right_lost_from_{level:g}", lost, 3, "%", at_most=True)


if __name__ == "__main__":
    main(
        __doc__ or "",
        measure,
        attention={"default": None, "metavar": "FILE", "help": "another self-attention than the shipped one"},
        steps={"type": int, "default": 40, "help": "DDIM steps (40)"},
        grid={"type": Path, "default": None, "metavar": "FILE.png", "help": "write the samples here, a file a level"},
    )
