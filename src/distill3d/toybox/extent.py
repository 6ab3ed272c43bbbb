"""Tight extents of a list of parts, and the placement of a toy in the unit ball."""

from __future__ import annotations

from math import sqrt

import numba
import numpy as np

from distill3d.toybox.parts import SHAPES, Part

RADIUS = 0.9  # of the farthest surface point of a normalised toy
_CODE = {shape: i for i, shape in enumerate(SHAPES)}


def pack(parts: list[Part]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Parts as arrays: shape codes [N] int64, sizes [N, 3], centres [N, 3], rotations [N, 3, 3], float64."""
    codes = np.array([_CODE[p.shape] for p in parts])
    sizes = np.array([p.size for p in parts], np.float64)
    centers = np.array([p.center for p in parts], np.float64)
    return codes, sizes, centers, np.stack([p.rotation for p in parts])


def bounds(parts: list[Part]) -> np.ndarray:
    """Tight axis-aligned bounding box of the union, [2, 3]: low and high corner."""
    return _bounds(*pack(parts))


def farthest(parts: list[Part]) -> float:
    """Distance from the origin to the farthest point of the union."""
    codes, sizes, centers, rotations = pack(parts)
    return float(_farthest(codes, sizes, centers, rotations))


def placed(parts: list[Part], scale: float, shift: tuple[float, float, float], prefix: str = "") -> list[Part]:
    """Parts scaled about the origin, then moved by `shift`; names get `prefix`."""
    sx, sy, sz = shift
    return [
        Part(
            prefix + p.name,
            p.shape,
            (p.size[0] * scale, p.size[1] * scale, p.size[2] * scale),
            (p.center[0] * scale + sx, p.center[1] * scale + sy, p.center[2] * scale + sz),
            p.color,
            p.rotation,
            p.material,
        )
        for p in parts
    ]


def normalized(parts: list[Part]) -> list[Part]:
    """Bounding box centre at the origin, the farthest surface point at `RADIUS`."""
    middle, scale = frame(parts)
    x, y, z = (-middle * scale).tolist()
    return placed(parts, scale, (x, y, z))


def frame(parts: list[Part]) -> tuple[np.ndarray, float]:
    """The middle [3] of the parts' bounding box, and what scales their farthest point from there to `RADIUS`."""
    codes, sizes, centers, rotations = pack(parts)
    low, high = _bounds(codes, sizes, centers, rotations)
    middle = (low + high) / 2
    return middle, RADIUS / _farthest(codes, sizes, centers - middle, rotations)


@numba.njit(cache=True)
def _corner(code, size, index):
    """Corner `index` of a box (8), a pyramid (5) or a wedge (6), in the part's own frame; repeats fill up to 8."""
    x = size[0] if index & 1 else -size[0]
    y = size[1] if index & 2 else -size[1]
    z = size[2] if index & 4 else -size[2]
    if index & 4 and code == 5:
        return 0.0, 0.0, size[2]
    if index & 4 and code == 6:
        return x, 0.0, size[2]
    return x, y, z


@numba.njit(cache=True)
def _bounds(codes, sizes, centers, rotations):
    out = np.empty((2, 3))
    out[0] = np.inf
    out[1] = -np.inf
    for n in range(codes.shape[0]):
        code, size = codes[n], sizes[n]
        for i in range(3):
            r = rotations[n, i]
            middle = centers[n, i]
            low = np.inf
            high = -np.inf
            if code == 1:
                high = sqrt((r[0] * size[0]) ** 2 + (r[1] * size[1]) ** 2 + (r[2] * size[2]) ** 2)
                low = -high
            elif code == 2:
                flat = sqrt(max(0.0, 1.0 - r[2] * r[2]))
                bottom, top = -r[2] * size[2], r[2] * size[2]
                high = max(bottom + flat * size[0], top + flat * size[1])
                low = min(bottom - flat * size[0], top - flat * size[1])
            elif code == 3:
                high = sqrt(max(0.0, 1.0 - r[2] * r[2])) * size[0] + size[1]
                low = -high
            elif code == 4:
                high = abs(r[2]) * size[1] + size[0]
                low = -high
            else:
                for k in range(8):
                    x, y, z = _corner(code, size, k)
                    v = r[0] * x + r[1] * y + r[2] * z
                    low = min(low, v)
                    high = max(high, v)
            out[0, i] = min(out[0, i], middle + low)
            out[1, i] = max(out[1, i], middle + high)
    return out


@numba.njit(cache=True)
def _farthest(codes, sizes, centers, rotations):
    best = 0.0
    for n in range(codes.shape[0]):
        size = sizes[n]
        # The centre seen from the part's frame: distances are the same there.
        q = rotations[n].T @ centers[n]
        code = codes[n]
        if code == 1:
            best = max(best, _farthest_of_ellipsoid(q, size))
        elif code == 2 or code == 3:
            across = sqrt(q[0] * q[0] + q[1] * q[1])
            if code == 2:
                best = max(best, sqrt((across + size[0]) ** 2 + (q[2] - size[2]) ** 2))
                best = max(best, sqrt((across + size[1]) ** 2 + (q[2] + size[2]) ** 2))
            else:
                best = max(best, sqrt((across + size[0]) ** 2 + q[2] * q[2]) + size[1])
        elif code == 4:
            best = max(best, sqrt(q[0] * q[0] + q[1] * q[1] + (abs(q[2]) + size[1]) ** 2) + size[0])
        else:
            for k in range(8):
                x, y, z = _corner(code, size, k)
                best = max(best, sqrt((q[0] + x) ** 2 + (q[1] + y) ** 2 + (q[2] + z) ** 2))
    return best


@numba.njit(cache=True)
def _farthest_of_ellipsoid(q, axes):
    """Maximum of |q + D u| over unit u. By symmetry the signs of u are those of q, so start there and climb.

    The objective is convex, so u <- normalise(D (q + D u)) never descends (generalised power method).
    """
    best = 0.0
    for start in range(3):
        u = np.full(3, 0.3)
        u[start] = 1.0
        a = np.abs(q)
        value = 0.0
        for _ in range(60):
            g = axes * (a + axes * u)
            u = g / sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2])
            v = a + axes * u
            new = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
            if new - value < 1e-7:
                value = new
                break
            value = new
        best = max(best, value)
    return best
