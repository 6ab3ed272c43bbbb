"""COLMAP's text files: a record a line (two for an image), `#` before comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.captures.checks import file_bytes, shown
from distill3d.files.captures.colmap_records import NO_POINTS, ColmapCamera, ColmapImage, ColmapPoints
from distill3d.files.captures.layout import is_file
from distill3d.files.picture_reading import LONGEST_SIDE


def read_text_model(model: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage], ColmapPoints]:
    """cameras.txt, images.txt and, where there is one, points3D.txt.

    Raises:
        UserError: a file is missing, or a line holds what COLMAP does not write.
    """
    points = read_points(model / "points3D.txt") if is_file(model / "points3D.txt") else NO_POINTS
    return read_cameras(model / "cameras.txt"), read_images(model / "images.txt"), points


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for where, words in _records(path):
        if len(words) < 5:
            raise UserError(f"{where}: a camera has at least 5 fields, this one {len(words)}")
        number, width, height = (_whole(words[k], where) for k in (0, 2, 3))
        if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
            raise UserError(f"{where}: a camera of {width} x {height} pixels")
        cameras[number] = ColmapCamera(number, words[1], width, height, tuple(_real(w, where) for w in words[4:]))
    return cameras


def read_images(path: Path) -> list[ColmapImage]:
    images = []
    lines = _lines(path)
    for n, line in lines:
        words = line.split(maxsplit=9)  # a name may have spaces
        if not words:
            continue
        where = f"{path}: line {n}"
        if len(words) < 10:
            raise UserError(f"{where}: an image has 10 fields, this one {len(words)}")
        numbers = [_real(word, where) for word in words[1:8]]
        images.append(ColmapImage(words[9], _whole(words[8], where), tuple(numbers[:4]), tuple(numbers[4:])))
        next(lines, None)  # the observations, perhaps none: an empty line
    return images


def read_points(path: Path) -> ColmapPoints:
    xyz, colors = [], []
    for where, words in _records(path):
        if len(words) < 8:
            raise UserError(f"{where}: a point has at least 8 fields, this one {len(words)}")
        xyz.append([_real(word, where) for word in words[1:4]])
        color = [_whole(word, where) for word in words[4:7]]
        if not all(0 <= channel <= 255 for channel in color):
            raise UserError(f"{where}: a colour is 0 to 255")
        colors.append(color)
    if not xyz:
        return NO_POINTS
    return ColmapPoints(np.array(xyz, np.float64), np.array(colors, np.uint8))


def _lines(path: Path):  # type: ignore[no-untyped-def]
    """(number, line) of all lines but the comments."""
    try:
        content = file_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text") from error
    return iter([(n, line.strip()) for n, line in enumerate(content.split("\n"), 1) if not line.startswith("#")])


def _records(path: Path):  # type: ignore[no-untyped-def]
    return ((f"{path}: line {n}", line.split()) for n, line in _lines(path) if line)


def _whole(word: str, where: str) -> int:
    if not (word.isascii() and word.lstrip("-").isdigit() and len(word) < 20):
        raise UserError(f"{where}: should be a whole number, is {shown(word)}")
    return int(word.lstrip("-")) * (-1 if word.startswith("-") else 1)


def _real(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UserError(f"{where}: should be a number, is {shown(word)}") from error
