"""Points spread evenly over the surface of a primitive, with their normals, in the primitive's own frame."""

from __future__ import annotations

from math import pi

import numpy as np

from distill3d.toybox.parts import Part
from distill3d.toybox.tessellation import tessellate

Samples = tuple[np.ndarray, np.ndarray]  # points [N, 3], unit normals [N, 3]


def area(part: Part) -> float:
    """Surface area; an ellipsoid's by Thomsen's formula (at most 1.1 % off), the others' exact."""
    a, b, c = part.size
    if part.shape == "ellipsoid":
        p = 1.6075
        return 4 * pi * (((a * b) ** p + (a * c) ** p + (b * c) ** p) / 3) ** (1 / p)
    if part.shape == "frustum":
        return pi * (a * a + b * b + (a + b) * float(np.hypot(a - b, 2 * c)))
    if part.shape == "torus":
        return 4 * pi * pi * a * b
    if part.shape == "capsule":
        return 4 * pi * a * (a + b)
    return float(_triangle_areas(*tessellate(part.shape, part.size, 3)).sum())


def sample(part: Part, n: int, rng: np.random.Generator) -> Samples:
    """`n` points, evenly by area."""
    a, b, c = part.size
    if part.shape == "ellipsoid":
        return _ellipsoid(np.array([a, b, c]), n, rng)
    if part.shape == "frustum":
        return _frustum(a, b, c, n, rng)
    if part.shape == "torus":
        return _torus(a, b, n, rng)
    if part.shape == "capsule":
        return _capsule(a, b, n, rng)
    points, faces = tessellate(part.shape, part.size, 3)
    areas = _triangle_areas(points, faces)
    corners = points[faces[rng.choice(len(faces), n, p=areas / areas.sum())]]
    u, v = np.sqrt(rng.random((n, 1))), rng.random((n, 1))
    edges = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    return (1 - u) * corners[:, 0] + u * (1 - v) * corners[:, 1] + u * v * corners[:, 2], normals


def _triangle_areas(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (points[faces[:, i]] for i in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def _directions(n: int, rng: np.random.Generator) -> np.ndarray:
    d = rng.standard_normal((n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def _ellipsoid(axes: np.ndarray, n: int, rng: np.random.Generator) -> Samples:
    """Directions of the unit sphere, accepted by how much the map to the ellipsoid stretches area there."""
    chosen = np.empty((0, 3))
    while len(chosen) < n:
        u = _directions(2 * n + 16, rng)
        stretch = np.linalg.norm(u / axes, axis=1) * axes.min()
        chosen = np.concatenate([chosen, u[rng.random(len(u)) < stretch]])
    u = chosen[:n]
    normals = u / axes
    return u * axes, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _frustum(bottom: float, top: float, half: float, n: int, rng: np.random.Generator) -> Samples:
    slant = float(np.hypot(bottom - top, 2 * half))
    weights = np.array([bottom**2, top**2, (bottom + top) * slant])
    which = rng.choice(3, n, p=weights / weights.sum())
    turn, share = rng.random(n) * 2 * pi, rng.random(n)
    # On the side the radius' square is even between the ends', on the ends between 0 and theirs.
    inner, outer = np.array([0, 0, bottom])[which], np.array([bottom, top, top])[which]
    radius = np.sqrt(inner**2 + share * (outer**2 - inner**2))
    along = share if abs(top - bottom) < 1e-9 else (radius - bottom) / (top - bottom)
    z = np.choose(which, [np.full(n, -half), np.full(n, half), half * (2 * along - 1)])
    side, lift = 2 * half / slant, (bottom - top) / slant
    flat, up = np.array([0, 0, side])[which], np.array([-1, 1, lift])[which]
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([radius * cos, radius * sin, z], 1), np.stack([flat * cos, flat * sin, up], 1)


def _torus(ring: float, tube: float, n: int, rng: np.random.Generator) -> Samples:
    around = np.empty(0)
    while len(around) < n:
        angle = rng.random(2 * n + 16) * 2 * pi
        around = np.concatenate([around, angle[rng.random(len(angle)) * (ring + tube) < ring + tube * np.cos(angle)]])
    around, turn = around[:n], rng.random(n) * 2 * pi
    normals = np.stack([np.cos(around) * np.cos(turn), np.cos(around) * np.sin(turn), np.sin(around)], 1)
    return ring * np.stack([np.cos(turn), np.sin(turn), np.zeros(n)], 1) + tube * normals, normals


def _capsule(radius: float, half: float, n: int, rng: np.random.Generator) -> Samples:
    normals = _directions(n, rng)
    z = half * np.sign(normals[:, 2])
    side = rng.random(n) < half / (half + radius)
    turn = rng.random(n) * 2 * pi
    normals = np.where(side[:, None], np.stack([np.cos(turn), np.sin(turn), np.zeros(n)], 1), normals)
    z = np.where(side, half * (2 * rng.random(n) - 1), z)
    return radius * normals + np.stack([np.zeros(n), np.zeros(n), z], 1), normals
