"""Which of the toybox's materials an asset is made of: by how its colour varies over its surface, up and across.

Every pattern lays a second tone (white, on white dark grey) over the main one; wood darkens and lightens the main
one. So each point of the surface has two numbers: how far its colour lies on the way to the second tone, and how
light it is. How much two points that lie d apart differ in such a number, on average, is a variogram (Matheron 1963).
Taken for pairs one above the other and for pairs side by side it tells the patterns apart: stripes differ up and down
and not across, checks and dots both ways, and dots leave more of the main tone. Parts of their own colours differ
too; so an asset is not held to fixed numbers but to fresh toys of its category in every material, as they are and
with colours that run into each other.
"""

from __future__ import annotations

from functools import lru_cache

import numba as nb
import numpy as np
from scipy.spatial import cKDTree

from distill3d.toybox.alignment import frame
from distill3d.toybox.asset_shape import REACH
from distill3d.toybox.captions import Item
from distill3d.toybox.geometry import surface_samples
from distill3d.toybox.materials import second_color
from distill3d.toybox.palette import PALETTE, lab
from distill3d.toybox.parts import MATERIALS
from distill3d.toybox.references import SEED, reference_toy

DISTANCES = (0.06, 0.12, 0.18, 0.26, 0.36)  # upper ends of the classes of distance, in radii of the object
UP, ACROSS = 0.85, 0.35  # least and most share of a pair's distance that is height
LIGHTNESS = 12.0  # CIE L that counts as one: wood spans about twice that
MAIN = 0.35  # of the way to the second tone: what is nearer shows the main one
NEAR, WIDE = 5, 14  # surface points that a colour is averaged over: against noise, and where colours run
POINTS = 2000
SAMPLES = 5  # toys of each material


def main_material(points: np.ndarray, colors: np.ndarray, item: Item, color: str) -> str:
    """The material whose toys of the item's category vary over their surface most like an asset.

    Args:
        points: [N, 3] of the asset's surface, in no order, in its own frame (see `alignment.Shape`).
        colors: [N, 3] in 0..1, there.
        item: what it should be. color: its main colour, by name.
    """
    own = variation(points, lab(colors), color, NEAR)
    gaps = [
        min(
            np.mean([np.abs(own - _truth(item.category, i, color, material, over)).sum() for i in range(SAMPLES)])
            for over in (NEAR, WIDE)
        )
        for material in MATERIALS
    ]
    return MATERIALS[int(np.argmin(gaps))]


def variation(points: np.ndarray, colors: np.ndarray, color: str, over: int) -> np.ndarray:
    """How the surface of an object of a main colour varies, [4 K + 1]: variograms of the tone and of the lightness of
    the main tone, up and across, by distance; and the share of the second tone.

    Args:
        points: [N, 3]; the first POINTS count. colors: [N, 3] CIE Lab.
        over: how many points next to each other share a colour, their mean.
    """
    points, colors = points[:POINTS], colors[:POINTS]
    colors = colors[cKDTree(points).query(points, over)[1]].mean(1)
    first, second = lab(np.array([PALETTE[color], second_color(*PALETTE[color])]))
    tone = np.clip((colors - first) @ (second - first) / ((second - first) @ (second - first)), 0, 1)
    sums, counts = _variograms(points, tone, colors[:, 0] / LIGHTNESS)
    return np.append(sums / np.maximum(counts, 1), tone.mean() * len(DISTANCES))


@nb.njit(cache=True)
def _variograms(points, tone, light):
    """Sums of differences between points [N, 3], of tone and of the lightness of the main tone [N], and how many they
    are, by direction and distance, [2, 2, K] each."""
    kinds = len(DISTANCES)
    sums, counts = np.zeros((2, 2, kinds)), np.zeros((2, 2, kinds))
    for a in range(len(points)):
        for b in range(a):
            x, y, z = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
            distance = (x * x + y * y + z * z) ** 0.5
            if distance >= DISTANCES[kinds - 1]:
                continue
            if abs(z) > UP * distance:
                way = 0
            elif abs(z) < ACROSS * distance:
                way = 1
            else:
                continue
            k = 0
            while distance >= DISTANCES[k]:
                k += 1
            sums[0, way, k] += abs(tone[a] - tone[b])
            counts[0, way, k] += 1
            if tone[a] < MAIN and tone[b] < MAIN:
                sums[1, way, k] += min(abs(light[a] - light[b]), 1.0)
                counts[1, way, k] += 1
    return sums, counts


@lru_cache(maxsize=4096)
def _truth(category: str, sample: int, color: str, material: str, over: int) -> np.ndarray:
    toy = reference_toy(category, sample, color, material)
    points, _, colors, _ = surface_samples(toy, POINTS, np.random.default_rng(SEED + sample))
    center, radius = frame(points)
    return variation((points - center) * (REACH / radius), lab(colors), color, over)
