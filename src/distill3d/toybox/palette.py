"""The twelve named colours of the toybox, and the name of the nearest one in CIE Lab."""

from __future__ import annotations

import numpy as np

RGB = tuple[float, float, float]

PALETTE: dict[str, RGB] = {
    "red": (0.85, 0.08, 0.08),
    "orange": (1.0, 0.50, 0.05),
    "yellow": (0.98, 0.88, 0.10),
    "green": (0.13, 0.62, 0.18),
    "cyan": (0.15, 0.85, 0.90),
    "blue": (0.10, 0.25, 0.85),
    "purple": (0.50, 0.14, 0.68),
    "pink": (1.0, 0.55, 0.76),
    "brown": (0.45, 0.26, 0.12),
    "white": (0.96, 0.96, 0.96),
    "gray": (0.50, 0.50, 0.50),
    "black": (0.07, 0.07, 0.07),
}
COLORS = tuple(PALETTE)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65 white) of sRGB in 0..1, [..., 3] -> [..., 3]."""
    rgb = np.clip(np.asarray(rgb, np.float64), 0.0, 1.0)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def nearest_color(rgb: np.ndarray | RGB) -> str:
    """Name of the palette colour with the least CIE76 difference to one RGB triple in 0..1."""
    return COLORS[int(np.argmin(np.linalg.norm(_PALETTE_LAB - lab(np.asarray(rgb)), axis=-1)))]


_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _RGB_TO_XYZ.sum(1)
_PALETTE_LAB = lab(np.array(list(PALETTE.values())))
