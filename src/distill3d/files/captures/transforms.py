"""`transforms.json` as nerfstudio and instant-ngp write it: one object with a lens, and frames with poses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from distill3d.core.errors import UserError
from distill3d.files.captures.checks import inside, json_object, number, pose, shown, text
from distill3d.files.captures.layout import Frame, Layout, LensModel, is_file
from distill3d.files.captures.photographs import picture_size
from distill3d.files.picture_reading import LONGEST_SIDE

FISHEYE = ("OPENCV_FISHEYE",)
FLAT = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
EXTENSIONS = (".png", ".jpg", ".jpeg")  # tried where a frame's path has none


def read_transforms(path: Path) -> Layout:
    """The layout that a transforms.json describes.

    The lens stands beside the frames or in each of them (which wins). The focal length is `fl_x` in pixels or
    `camera_angle_x` in radians. `train_filenames` and `test_filenames` or `val_filenames` say what is held out.

    Raises:
        UserError: names the file and the key that is wrong.
    """
    content = json_object(path)
    split = _split(content, path)
    return Layout(path, tuple(read_frames(path, content, split)))


def read_frames(
    path: Path, content: dict[str, Any], split: dict[str, bool] | None = None, held_out: bool | None = None
) -> list[Frame]:
    """The frames of one object; `split` says by file path which are held out, `held_out` of all of them."""
    entries = content.get("frames")
    if not isinstance(entries, list):
        raise UserError(f"{path}: frames should be a list, is {shown(entries)}")
    frames = []
    shared: LensModel | None = None
    for i, entry in enumerate(entries):
        where = f"{path}: frames[{i}]"
        if not isinstance(entry, dict):
            raise UserError(f"{where} should be an object, is {shown(entry)}")
        name = text(entry.get("file_path"), f"{where}.file_path")
        picture = _with_extension(inside(path.parent, name, f"{where}.file_path"))
        matrix = pose(entry.get("transform_matrix"), f"{where}.transform_matrix ({shown(name)})")
        own = LENS_KEYS & entry.keys()
        if own or shared is None:
            lens = read_lens({**content, **{key: entry[key] for key in own}}, where if own else str(path), picture)
            shared = lens if lens is not None and not own else shared
        else:
            lens = shared
        mask = None
        if entry.get("mask_path") is not None:
            mask = inside(path.parent, text(entry["mask_path"], f"{where}.mask_path"), f"{where}.mask_path")
        frames.append((picture, matrix, lens, split.get(name) if split else held_out, mask))
    # a frame without a picture cannot tell its size: any lens will do, as it is left out
    known = next((lens for _, _, lens, _, _ in frames if lens is not None), None)
    if known is None:
        known = LensModel(1.0, 1.0, 0.5, 0.5, 1, 1)
    return [Frame(picture, matrix, lens or known, kept, mask) for picture, matrix, lens, kept, mask in frames]


LENS_KEYS = {
    "w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y", "camera_model", "is_fisheye",
    "k1", "k2", "k3", "k4", "p1", "p2",
}  # fmt: skip


def read_lens(content: dict[str, Any], where: str, picture: Path) -> LensModel | None:
    """The lens, in pixels; None where only the missing picture could tell its size.

    Raises:
        UserError: a value that is no number or out of range, no focal length, or a camera model of another kind.
    """

    def value(key: str, low: float = -math.inf, high: float = math.inf) -> float:
        return number(content[key], f"{where}: {key}", low, high)

    if "w" in content and "h" in content:
        width, height = (round(value(key, 1, LONGEST_SIDE)) for key in ("w", "h"))
    elif is_file(picture):
        width, height = picture_size(picture)
    else:
        return None
    if "fl_x" in content:
        fx = value("fl_x", 1e-3, 1e7)
    elif "camera_angle_x" in content:
        fx = 0.5 * width / math.tan(0.5 * value("camera_angle_x", 1e-3, 3.1))
    else:
        raise UserError(f"{where}: needs fl_x (pixels) or camera_angle_x (radians)")
    fy = value("fl_y", 1e-3, 1e7) if "fl_y" in content else fx
    cx = value("cx", -LONGEST_SIDE, 2 * LONGEST_SIDE) if "cx" in content else 0.5 * width
    cy = value("cy", -LONGEST_SIDE, 2 * LONGEST_SIDE) if "cy" in content else 0.5 * height
    model, coefficients = _distortion(content, where)
    return LensModel(fx, fy, cx, cy, width, height, model, coefficients)


def _distortion(content: dict[str, Any], where: str) -> tuple[Literal["opencv", "fisheye"], tuple[float, ...]]:
    kind = content.get("camera_model", "OPENCV_FISHEYE" if content.get("is_fisheye") is True else "OPENCV")
    if kind not in FLAT + FISHEYE:
        raise UserError(f"{where}: camera_model {shown(kind)} is not read (one of: {', '.join(FLAT + FISHEYE)})")
    k1, k2, k3, k4, p1, p2 = (
        number(content.get(key, 0.0), f"{where}: {key}", -1e3, 1e3) for key in ("k1", "k2", "k3", "k4", "p1", "p2")
    )
    if kind in FISHEYE:
        return "fisheye", (k1, k2, k3, k4, 0.0, 0.0, 0.0, 0.0)
    if kind.endswith("PINHOLE"):
        return "opencv", (0.0,) * 8
    if k4:  # OpenCV divides by it, nerfstudio multiplies: nobody can tell which was meant
        raise UserError(f"{where}: k4 of camera_model {kind} means one thing to OpenCV and another to nerfstudio")
    return "opencv", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)


def _split(content: dict[str, Any], path: Path) -> dict[str, bool] | None:
    """Which file paths are held out; None where the file does not say."""
    given = [key for key in ("train_filenames", "val_filenames", "test_filenames") if key in content]
    if not given:
        return None
    split: dict[str, bool] = {}
    for key in given:
        names = content[key]
        if not isinstance(names, list):
            raise UserError(f"{path}: {key} should be a list of file paths")
        split |= {text(name, f"{path}: {key}"): key != "train_filenames" for name in names}
    return split


def _with_extension(picture: Path) -> Path:
    if is_file(picture):
        return picture
    candidates = (picture.with_name(picture.name + extension) for extension in EXTENSIONS)
    fallback = picture if picture.suffix else picture.with_name(picture.name + EXTENSIONS[0])
    return next((candidate for candidate in candidates if is_file(candidate)), fallback)
