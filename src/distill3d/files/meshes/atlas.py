"""Several pictures, some of them repeated over a surface, laid into one picture that is not."""

from __future__ import annotations

import numpy as np
from PIL import Image

from distill3d.files.meshes.parts import Part, Parts

MOST_TEXELS = 1 << 24  # of the one picture: 4096 x 4096
LONGEST_SIDE = 8192  # of a picture with its repeats: a long strip would leave the rest of the one picture empty
PADDING = 4  # texels of border around each picture, so that filtering finds no foreign colour
TOLERANCE = 1e-4  # of a picture's side: so far beyond the border still counts as inside


def tiled(part: Part, found: Parts) -> tuple[Part, np.ndarray]:
    """Texture coordinates within 0..1, with a picture that holds as many repeats as the triangles need.

    Most triangles lie within one repeat, and are moved into the first one. Where one reaches over a border, the
    picture is repeated, at a lower resolution if need be.

    Args:
        part: with `uv`, and a material with a picture.
    Returns:
        the part, some vertices doubled, and the picture, uint8 [H, W, 3].
    """
    assert part.uv is not None
    assert part.material.picture is not None
    picture, uv = part.material.picture, part.uv
    wrong = ~np.isfinite(uv).all(-1)
    if wrong.any():
        found.note(f"{int(wrong.sum()):,} texture coordinates are not finite; they are set to 0")
        uv = np.where(wrong[:, None], 0.0, uv)
    uv = uv.clip(-1e6, 1e6)
    positions, faces = part.positions, part.faces
    for axis, wrap in enumerate(part.material.wrap):
        if wrap == "clamp":
            uv[:, axis] = uv[:, axis].clip(0, 1)
        elif wrap == "mirror" and not _within(uv[:, axis]):
            mirrored = np.flip(picture, 1 - axis)
            # to the right, or above: row 0 is the top
            picture = np.concatenate([picture, mirrored] if axis == 0 else [mirrored, picture], 1 - axis)
            uv[:, axis] *= 0.5
    if not _within(uv):
        shift = np.floor(uv[faces].min(1) + TOLERANCE)  # [F, 2], the repeat in which each triangle begins
        uv, positions, faces = _moved(uv, positions, faces, shift)
        reach = np.maximum(np.ceil(uv.max(0) - TOLERANCE), 1).astype(int)
        if (reach > 1).any():
            picture = _repeated(picture, reach, found)
            uv = uv / reach
        uv = uv.clip(0, 1)
    return Part(positions, faces, uv.clip(0, 1)), np.ascontiguousarray(picture)


def _within(uv: np.ndarray) -> bool:
    return bool(((uv >= -TOLERANCE) & (uv <= 1 + TOLERANCE)).all())


def _moved(
    uv: np.ndarray, positions: np.ndarray, faces: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each triangle's texture coordinates less its shift; one vertex for each pair of vertex and shift."""
    shifts, which = np.unique(shift, axis=0, return_inverse=True)
    corners = faces.reshape(-1)
    code = corners * len(shifts) + np.repeat(which.reshape(-1), 3)
    _, first, joined = np.unique(code, return_index=True, return_inverse=True)
    vertex = corners[first]
    return uv[vertex] - shifts[which.reshape(-1)[first // 3]], positions[vertex], joined.reshape(-1, 3)


def _repeated(picture: np.ndarray, reach: np.ndarray, found: Parts) -> np.ndarray:
    height, width = picture.shape[:2]
    reach = np.minimum(reach, LONGEST_SIDE)  # finer than that it is one colour anyway
    size = np.minimum([width, height], LONGEST_SIDE // reach)
    room = np.sqrt(MOST_TEXELS / np.prod(size * reach, dtype=float))
    size = np.maximum((size * min(room, 1.0)).astype(int), 1)
    if tuple(size) != (width, height):
        found.note(f"a picture repeats {reach[0]} x {reach[1]} times; its resolution is reduced")
        picture = np.asarray(Image.fromarray(picture).resize(tuple(size.tolist()), Image.Resampling.BOX))
    return np.tile(picture, (int(reach[1]), int(reach[0]), 1))


def pack(pictures: list[np.ndarray], found: Parts) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Lays pictures onto shelves, the tallest first.

    Returns:
        for each picture the factor [2] and the offset [2] that take its texture coordinates to those of the whole,
        (0, 0) at the bottom left; and the whole, uint8 [H, W, 3].
    """
    while sum((p.shape[0] + 2 * PADDING) * (p.shape[1] + 2 * PADDING) for p in pictures) > MOST_TEXELS:
        largest = max(p.shape[0] * p.shape[1] for p in pictures)
        found.note("its pictures together are larger than 4096 x 4096; the largest are reduced")
        pictures = [_halved(p) if 2 * p.shape[0] * p.shape[1] > largest else p for p in pictures]
    sizes = [(p.shape[0] + 2 * PADDING, p.shape[1] + 2 * PADDING) for p in pictures]
    width = max(max(w for _, w in sizes), int(np.ceil(np.sqrt(1.1 * sum(h * w for h, w in sizes)))))
    corners: dict[int, tuple[int, int]] = {}
    top = left = shelf = 0
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        height, wide = sizes[index]
        if left + wide > width:
            top, left, shelf = top + shelf, 0, 0
        corners[index] = top, left
        left, shelf = left + wide, max(shelf, height)
    whole = np.zeros((top + shelf, width, 3), np.uint8)
    boxes = []
    for index, picture in enumerate(pictures):
        top, left = corners[index]
        height, wide = picture.shape[:2]
        padded = np.pad(picture, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), mode="edge")
        whole[top : top + padded.shape[0], left : left + padded.shape[1]] = padded
        scale = np.array([wide / whole.shape[1], height / whole.shape[0]])
        bottom = whole.shape[0] - (top + PADDING + height)
        boxes.append((scale, np.array([(left + PADDING) / whole.shape[1], bottom / whole.shape[0]])))
    return boxes, whole


def _halved(picture: np.ndarray) -> np.ndarray:
    size = max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
