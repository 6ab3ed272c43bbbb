"""Numbers as colours whose lightness tells them apart, also in grey and to a colour-blind eye."""

from __future__ import annotations

import functools

import numpy as np

# OKLab (Ottosson, "A perceptual color space for image processing", 2020): cone responses of linear sRGB and back
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
DARK, BRIGHT = 0.2, 0.94  # lightness of the two ends
HUES = (5.1, 1.9)  # radians: from violet through blue and green to yellow
CHROMA = 0.13


@functools.cache
def table(steps: int = 256) -> np.ndarray:
    """[steps, 3] uint8: lightness grows evenly from dark violet to bright yellow.

    Where a colour would leave sRGB its chroma is reduced, never its lightness.
    """
    t = np.linspace(0, 1, steps)
    lightness, hue = DARK + (BRIGHT - DARK) * t, HUES[0] + (HUES[1] - HUES[0]) * t
    colors = np.zeros((steps, 3))
    settled = np.zeros(steps, bool)
    for chroma in np.linspace(CHROMA, 0, 27):
        lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1)
        light = (np.linalg.inv(_TO_LAB) @ lab.T) ** 3
        rgb = (np.linalg.inv(_TO_LMS) @ light).T
        fits = ((rgb >= -1e-4) & (rgb <= 1 + 1e-4)).all(-1) & ~settled
        colors[fits] = rgb[fits]
        settled |= fits
    colors = colors.clip(0, 1)
    stored = np.where(colors <= 0.0031308, 12.92 * colors, 1.055 * colors ** (1 / 2.4) - 0.055)
    return np.round(255 * stored).astype(np.uint8)


def colored(values: np.ndarray) -> np.ndarray:
    """Numbers in 0..1 (beyond: the ends) of any shape -> float32 colours in 0..1, with a last axis of 3."""
    entries = table()
    index = np.round(np.nan_to_num(values).clip(0, 1) * (len(entries) - 1)).astype(np.int64)
    return (entries[index] / np.float32(255)).astype(np.float32)
