"""Sparse models of COLMAP (Schoenberger & Frahm 2016): cameras, images and points3D, as text or binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.captures.checks import inside, rigid
from distill3d.files.captures.colmap_binary import read_binary_model
from distill3d.files.captures.colmap_records import ColmapCamera, ColmapImage, ColmapPoints
from distill3d.files.captures.colmap_text import read_text_model
from distill3d.files.captures.layout import Frame, Layout, LensModel, is_file

PLACES = ("sparse/0", "colmap/sparse/0", "sparse", "0", ".")  # of the model in a capture's folder
PICTURES = ("images", "input", ".")  # of its pictures

# COLMAP's parameters by name; f is both focal lengths
PARAMETERS = {
    "SIMPLE_PINHOLE": "f cx cy",
    "PINHOLE": "fx fy cx cy",
    "SIMPLE_RADIAL": "f cx cy k1",
    "RADIAL": "f cx cy k1 k2",
    "OPENCV": "fx fy cx cy k1 k2 p1 p2",
    "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6",
    "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4",
    "SIMPLE_RADIAL_FISHEYE": "f cx cy k1",
    "RADIAL_FISHEYE": "f cx cy k1 k2",
}
FLAT_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE_ORDER = ("k1", "k2", "k3", "k4")


def find_model(folder: Path) -> Path | None:
    """The folder of a sparse model inside a capture's folder."""
    for place in PLACES:
        if any(is_file(folder / place / f"cameras.{kind}") for kind in ("bin", "txt")):
            return folder / place
    return None


def read_colmap(folder: Path, model: Path) -> Layout:
    """The layout that a sparse model describes. Its pictures lie in `folder/images`.

    Raises:
        UserError: names the file and what is wrong in it.
    """
    binary = is_file(model / "cameras.bin")
    cameras, images, points = (read_binary_model if binary else read_text_model)(model)
    source = model / ("images.bin" if binary else "images.txt")
    lenses = {number: lens_model(camera, model) for number, camera in cameras.items()}
    pictures = next((folder / name for name in PICTURES if (folder / name).is_dir()), folder)
    frames = []
    for image in sorted(images, key=lambda image: image.name):
        where = f"{source}: image {image.name[:80]!r}"
        if image.camera not in lenses:
            raise UserError(f"{where}: there is no camera {image.camera}")
        frames.append(Frame(inside(pictures, image.name, where), _pose(image, where), lenses[image.camera]))
    xyz, colors = _checked_points(points, model)
    return Layout(source, tuple(frames), xyz, colors, upright=False)


def lens_model(camera: ColmapCamera, model: Path) -> LensModel:
    """A camera's parameters by their names.

    Raises:
        UserError: a camera model that is not read, or numbers that make no lens.
    """
    where = f"{model}: camera {camera.number} ({camera.model})"
    names = PARAMETERS.get(camera.model)
    if names is None:
        raise UserError(f"{where} is not read (one of: {', '.join(PARAMETERS)})")
    if len(camera.parameters) != len(names.split()):
        raise UserError(f"{where} needs {len(names.split())} parameters ({names}), has {len(camera.parameters)}")
    if not np.isfinite(camera.parameters).all() or np.abs(camera.parameters).max() > 1e7:
        raise UserError(f"{where} has parameters that are not finite or out of range")
    value = dict(zip(names.split(), camera.parameters, strict=True))
    fx, fy = value.get("fx", value.get("f", 0.0)), value.get("fy", value.get("f", 0.0))
    if min(fx, fy) < 1e-3:
        raise UserError(f"{where} has focal length {min(fx, fy):g}")
    fisheye = camera.model.endswith("FISHEYE")
    order = FISHEYE_ORDER if fisheye else FLAT_ORDER
    coefficients = tuple(value.get(name, 0.0) for name in order) + (0.0,) * (8 - len(order))
    return LensModel(
        fx,
        fy,
        value["cx"],
        value["cy"],
        camera.width,
        camera.height,
        "fisheye" if fisheye else "opencv",
        coefficients,
    )


def _pose(image: ColmapImage, where: str) -> np.ndarray:
    """Camera-to-world with OpenGL axes from COLMAP's world-to-camera quaternion and translation, OpenCV axes."""
    quaternion = np.array(image.quaternion)
    length = np.linalg.norm(quaternion)
    if not np.isfinite(length) or not 0.9 < length < 1.1:
        raise UserError(f"{where}: its rotation is no unit quaternion (length {length:.3g})")
    w, x, y, z = quaternion / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    pose = np.eye(4)
    pose[:3, :3] = rotation.T * [1, -1, -1]
    with np.errstate(over="ignore", invalid="ignore"):
        pose[:3, 3] = -rotation.T @ np.array(image.translation)
    return rigid(pose, where)


def _checked_points(points: ColmapPoints, model: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not len(points.xyz):
        return None, None
    if not np.isfinite(points.xyz).all():
        raise UserError(f"{model}: points3D has positions that are not finite")
    return points.xyz, points.colors
