"""Gaussian splats as PLY, laid out as 3D Gaussian splatting, its viewers, gsplat and nerfstudio read and write it.

One element `vertex` with float properties x y z, nx ny nz (zeros, unused), f_dc_0..2, f_rest_0..M, opacity, scale_0..2
and rot_0..3. Opacities are logits, scales logarithms, rotations quaternions w x y z. f_rest is channel after channel:
all higher coefficients of red, then green, then blue. Axes are the scene's own: the project's z points up.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill3d.core.errors import UserError
from distill3d.files.atomic import write_bytes
from distill3d.files.meshes.limits import BadMesh, read_bounded
from distill3d.files.meshes.ply_header import Element, read_ply_header

MOST_BYTES = 1 << 31  # 8 million Gaussians of degree 3
MOST_TEXT = 1 << 28
COEFFICIENTS = {0: 1, 9: 4, 24: 9, 45: 16}  # numbers of f_rest to coefficients a channel
PLACE = ("x", "y", "z")
NEEDED = (
    *PLACE, "f_dc_0", "f_dc_1", "f_dc_2", "opacity",
    "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip
IGNORED = {"nx", "ny", "nz", "red", "green", "blue", "alpha"}
LARGEST = 1e6  # of a coordinate; logits and log-scales beyond 100 say nothing either


@dataclass
class Splats:
    """N Gaussians as they are optimised, float32.

    Args:
        means: [N, 3], world units. quats: [N, 4], w x y z, any length but zero. log_scales: [N, 3].
        logit_opacities: [N]. sh: [N, K, 3], K = 1, 4, 9 or 16, see `kernels.spherical_harmonics`.
    """

    means: np.ndarray
    quats: np.ndarray
    log_scales: np.ndarray
    logit_opacities: np.ndarray
    sh: np.ndarray

    def __len__(self) -> int:
        return len(self.means)


def write_splats(splats: Splats, path: Path) -> None:
    """Writes a binary little-endian PLY, whole or not at all.

    Raises:
        UserError: it cannot be written, or a value is not finite.
    """
    count, coefficients = splats.sh.shape[:2]
    rest = 3 * (coefficients - 1)
    names = [*PLACE, "nx", "ny", "nz", *(f"f_dc_{k}" for k in range(3)), *(f"f_rest_{k}" for k in range(rest))]
    names += ["opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4))]
    higher = splats.sh[:, 1:].transpose(0, 2, 1).reshape(count, rest)  # channel after channel
    columns = [splats.means, np.zeros((count, 3)), splats.sh[:, 0], higher, splats.logit_opacities[:, None]]
    table = np.concatenate([np.asarray(c, np.float32) for c in [*columns, splats.log_scales, splats.quats]], 1)
    if not np.isfinite(table).all():
        raise UserError(f"{path} is not written: a Gaussian has a value that is not finite; lower the learning rates")
    header = ["ply", "format binary_little_endian 1.0", "comment distill3d", f"element vertex {count}"]
    header += [f"property float {name}" for name in names]
    write_bytes(path, "\n".join([*header, "end_header", ""]).encode() + table.astype("<f4").tobytes())


def read_splats(path: Path) -> Splats:
    """Reads a splat file, binary of either byte order or text; properties in any order.

    Memory stays within a few times the file's length, whatever the header declares.

    Raises:
        UserError: no such file, or it is damaged, or no splat file; in one line.
    """
    path = Path(path)
    try:
        return _checked(*_table(read_bounded(path, MOST_BYTES)))
    except BadMesh as fault:
        raise UserError(f"{path}: {fault}") from fault


def _table(data: bytes) -> tuple[Element, dict[str, np.ndarray]]:
    """The element of the Gaussians, and its columns [N] by property."""
    header = read_ply_header(data)
    vertex = header.elements[0] if header.elements else None
    if vertex is None or vertex.name != "vertex":
        raise BadMesh("its first element is not vertex: this is no Gaussian splat file")
    if any(p.count for p in vertex.properties):
        raise BadMesh("a Gaussian has single numbers, no lists")
    trailing = next((e for e in header.elements[1:] if e.rows), None)
    if trailing is not None:
        raise BadMesh(f"it has {trailing.rows} rows of {trailing.name[:20]!r} besides its Gaussians")
    _check_names(vertex)
    kind = np.dtype([(p.name, (header.order or "<") + p.kind) for p in vertex.properties])
    body = data[header.body :]
    if header.order:
        if len(body) != vertex.rows * kind.itemsize:
            wanted = vertex.rows * kind.itemsize
            raise BadMesh(f"{vertex.rows:,} Gaussians take {wanted:,} bytes, and {len(body):,} follow the header")
        table = np.frombuffer(body, kind)
        return vertex, {p.name: table[p.name] for p in vertex.properties}
    if len(body) > MOST_TEXT:
        raise BadMesh(f"it is a text of {len(body) >> 20} MiB, more than the {MOST_TEXT >> 20} MiB that are read")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns where it meets something that is no number
        try:
            numbers = np.fromstring(body.decode("ascii", "replace"), np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise BadMesh("its text holds something that is no number") from None
    wanted = vertex.rows * len(vertex.properties)
    if len(numbers) != wanted:
        raise BadMesh(f"{vertex.rows:,} Gaussians have {wanted:,} numbers, and {len(numbers):,} follow the header")
    rows = numbers.reshape(vertex.rows, len(vertex.properties))
    return vertex, {p.name: rows[:, k] for k, p in enumerate(vertex.properties)}


def _check_names(vertex: Element) -> None:
    names = {p.name for p in vertex.properties}
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise BadMesh(f"its Gaussians have no {missing[0]}: not the layout of 3D Gaussian splatting")
    rest = sorted(int(name[7:]) for name in names if re.fullmatch(r"f_rest_\d{1,3}", name))
    if len(rest) not in COEFFICIENTS or rest != list(range(len(rest))):
        raise BadMesh(f"it has {len(rest)} properties f_rest; degrees 0 to 3 have f_rest_0 to 0, 9, 24 or 45 of them")
    unknown = names - set(NEEDED) - IGNORED - {f"f_rest_{k}" for k in rest}
    if unknown:
        raise BadMesh(f"property {min(unknown)[:20]!r} is unknown in a Gaussian splat file")


def _checked(vertex: Element, table: dict[str, np.ndarray]) -> Splats:
    if not vertex.rows:
        raise BadMesh("it holds no Gaussians")

    def columns(*names: str) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = np.stack([table[name].astype(np.float32) for name in names], -1)
        wrong = np.flatnonzero(~np.isfinite(values).all(-1))
        if len(wrong):
            raise BadMesh(f"Gaussian {wrong[0]} has a {names[0].split('_')[0]} that is not a finite number")
        return values

    count = COEFFICIENTS[sum(p.name.startswith("f_rest_") for p in vertex.properties)]
    means = columns(*PLACE)
    opacity, scales = columns("opacity")[:, 0], columns(*(f"scale_{k}" for k in range(3)))
    quats = columns(*(f"rot_{k}" for k in range(4)))
    for what, values, most in (("coordinate", means, LARGEST), ("opacity", opacity, 1e4), ("scale", scales, 80.0)):
        if np.abs(values).max() > most:
            raise BadMesh(
                f"a Gaussian has a {what} of {np.abs(values).max():.3g}; {most:g} is the most that makes sense"
            )
    flat = np.flatnonzero(np.linalg.norm(quats.astype(np.float64), axis=-1) < 1e-12)
    if len(flat):
        raise BadMesh(f"Gaussian {flat[0]} has a rotation of length zero")
    sh = np.empty((len(means), count, 3), np.float32)
    sh[:, 0] = columns(*(f"f_dc_{k}" for k in range(3)))
    if count > 1:
        rest = columns(*(f"f_rest_{k}" for k in range(3 * (count - 1))))
        sh[:, 1:] = rest.reshape(len(means), 3, count - 1).transpose(0, 2, 1)
    return Splats(means, quats, scales, opacity, sh)
