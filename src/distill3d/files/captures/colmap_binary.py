"""COLMAP's binary files. Every count is held against the bytes that are left before anything is made of it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.captures.checks import file_bytes
from distill3d.files.captures.colmap_records import NO_POINTS, ColmapCamera, ColmapImage, ColmapPoints
from distill3d.files.captures.layout import is_file
from distill3d.files.picture_reading import LONGEST_SIDE

MODELS = {  # COLMAP's number of a camera model: its name and how many parameters it has
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
LONGEST_NAME = 4096


class Bytes:
    """A file read from front to back."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.at = path, file_bytes(path), 0

    def take(self, layout: str) -> tuple:  # type: ignore[type-arg]
        """The next numbers, little-endian."""
        size = struct.calcsize("<" + layout)
        self.need(size)
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += size
        return values

    def count(self, smallest: int, what: str) -> int:
        """A number of records, each of at least `smallest` bytes."""
        (value,) = self.take("Q")
        if value * smallest > len(self.data) - self.at:
            raise UserError(f"{self.path}: says it has {value} {what}, and ends after {len(self.data)} bytes")
        return value

    def name(self) -> str:
        """A string that ends with a zero byte."""
        end = self.data.find(b"\0", self.at, self.at + LONGEST_NAME)
        if end < 0:
            raise UserError(f"{self.path}: a picture's name has no end")
        word, self.at = self.data[self.at : end], end + 1
        try:
            return word.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: a picture's name is not UTF-8") from error

    def skip(self, size: int) -> None:
        self.need(size)
        self.at += size

    def need(self, size: int) -> None:
        if size > len(self.data) - self.at:
            raise UserError(f"{self.path}: ends in the middle of a record, after {len(self.data)} bytes")


def read_binary_model(model: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage], ColmapPoints]:
    """cameras.bin, images.bin and, where there is one, points3D.bin.

    Raises:
        UserError: a file is missing, cut short, or holds what COLMAP does not write.
    """
    points = read_points(model / "points3D.bin") if is_file(model / "points3D.bin") else NO_POINTS
    return read_cameras(model / "cameras.bin"), read_images(model / "images.bin"), points


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    file = Bytes(path)
    cameras = {}
    for _ in range(file.count(24, "cameras")):
        number, kind, width, height = file.take("IiQQ")
        if kind not in MODELS:
            raise UserError(f"{path}: camera {number} has model {kind}, which COLMAP does not know")
        if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
            raise UserError(f"{path}: camera {number} is {width} x {height} pixels")
        name, count = MODELS[kind]
        cameras[number] = ColmapCamera(number, name, width, height, file.take(f"{count}d"))
    return cameras


def read_images(path: Path) -> list[ColmapImage]:
    file = Bytes(path)
    images = []
    for _ in range(file.count(73, "images")):
        _, *numbers, camera = file.take("I7dI")
        name = file.name()
        file.skip(24 * file.count(24, "observations"))
        images.append(ColmapImage(name, camera, tuple(numbers[:4]), tuple(numbers[4:])))
    return images


def read_points(path: Path) -> ColmapPoints:
    file = Bytes(path)
    count = file.count(51, "points")
    xyz, colors = np.empty((count, 3)), np.empty((count, 3), np.uint8)
    for i in range(count):
        _, *place, red, green, blue, _ = file.take("Q3d3Bd")
        xyz[i], colors[i] = place, (red, green, blue)
        file.skip(8 * file.count(8, "observations"))
    return ColmapPoints(xyz, colors)
