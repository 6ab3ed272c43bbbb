"""Triangles of a primitive in its own frame, closed and counter-clockwise seen from outside."""

from __future__ import annotations

import numpy as np

Triangles = tuple[np.ndarray, np.ndarray]  # vertices [V, 3], faces [F, 3]

_BASE = ((0, 2, 1), (0, 3, 2))  # of four corners counter-clockwise seen from above, facing down


def tessellate(shape: str, size: tuple[float, float, float], segments: int) -> Triangles:
    """`segments` around the axis of the round primitives."""
    a, b, c = size
    corners = np.array([[-a, -b, -c], [a, -b, -c], [a, b, -c], [-a, b, -c]])
    if shape == "box":
        sides = [f for i in range(4) for j in [(i + 1) % 4] for f in ((i, j, j + 4), (i, j + 4, i + 4))]
        return np.concatenate([corners, corners * [1, 1, -1]]), np.array([*_BASE, *sides, (4, 5, 6), (4, 6, 7)])
    if shape == "pyramid":
        return np.concatenate([corners, [[0, 0, c]]]), np.array([*_BASE, *((i, (i + 1) % 4, 4) for i in range(4))])
    if shape == "wedge":
        ridge = [[-a, 0, c], [a, 0, c]]
        slopes = ((0, 1, 5), (0, 5, 4), (1, 2, 5), (2, 3, 4), (2, 4, 5), (3, 0, 4))
        return np.concatenate([corners, ridge]), np.array([*_BASE, *slopes])
    half = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    if shape == "ellipsoid":
        points, faces = _revolve(np.cos(half), np.sin(half), segments)
        return points * [a, b, c], faces
    if shape == "frustum":
        return _revolve(np.array([0, a, b, 0]), np.array([-c, -c, c, c]), segments)
    if shape == "capsule":
        lower, upper = half[half <= 1e-9], half[half >= -1e-9]
        height = np.concatenate([a * np.sin(lower) - b, a * np.sin(upper) + b])
        return _revolve(a * np.cos(np.concatenate([lower, upper])), height, segments)
    tube = np.arange(segments) * (2 * np.pi / segments)
    return _revolve(a + b * np.cos(tube), b * np.sin(tube), segments, closed=True)


def subdivide(points: np.ndarray, faces: np.ndarray) -> Triangles:
    """Every triangle in four, at the middles of its edges; stays closed."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    keys, inverse = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_inverse=True)
    middles = (points[keys // len(points)] + points[keys % len(points)]) / 2
    m = inverse.reshape(-1, 3) + len(points)
    a, b, c = faces.T
    ab, bc, ca = m.T
    split = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([points, middles]), np.concatenate([np.stack(f, 1) for f in split])


def _revolve(radius: np.ndarray, height: np.ndarray, segments: int, *, closed: bool = False) -> Triangles:
    """A profile from bottom to top (or a loop, outermost point first), turned about z.

    Profile points on the axis become a single vertex, the triangles that this flattens are dropped.
    """
    radius = np.where(np.abs(radius) < 1e-9 * np.abs(radius).max(), 0.0, radius)
    turn = np.arange(segments) * (2 * np.pi / segments)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    points, index = [], np.empty((len(radius), segments), np.int64)
    count = 0
    for i, (r, z) in enumerate(zip(radius, height, strict=True)):
        new = np.array([[0.0, 0.0, z]]) if r == 0 else np.column_stack([r * ring, np.full(segments, z)])
        index[i] = count + (np.zeros(segments, int) if r == 0 else np.arange(segments))
        points.append(new)
        count += len(new)
    upper = np.roll(index, -1, 0) if closed else index[1:]
    lower = index if closed else index[:-1]
    p, q = lower, np.roll(lower, -1, 1)
    s, t = upper, np.roll(upper, -1, 1)
    faces = np.concatenate([np.stack([p, q, t], -1).reshape(-1, 3), np.stack([p, t, s], -1).reshape(-1, 3)])
    a, b, c = faces.T
    return np.concatenate(points), faces[(a != b) & (b != c) & (c != a)]
