"""Polygons -> triangles."""

from __future__ import annotations

import numpy as np


def fan_corners(sizes: np.ndarray) -> np.ndarray:
    """The fans of triangles around the first corner of each polygon.

    Args:
        sizes: [P] corners of each polygon, which are stored one after another; those of fewer than 3 give nothing.
    Returns:
        [F, 3] int64, indices of corners.
    """
    sizes = np.asarray(sizes, np.int64)
    triangles = np.maximum(sizes - 2, 0)
    start = np.repeat(np.cumsum(sizes) - sizes, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([start, start + step + 1, start + step + 2], -1)
