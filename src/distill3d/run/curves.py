"""Curves as inline SVG."""

from __future__ import annotations

import math
from html import escape

import numpy as np

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 22
POINTS = 240  # a curve has at most this many


def thin(steps: np.ndarray, values: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Means over runs of neighbours, so that at most `points` are left. Values that are not finite are left out."""
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(steps) <= points:
        return steps, values
    bucket = np.arange(len(steps)) * points // len(steps)
    count = np.bincount(bucket, minlength=points)
    return np.bincount(bucket, steps, points) / count, np.bincount(bucket, values, points) / count


def trend(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving mean over up to 2 `width` + 1 neighbours."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - width, 0), np.minimum(index + width + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def curve_svg(name: str, steps: np.ndarray, values: np.ndarray, axis: str = "step") -> str:
    """One panel: the curve, its trend, the axes' ends in numbers. Colours come from the page's CSS.

    Args:
        name: what it shows, for people who cannot see it. steps, values: [N], over what `axis` says.
    Returns:
        an <svg> element; "" where there is no finite value.
    """
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if not np.isfinite(values).any():
        return ""
    first, last = float(steps[0]), float(max(steps[-1], steps[0] + 1))
    steps, values = thin(steps, values)
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-6)

    def points(ys: np.ndarray) -> str:
        x = LEFT + (steps - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        y = TOP + (high + margin - ys) / (high - low + 2 * margin) * (HEIGHT - TOP - BOTTOM)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    floor = HEIGHT - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)} by {axis}">',
        f'<path class="axis" d="M{LEFT},{TOP} V{floor} H{WIDTH - RIGHT}"/>',
        f'<text x="{LEFT - 5}" y="{TOP + 8}" text-anchor="end">{short(high)}</text>',
        f'<text x="{LEFT - 5}" y="{floor}" text-anchor="end">{short(low)}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{first:.0f}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{axis} {last:.0f}</text>',
    ]
    if len(steps) == 1:
        x, y = points(values).split(",")
        return "".join([*parts, f'<circle class="trend-dot" cx="{x}" cy="{y}" r="2.5"/></svg>'])
    parts.append(f'<polyline class="raw" points="{points(values)}"/>')
    parts.append(f'<polyline class="trend" points="{points(trend(values, max(1, len(values) // 20)))}"/>')
    return "".join([*parts, "</svg>"])


def short(value: float) -> str:
    """Three significant digits.

    >>> short(0.012345), short(1234.5), short(0.0)
    ('0.0123', '1.23e+03', '0')
    """
    return "0" if value == 0 or not math.isfinite(value) else f"{value:.3g}"
