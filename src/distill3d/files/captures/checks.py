"""Numbers and matrices out of files that anyone may have written: right, or one line that says where they are not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from distill3d.core.errors import UserError

LARGEST_FILE = 1 << 30  # bytes; a model of ten thousand photographs takes a few hundred MiB
FARTHEST = 1e9  # from the origin, in the file's units
RIGID = 0.01  # how far R R^T may be from the identity: text files are rounded, a scaled matrix is another thing


def file_bytes(path: Path, limit: int = LARGEST_FILE) -> bytes:
    """The content of a file.

    Raises:
        UserError: it is not there, cannot be read, or is larger than `limit`.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(f"{path}: {size >> 20} MiB; such a file has at most {limit >> 20}")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from error


def json_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        UserError: it is no JSON, or no object.
    """
    try:
        content = json.loads(file_bytes(path, 1 << 28))
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply to be a capture") from error
    except ValueError as error:  # also a wrong encoding, and integers with too many digits
        raise UserError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: should hold an object with frames, holds a {type(content).__name__}")
    return content


def number(value: Any, where: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high].

    Raises:
        UserError: it is none; `where` names the file and the key.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{where} should be a number, is {shown(value)}")
    try:
        result = float(value)
    except OverflowError as error:
        raise UserError(f"{where} is out of range") from error
    if not math.isfinite(result):
        raise UserError(f"{where} is {result}")
    if not low <= result <= high:
        raise UserError(f"{where} is {result:g}, should be {low:g} to {high:g}")
    return result


def text(value: Any, where: str) -> str:
    """A string with something in it.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} should be a name, is {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value in an error message, cut where it is long."""
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # an integer with too many digits, an endless nesting
        words = type(value).__name__
    return words if len(words) <= 40 else words[:37] + "..."


def pose(value: Any, where: str) -> np.ndarray:
    """A rigid camera-to-world matrix [4, 4] float64 from nested lists, 3 x 4 or 4 x 4.

    Raises:
        UserError: another shape, a number that is not finite, or a left block that is no rotation.
    """
    rows = value if isinstance(value, list) else []
    if len(rows) not in (3, 4) or any(not isinstance(row, list) or len(row) != 4 for row in rows):
        raise UserError(f"{where} should be a matrix of 4 x 4 numbers")
    matrix = np.eye(4)
    for i, row in enumerate(rows):
        matrix[i] = [number(entry, f"{where}[{i}][{j}]") for j, entry in enumerate(row)]
    if np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise UserError(f"{where}: the last row should be 0 0 0 1")
    return rigid(matrix, where)


def rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    """The same with its left block made an exact rotation.

    Raises:
        UserError: it is far from one, or the place is out of this world.
    """
    if not np.isfinite(matrix).all():
        raise UserError(f"{where} has entries that are not finite")
    if np.abs(matrix[:3, 3]).max() > FARTHEST:
        raise UserError(f"{where} puts the camera {np.abs(matrix[:3, 3]).max():.1e} away from the origin")
    rotation = matrix[:3, :3]
    off = np.abs(rotation).max() if np.abs(rotation).max() > 2 else np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > RIGID:
        raise UserError(f"{where} is no rotation and place: its left 3 x 3 block is not orthonormal (off by {off:.2g})")
    if np.linalg.det(rotation) < 0:
        raise UserError(f"{where} is no rotation and place: its left 3 x 3 block mirrors")
    u, _, v = np.linalg.svd(rotation)
    result = matrix.copy()
    result[:3, :3] = u @ v
    return result


def inside(folder: Path, name: str, where: str) -> Path:
    """`folder / name`, which must not lead out of the folder.

    Raises:
        UserError: it does, or is no path at all.
    """
    if "\0" in name or len(name) > 4096:
        raise UserError(f"{where} is no file name: {shown(name)}")
    path = folder / name.replace("\\", "/")
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return path
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{where} is no file name: {shown(name)}") from error
    raise UserError(f"{where} leads out of {folder}: {shown(name)}; put the capture's pictures beside it")
