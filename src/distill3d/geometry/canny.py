"""Edges of a picture, one pixel wide (Canny 1986)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_EIGHT = np.ones((3, 3), bool)  # diagonal neighbours are neighbours


def canny(picture: np.ndarray, low: float = 0.02, high: float = 0.05, sigma: float = 0.8) -> np.ndarray:
    """Where the picture's steepest channel has a ridge of its gradient.

    Args:
        picture: [H, W, C] in 0..1; with coverage as a channel, a grey thing on grey ground has an outline too.
        low, high: steepness, in values a pixel. A ridge above `low` counts where it hangs together with a part above
            `high`.
        sigma: pixels, of the blur before.
    Returns:
        [H, W] bool.
    """
    smooth = ndimage.gaussian_filter(np.asarray(picture, np.float32), (sigma, sigma, 0), mode="nearest")
    gradients = np.stack([_slope(smooth, axis) for axis in (0, 1)])  # [2, H, W, C]
    steepness = np.hypot(*gradients)
    steepest = steepness.argmax(-1)[..., None]
    down, across = (np.take_along_axis(g, steepest, -1)[..., 0] for g in gradients)
    steep = np.take_along_axis(steepness, steepest, -1)[..., 0]
    ridge = steep * _is_ridge(steep, down, across)
    parts, _ = ndimage.label(ridge > low, _EIGHT)
    kept = np.unique(parts[ridge > high])
    return np.isin(parts, kept[kept > 0])


def _slope(picture: np.ndarray, axis: int) -> np.ndarray:
    """Sobel's derivative along an axis of [H, W, C], in values a pixel; channels keep apart."""
    steps = ndimage.correlate1d(picture, [-0.5, 0.0, 0.5], axis, mode="nearest")
    return ndimage.correlate1d(steps, [0.25, 0.5, 0.25], 1 - axis, mode="nearest")


def _is_ridge(steep: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Whether no neighbour along the gradient, to the nearest 45 degrees, is steeper. Of two that are equal, one is."""
    height, width = steep.shape
    padded = np.pad(steep, 1)
    turn = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(int) % 4  # 0 right, 1 right and down, 2 down ...
    ridge = np.zeros(steep.shape, bool)
    for k, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = padded[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        ridge |= (turn == k) & (steep > ahead) & (steep >= behind)
    return ridge
