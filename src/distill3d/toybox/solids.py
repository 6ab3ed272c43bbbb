"""Whether points lie inside a part: exact tests in the part's own frame."""

from __future__ import annotations

import numpy as np

from distill3d.toybox.parts import Part


def contains(part: Part, points: np.ndarray) -> np.ndarray:
    """Whether each of `points` [N, 3] lies in the closed solid, [N] bool."""
    local = (points - np.asarray(part.center)) @ part.rotation
    x, y, z = local[:, 0], local[:, 1], local[:, 2]
    a, b, c = part.size
    if part.shape == "box":
        return (np.abs(x) <= a) & (np.abs(y) <= b) & (np.abs(z) <= c)
    if part.shape == "ellipsoid":
        return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1.0
    if part.shape == "frustum":
        radius = a + (b - a) * (z / c + 1) / 2
        return (np.abs(z) <= c) & (x * x + y * y <= radius * radius)
    if part.shape == "torus":
        return (np.hypot(x, y) - a) ** 2 + z * z <= b * b
    if part.shape == "capsule":
        return x * x + y * y + (z - np.clip(z, -b, b)) ** 2 <= a * a
    taper = (1 - z / c) / 2  # 1 at the base, 0 at the apex or ridge
    across = np.abs(x) <= a * (taper if part.shape == "pyramid" else 1.0)
    return (np.abs(z) <= c) & across & (np.abs(y) <= b * taper)
