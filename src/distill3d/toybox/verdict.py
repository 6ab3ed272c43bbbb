"""Is a finished asset what its sentence says? Judged by geometry and colour against fresh toys, without a network.

Shape: the asset is turned through 36 yaws and laid over ten fresh toys of every category (volumetric IoU of soft
occupancies). Of the ten categories that overlap best, the best two samples each are fitted by yaw, scale and shift, and
the category with the least cost, (1 - IoU) + 5 x Chamfer distance (in radii of the truth), is what the asset is.

Colour: the share of each of the twelve named colours (the nearest in CIE Lab) on the visible surface, compared with
the same shares of fresh toys of the asked category in each colour. Wheels, stems and windows keep their colours from
one main colour to the next, so what differs between the twelve is the main colour's share: the colour whose toys'
shares are nearest (half the sum of absolute differences, averaged over the samples) is the asset's.

Material: see `distill3d.toybox.material_verdict`. Front: see `distill3d.toybox.front`. Relations of two objects are not
judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi
from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.toybox.alignment import Pose, Shape, chamfer, iou, overlaps, refine, turned_occupancies
from distill3d.toybox.asset_shape import asset_shape, read_asset
from distill3d.toybox.captions import Item, nearest_category, parse
from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.front import ONCE, facing, front_contrast
from distill3d.toybox.geometry import surface_samples
from distill3d.toybox.material_verdict import main_material
from distill3d.toybox.palette import COLORS, PALETTE, lab
from distill3d.toybox.references import References, reference_toy, toy_shape

FINALISTS, EACH = 10, 2  # categories that are fitted closely, and samples of each
CHAMFER_WEIGHT = 5.0
COLOR_SAMPLES, COLOR_POINTS = 5, 800
TRUTHS = 3  # samples of the asked category that the front is compared with
_PALETTE_LAB = lab(np.array(list(PALETTE.values())))


@dataclass(frozen=True)
class Fit:
    """How well a reference fits: `cost` = (1 - iou) + CHAMFER_WEIGHT x chamfer."""

    category: str
    sample: int
    pose: Pose
    iou: float
    chamfer: float

    @property
    def cost(self) -> float:
        return 1 - self.iou + CHAMFER_WEIGHT * self.chamfer


@dataclass(frozen=True)
class Verdict:
    """What an asset turned out to be.

    Args:
        category, color, made_of: asked for; no colour where the sentence leaves it open.
        shape: nearest category. hue: nearest main colour. material: the nearest of `toybox.parts.MATERIALS`.
        iou, chamfer: with the best sample of the asked category, aligned.
        yaw_error: degrees between its front and +x, less whatever the category's symmetry allows; None for a solid of
            revolution and where nothing tells front from back.
        front_contrast: see `front.front_contrast`; None likewise, and for categories of a higher symmetry.
        ranking: the finalists, best first, with their costs.
    """

    category: str
    color: str | None
    made_of: str
    shape: str
    hue: str
    material: str
    iou: float
    chamfer: float
    yaw_error: float | None
    front_contrast: float | None
    ranking: tuple[tuple[str, float], ...]

    @property
    def shape_right(self) -> bool:
        return self.shape == self.category

    @property
    def color_right(self) -> bool:
        return self.color is None or self.hue == self.color

    @property
    def material_right(self) -> bool:
        return self.material == self.made_of

    @property
    def front_once(self) -> bool | None:
        """Whether the object has its front once; None where it has no front."""
        return None if self.front_contrast is None else self.front_contrast >= ONCE


def judge(asset: Mesh | str | Path, prompt: str, references: References, seed: int = 0) -> Verdict:
    """Tells what an asset is, and whether that is what `prompt` says.

    Args:
        asset: a mesh with z up, or a .glb, .obj or .ply file.
        prompt: one object in the toybox's words.
        references: `references.build_references()`.
        seed: of the points on the surface.
    Raises:
        UserError: the prompt is not in the toybox's words or names two objects, or there is nothing to judge.
    """
    item = asked(prompt)
    mesh = asset if isinstance(asset, Mesh) else read_asset(asset)
    shape = asset_shape(mesh, np.random.default_rng(seed))
    scores, yaws = coarse_overlaps(shape, references)
    ranked = fits(shape, references, item.category, scores, yaws)
    own = min((fit for fit in ranked if fit.category == item.category), key=lambda fit: fit.cost)
    costs: dict[str, float] = {}
    for fit in ranked:
        costs.setdefault(fit.category, fit.cost)
    kind = CATEGORIES[item.category]
    hue = main_color(shape, item)
    yaw_error = contrast = None
    if kind.symmetry > 0 and kind.front:
        samples = np.argsort(-scores[references.of(item.category)])[:TRUTHS]
        truths = [toy_shape(item.category, int(i), item.color or hue, item.material) for i in samples]
        pose = facing(shape, truths, kind.asymmetric)
        fitted = refine(shape, pose, truths[0])
        period = 2 * pi / kind.symmetry
        yaw_error = float(np.degrees(abs((fitted.yaw + period / 2) % period - period / 2)))
        if kind.asymmetric:
            contrast = front_contrast(shape, pose, truths)
    return Verdict(
        item.category,
        item.color,
        item.material,
        ranked[0].category,
        hue,
        main_material(shape.points, shape.colors, item, hue),
        own.iou,
        own.chamfer,
        yaw_error,
        contrast,
        tuple(costs.items()),
    )


def asked(prompt: str) -> Item:
    """The one object that a prompt names."""
    described = parse(prompt)
    if described is None:
        near = nearest_category(prompt)
        raise UserError(f"the toybox has no words for {prompt!r}" + (f"; did you mean {near!r}?" if near else ""))
    if described.other is not None:
        raise UserError(f"{prompt!r} names two objects; only single objects are judged")
    return described.item


def coarse_overlaps(shape: Shape, references: References) -> tuple[np.ndarray, np.ndarray]:
    """IoU of coarse occupancies with every reference at the best of 36 yaws, [N], and that yaw, radians [N]."""
    turned = turned_occupancies(shape)
    found = [overlaps(turned, block.astype(np.float32) / 255) for block in np.array_split(references.occupancies, 8)]
    every = np.concatenate(found, axis=1)
    return every.max(0), every.argmax(0) * (2 * pi / len(turned))


def fits(shape: Shape, references: References, category: str, scores: np.ndarray, yaws: np.ndarray) -> list[Fit]:
    """The references that come closest, the finalists' and those of `category`, best first."""
    best = {name: scores[references.of(name)].max() for name in CATEGORIES}
    finalists = sorted(best, key=lambda name: -best[name])[:FINALISTS]
    found = []
    for name in dict.fromkeys([*finalists, category]):
        rows = references.of(name)
        for row in rows[np.argsort(-scores[rows])[:EACH]]:
            sample = int(row - rows[0])
            truth = toy_shape(name, sample)
            pose = refine(shape, Pose(yaws[row]), truth)
            found.append(Fit(name, sample, pose, iou(shape, pose, truth), chamfer(shape, pose, truth)))
    return sorted(found, key=lambda fit: fit.cost)


def color_shares(shape: Shape) -> np.ndarray:
    """Share of the visible surface that is nearest to each of the named colours, [12]."""
    return _shares(shape.lab)


def _shares(colors: np.ndarray) -> np.ndarray:
    nearest = np.argmin(np.linalg.norm(colors[:, None] - _PALETTE_LAB, axis=2), axis=1)
    return np.bincount(nearest, minlength=len(COLORS)) / len(nearest)


def main_color(shape: Shape, item: Item) -> str:
    """The named colour whose toys of the item's category and material have colour shares most like the asset's."""
    shares = color_shares(shape)
    gaps = []
    for color in COLORS:
        truths = [_truth_shares(item.category, i, color, item.material) for i in range(COLOR_SAMPLES)]
        gaps.append(np.mean([np.abs(shares - truth).sum() / 2 for truth in truths]))
    return COLORS[int(np.argmin(gaps))]


@lru_cache(maxsize=4096)
def _truth_shares(category: str, sample: int, color: str, material: str) -> np.ndarray:
    toy = reference_toy(category, sample, color, material)
    _, _, colors, _ = surface_samples(toy, COLOR_POINTS, np.random.default_rng(sample))
    return _shares(lab(colors))
