"""Parts with materials of their own -> one mesh with one texture, or with colours at its vertices."""

from __future__ import annotations

import numpy as np

from distill3d.files.meshes.atlas import pack, tiled
from distill3d.files.meshes.parts import Material, Part, Parts, linear, stored

GREY = 0.5  # of a part without any colour, where others have some; `render_mesh` draws a mesh without colours so too


def join(found: Parts) -> Part:
    """One part for all.

    A single picture stays as it is. Several pictures, or pictures beside plain colours, are laid into one (`atlas`);
    there each triangle without a picture gets the mean colour of its corners. Without any picture, tints and vertex
    colours become vertex colours; where nothing is coloured at all, there are none.

    Returns:
        positions, faces, and either uv within 0..1 and a picture whose tint is 1, or colours, or neither.
    """
    parts = [part for part in found.parts if len(part.faces)]
    pictured = [part for part in parts if part.material.picture is not None and part.uv is not None]
    if not pictured:
        return _concatenated(parts, colors=_vertex_colors(parts))
    if any(part.colors is not None and np.ptp(part.colors, axis=0).max(initial=0.0) > 1 / 255 for part in pictured):
        found.note("vertex colours that vary over a picture are left out")
    groups: dict[int, list[Part]] = {}
    for part in pictured:
        groups.setdefault(id(part.material), []).append(part)
    pictures, laid = [], []
    for group in groups.values():
        whole = _concatenated(group, uv=True)
        whole.material = group[0].material
        laid_out, picture = tiled(whole, found)
        pictures.append(_tinted(picture, group))
        laid.append(laid_out)
    plain = [part for part in parts if part.material.picture is None or part.uv is None]
    if plain:
        swatches, picture = _swatches(plain, found)
        pictures.append(picture)
        laid.append(swatches)
    if len(pictures) > 1:
        boxes, atlas = pack(pictures, found)
        for part, (scale, offset) in zip(laid, boxes, strict=True):
            assert part.uv is not None
            part.uv = part.uv * scale + offset
        pictures = [atlas]
    joined = _concatenated(laid, uv=True)
    joined.material = Material(picture=pictures[0], wrap=("clamp", "clamp"))
    return joined


def _concatenated(parts: list[Part], colors: list[np.ndarray] | None = None, uv: bool = False) -> Part:
    starts = np.cumsum([0, *(len(part.positions) for part in parts)])
    return Part(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        np.concatenate([part.uv for part in parts if part.uv is not None]) if uv else None,
        None if colors is None else np.concatenate(colors),
    )


def _vertex_colors(parts: list[Part]) -> list[np.ndarray] | None:
    """For each part [V, 3] as pictures store colours; None where no part says anything about colour."""
    if all(part.colors is None and (part.material.tint == 1).all() for part in parts):
        return None
    return [_plain_colors(part) for part in parts]


def _plain_colors(part: Part) -> np.ndarray:
    tint = part.material.tint
    if part.colors is None:
        color = np.full(3, GREY) if (tint == 1).all() else stored(tint)
        return np.broadcast_to(color, (len(part.positions), 3))
    return part.colors if (tint == 1).all() else stored(linear(part.colors) * tint)


def _tinted(picture: np.ndarray, group: list[Part]) -> np.ndarray:
    """A picture times its material's tint, in linear light; and times the vertex colours where they are all one."""
    tint = group[0].material.tint
    colors = [part.colors for part in group if part.colors is not None]
    if len(colors) == len(group):
        joined = np.concatenate(colors)
        if np.ptp(joined, axis=0).max() <= 1 / 255:
            tint = tint * linear(joined.mean(0))
    if (np.abs(tint - 1) < 1e-3).all():
        return picture
    table = np.round(255 * stored(linear(np.arange(256) / 255)[:, None] * tint)).astype(np.uint8)  # [256, 3]
    return np.stack([table[picture[..., channel], channel] for channel in range(3)], -1)


def _swatches(parts: list[Part], found: Parts) -> tuple[Part, np.ndarray]:
    """Parts without a picture: a small square of the picture for each colour that a triangle of theirs has."""
    whole = _concatenated(parts, colors=[_plain_colors(part) for part in parts])
    assert whole.colors is not None
    mean = np.round(255 * np.nan_to_num(whole.colors[whole.faces].mean(1)).clip(0, 1)).astype(np.uint8)
    shades, which = np.unique(mean, axis=0, return_inverse=True)
    if len(shades) > 1 and any(part.colors is not None for part in parts):
        found.note("vertex colours beside pictures: each triangle has the mean colour of its corners")
    side = int(np.ceil(np.sqrt(len(shades))))
    grid = np.zeros((side * side, 3), np.uint8)
    grid[: len(shades)] = shades
    picture = grid.reshape(side, side, 3).repeat(2, 0).repeat(2, 1)
    which = which.reshape(-1)
    center = np.stack([(which % side + 0.5) / side, 1.0 - (which // side + 0.5) / side], -1)
    corners = whole.faces.reshape(-1)
    _, first, faces = np.unique(corners * len(shades) + np.repeat(which, 3), return_index=True, return_inverse=True)
    return Part(whole.positions[corners[first]], faces.reshape(-1, 3), center[first // 3]), picture
