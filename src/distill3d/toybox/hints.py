"""What the toybox's ControlNets are shown of a toy: its depth, or its edges."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from distill3d.geometry.canny import canny
from distill3d.toybox.raycast import MISS

HintKind = Literal["depth", "edge"]
HINTS: tuple[HintKind, ...] = get_args(HintKind)
_FARTHEST = 0.25  # grey of the farthest visible point, so that it stands out from the background's black


def depth_hint(depth: np.ndarray, factor: int = 1) -> np.ndarray:
    """A depth map as a grey picture, near is light: 1 at the nearest point, 0.25 at the farthest, 0 at the background.

    Only the order and the relative distances within one picture are told, as by an estimator of depth from one picture.

    Args:
        depth: [H factor, W factor] distances along the ray, MISS where there is nothing.
        factor: samples a pixel along each side, which are averaged.
    Returns:
        [H, W] float32.
    """
    seen = depth < MISS
    grey = np.zeros(depth.shape, np.float32)
    if seen.any():
        near, far = depth[seen].min(), depth[seen].max()
        grey[seen] = 1 - (1 - _FARTHEST) * (depth[seen] - near) / max(far - near, 1e-6)
    height, width = (side // factor for side in depth.shape)
    return grey.reshape(height, factor, width, factor).mean((1, 3))


def edge_hint(picture: np.ndarray) -> np.ndarray:
    """The edges of a picture [H, W, 4], colour over grey and coverage, white on black: [H, W] float32, 0 or 1."""
    return canny(picture).astype(np.float32)
