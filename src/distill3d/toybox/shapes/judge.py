"""Reads a shape's attributes off its solid: counts legs, finds arms, measures gaps. No network, no names of parts.

Every rule looks at slices of a grid of 64 cells over [-1, 1]^3, front towards +x, up +z, and is tried on shapes whose
attributes are known (`tests/toybox/shapes/test_judge.py`).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from distill3d.core.errors import UserError
from distill3d.toybox.shapes.attributes import KINDS, Attributes

_EIGHT = np.ones((3, 3), int)  # cells that touch at a corner belong together
_SPECK = 2  # cells; what is smaller is not counted


def judge(solid: np.ndarray, kind: str) -> Attributes:
    """The attributes of a shape of a known kind.

    Args:
        solid: [64, 64, 64] bool, indexed [x, y, z].
    Raises:
        UserError: an unknown kind, or nothing is solid.
    """
    if kind not in KINDS:
        raise UserError(f"there are no shapes of kind {kind!r}: {', '.join(KINDS)}")
    if not solid.any():
        raise UserError("the shape is empty: there is nothing to judge")
    cut = solid[tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(solid))]
    return {"chair": _chair, "table": _table, "lamp": _lamp, "plane": _plane}[kind](cut)


def _chair(solid: np.ndarray) -> Attributes:
    areas = solid.sum((0, 1))
    height = len(areas)
    low = height // 5
    seat = low + int(areas[low : max(low + 1, round(0.75 * height))].argmax())
    bottom, top = seat, seat  # of the seat: slices nearly as large
    while bottom > 0 and areas[bottom - 1] > 0.6 * areas[seat]:
        bottom -= 1
    while top < height - 1 and areas[top + 1] > 0.6 * areas[seat]:
        top += 1
    rows, columns = np.nonzero(solid[:, :, seat])
    rear, front, right, left = rows.min(), rows.max(), columns.min(), columns.max()
    legs = _chair_legs(solid[:, :, :bottom])
    # Behind: the rear fifth of the seat. Arms: what stands over the front two thirds.
    back = np.any(solid[: rear + max(3, (front - rear) // 5), :, top + 2 :], axis=0)
    arms = _chair_arms(solid[rear + (front - rear) // 3 :, :, top + 2 :], (left + right) / 2)
    return {"arms": arms, "legs": legs, "back": _chair_back(back, right, left)}


def _chair_legs(below: np.ndarray) -> str:
    """From what is below the seat."""
    height = below.shape[2]
    if height < 4:
        return "pedestal"
    middle = [_count(below[:, :, k]) for k in range(round(0.5 * height), max(round(0.5 * height) + 1, height - 1))]
    if np.median(middle) >= 3:
        return "four"
    floor = [_count(below[:, :, k]) for k in range(min(3, height))]
    return "wheels" if max(floor) >= 3 else "pedestal"


def _chair_arms(above: np.ndarray, middle: float) -> str:
    """From what stands over the front of the seat."""
    sides = (above[:, : int(middle) - 2], above[:, int(middle) + 3 :])
    if min(side.sum() for side in sides) < 12:
        return "none"
    shares = []
    for side in sides:
        outline = np.any(side, axis=1)  # [x, z]
        tops = np.array([column.nonzero()[0].max() for column in outline if column.any()])
        shares.append(np.mean(tops >= tops.max() - 1))  # how level the top is
    return "straight" if np.mean(shares) > 0.87 else "round"


def _chair_back(outline: np.ndarray, right: int, left: int) -> str:
    """From the outline [y, z] of what stands behind."""
    inner = outline[right : left + 1]
    if not inner.any():
        return "solid"
    height = int(inner.any(0).nonzero()[0].max()) + 1
    runs = [_runs(inner[:, k]) for k in range(round(0.58 * height), max(round(0.58 * height) + 1, round(0.8 * height)))]
    if np.median(runs) >= 3:
        return "slatted"
    if np.median(runs) >= 2:
        return "gaps"
    width = inner[:, height // 3].sum()
    return "rounded" if inner[:, min(height - 1, round(0.93 * height))].sum() < 0.8 * width else "solid"


def _table(solid: np.ndarray) -> Attributes:
    areas = solid.sum((0, 1))
    top = len(areas) - 1
    slab = top
    while slab > 0 and areas[slab - 1] > 0.6 * areas[top - 1]:
        slab -= 1
    plate = solid[:, :, max(top - 1, 0)]
    rows, columns = np.nonzero(plate)
    fill = plate.sum() / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1))
    between = range(max(1, round(0.15 * slab)), max(2, slab - 1))
    usual = np.median([areas[k] for k in between])
    thin = [k for k in between if areas[k] <= 1.5 * usual]  # a shelf has legs below it, a foot has not
    shelf = any(areas[k] > 2.5 * usual for k in between if thin and thin[0] < k < 0.8 * slab)
    counts = [_count(solid[:, :, k]) for k in thin]
    legs = {1: "pedestal", 2: "panels"}.get(int(np.median(counts)) if counts else 1, "four")
    return {"top": "rectangular" if fill > 0.89 else "round", "legs": legs, "shelf": "shelf" if shelf else "none"}


def _lamp(solid: np.ndarray) -> Attributes:
    areas = solid.sum((0, 1)).astype(float)
    height = len(areas)
    stem = np.median(areas[round(0.35 * height) : max(round(0.35 * height) + 1, round(0.55 * height))])
    top = height - 1
    low = int(areas[height // 2 :].argmax()) + height // 2  # the widest slice of the shade
    while low > 0 and areas[low - 1] > min(3 * stem, 0.5 * areas[height // 2 :].max()):
        low -= 1
    lower, middle, upper = (areas[low + round(share * (top - low))] for share in (0.12, 0.5, 0.88))
    if middle > 1.15 * max(lower, upper):
        shade = "ball"
    else:
        shade = "cone" if upper < 0.65 * lower else "drum"
    feet = [
        _count(solid[:, :, k]) for k in range(round(0.1 * height), max(round(0.1 * height) + 1, round(0.2 * height)))
    ]
    return {"shade": shade, "base": "tripod" if np.median(feet) >= 3 else "disc"}


def _plane(solid: np.ndarray) -> Attributes:
    length, span, height = solid.shape
    middle = (span - 1) / 2
    away = np.abs(np.arange(span) - middle) / (span / 2)  # 0 in the middle, 1 at the tips
    tips, half_way = (away > 0.85) & (away < 0.96), (away > 0.46) & (away < 0.53)
    wing = np.nonzero(solid[:, tips].any(1))[1].mean() if solid[:, tips].any() else height / 2
    level = np.any(solid[:, :, max(0, round(wing - 1)) :], axis=2)  # without the engines, which hang lower
    places = [np.nonzero(level[:, where])[0] for where in (half_way, tips)]
    back = places[0].mean() - places[1].mean() if all(len(place) for place in places) else 0.0
    sweep = back / ((0.905 - 0.495) * span / 2)
    low = max(0, round(wing - 2))
    below = np.any(solid[:, :, :low], axis=2) & (away > 0.16)[None]
    engines = _count(below)
    rear = solid[: round(0.28 * length)][:, (away > 0.2) & (away < 0.42)]
    tail = np.nonzero(rear)[2].mean() if rear.any() else wing
    return {
        "wings": "swept" if sweep > 0.2 else "straight",
        "engines": "none" if engines == 0 else "two" if engines <= 2 else "four",
        "tail": "high" if tail > (wing + height - 1) / 2 else "low",
    }


def _count(slice_: np.ndarray) -> int:
    """How many separate pieces a slice has."""
    pieces, count = label(slice_, _EIGHT)
    return int(sum(np.count_nonzero(pieces == k) >= _SPECK for k in range(1, count + 1)))


def _runs(row: np.ndarray) -> int:
    """How many separate stretches of True a row has."""
    return int(row[0]) + int(np.count_nonzero(row[1:] & ~row[:-1]))
