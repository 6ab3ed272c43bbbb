"""Line plots as SVG files that read on a light and a dark page, and labelled grids of pictures as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLORS = ("#3b7dd8", "#d8633b", "#3ba55d", "#a05bd0", "#b8902a", "#c2487f", "#4aa7b0")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 260, 52, 12, 26, 34


def panel(title: str, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], axis: str, left: int = 0) -> str:
    """One plot as SVG elements, moved `left` pixels to the right; the names stand inside, in the curves' colours."""
    xs, ys = (np.concatenate([curve[k][np.isfinite(curve[1])] for curve in curves.values()]) for k in range(2))
    (x0, x1), (y0, y1) = (xs.min(), xs.max()), (ys.min(), ys.max())
    margin = 0.04 * (y1 - y0)
    y0, y1 = y0 - margin, y1 + margin
    floor, far = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<g transform="translate({left},0)" font-family="sans-serif" font-size="11" fill="#808080">',
        f'<text x="{(LEFT + far) / 2}" y="15" text-anchor="middle" font-size="13">{title}</text>',
        f'<path d="M{LEFT},{TOP} V{floor} H{far}" fill="none" stroke="#808080"/>',
        f'<text x="{(LEFT + far) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{axis}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        x, y = LEFT + share * (far - LEFT), floor - share * (floor - TOP)
        parts.append(f'<text x="{x}" y="{floor + 14}" text-anchor="middle">{x0 + share * (x1 - x0):.4g}</text>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4}" text-anchor="end">{y0 + share * (y1 - y0):.3g}</text>')
    for index, (name, (x, y)) in enumerate(curves.items()):
        keep, color = np.isfinite(y), COLORS[index % len(COLORS)]
        u = LEFT + (x[keep] - x0) / (x1 - x0) * (far - LEFT)
        v = floor - (y[keep] - y0) / (y1 - y0) * (floor - TOP)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(u, v, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        parts.append(
            f'<text x="{LEFT + 10}" y="{floor - 8 - 14 * (len(curves) - 1 - index)}" fill="{color}">{name}</text>'
        )
    return "".join([*parts, "</g>"])


def write_panels(path: Path, panels: Sequence[str]) -> None:
    """Panels beside each other; each was drawn at `left` = its place times `WIDTH`."""
    width = WIDTH * len(panels)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">'
    path.write_text("\n".join([head, *panels, "</svg>"]) + "\n")


def write_grid(path: Path, rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str], side: int = 96) -> None:
    """Pictures [H, W, 3 or 4] in 0..1, a row a name, under the columns' names; alpha goes over white."""
    wide = 8 + max(7 * len(name) for name in rows)
    sheet = Image.new("RGB", (wide + side * len(columns), 18 + side * len(rows)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for k, name in enumerate(columns):
        draw.text((wide + side * k + side / 2, 9), name, "#404040", font, anchor="mm")
    for j, (name, pictures) in enumerate(rows.items()):
        draw.text((4, 18 + side * j + side / 2), name, "#404040", font, anchor="lm")
        for k, picture in enumerate(pictures):
            shown = picture[..., :3]
            if picture.shape[-1] == 4:  # colour over grey 0.5, and coverage: as the embedded prior draws
                alpha = picture[..., 3:]
                shown = (shown - 0.5 * (1 - alpha)).clip(0, 1) + (1 - alpha)
            tile = Image.fromarray((255 * shown.clip(0, 1)).round().astype(np.uint8)).resize(
                (side, side), Image.LANCZOS
            )
            sheet.paste(tile, (wide + side * k, 18 + side * j))
    sheet.save(path, optimize=True)
