"""Gaussians onto the picture plane, eight at a time, and the way back to their parameters and to the cameras.

A camera is a row of numbers (`camera_rows`), a projected Gaussian a record of RECORD floats that fills one cache line:

    0, 1   centre in pixels            6 to 8   colour
    2 to 4 a, b, c                     9        depth along the optical axis
    5      l                           10, 11   half width and half height of what is seen of it, pixels; 0: nothing

such that log2 of its alpha at a pixel (dx, dy) from the centre is a dx^2 + b dx dy + c dy^2 + l. The opacity sits in
the exponent, so a pixel costs one power of two, and the half sizes know how far a faint Gaussian reaches.

Loops are over Gaussians, cameras inside, so sums over cameras need no atomics; sums over Gaussians (for the poses) are
kept for each chunk of CHUNK and added up in order: the same bits on any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from torch import Tensor

from distill3d.kernels.simd import floor_at_f8, load_f8, splat_f8
from distill3d.kernels.spherical_harmonics import sh_basis_f8
from distill3d.kernels.splatting_simd import (
    ceiling_at_f8,
    constant,
    exp_f8,
    fma_f8,
    less_f8,
    log2_f8,
    select_f8,
    sqrt_f8,
    strided_load_f8,
    strided_store_f8,
)
from distill3d.kernels.splatting_torch import DILATION, MARGIN, NEAR

RECORD = 16  # floats
MOMENTS = 16  # floats of a Gaussian's gradient in one tile, see `splatting_compositing`
CAMERA = 23  # floats
CHUNK = 1024  # Gaussians that one thread takes at a time
LOG2E = math.log2(math.e)
DARKEST = math.log2(255.0)  # l below minus this: no pixel reaches an alpha of 1/255
FLIP = np.array([1, -1, -1], np.float32)  # from OpenGL's axes
DILATION_, NEAR_ = DILATION, NEAR  # constants of the compiled code; the cache is cleared by a change of this file


def camera_rows(camera_to_world: Tensor, intrinsics: Tensor, height: int, width: int) -> np.ndarray:
    """[B, CAMERA] float32: rotation and shift into axes x right, y down, z forward; the eye; fx, fy, cx, cy; and the
    limits of x / z (low, high) and y / z within which the Jacobian is taken."""
    pose = camera_to_world.detach().numpy()  # in numpy: each of torch's calls costs as much as a few hundred Gaussians
    rotation, eye = pose[:, :3, :3].transpose(0, 2, 1) * FLIP[:, None], pose[:, :3, 3]
    rows = np.empty((len(pose), CAMERA), np.float32)
    rows[:, :9] = rotation.reshape(-1, 9)
    rows[:, 9:12], rows[:, 12:15] = -(rotation @ eye[..., None])[..., 0], eye
    k = intrinsics.detach().numpy()
    for axis, extent in ((0, width), (1, height)):
        focal, middle = k[:, axis, axis], k[:, axis, 2]
        margin = MARGIN * 0.5 * extent / focal
        rows[:, 15 + axis], rows[:, 17 + axis] = focal, middle
        rows[:, 19 + 2 * axis] = -middle / focal - margin
        rows[:, 20 + 2 * axis] = (extent - middle) / focal + margin
    return rows


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pose(quats: np.ndarray, n: int) -> tuple:
    """Unit quaternion (4), one over its length before, and rotation matrix (9) of eight Gaussians from `n`."""
    w, x = strided_load_f8(quats, 4 * n, 4), strided_load_f8(quats, 4 * n + 1, 4)
    y, z = strided_load_f8(quats, 4 * n + 2, 4), strided_load_f8(quats, 4 * n + 3, 4)
    shrink = constant(1.0) / sqrt_f8(floor_at_f8(w * w + x * x + y * y + z * z, constant(1e-24)))
    w, x, y, z = w * shrink, x * shrink, y * shrink, z * shrink
    one, two = constant(1.0), constant(2.0)
    return (
        (w, x, y, z),
        shrink,
        (
            one - two * (y * y + z * z),
            two * (x * y - w * z),
            two * (x * z + w * y),
            two * (x * y + w * z),
            one - two * (x * x + z * z),
            two * (y * z - w * x),
            two * (x * z - w * y),
            two * (y * z + w * x),
            one - two * (x * x + y * y),
        ),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scales(log_scales: np.ndarray, n: int) -> tuple:
    s0, s1 = strided_load_f8(log_scales, 3 * n, 3), strided_load_f8(log_scales, 3 * n + 1, 3)
    return exp_f8(s0), exp_f8(s1), exp_f8(strided_load_f8(log_scales, 3 * n + 2, 3))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _times(m: tuple, row: np.ndarray, k: int) -> tuple:
    """A row of the camera's rotation, numbers row[k : k + 3], times a matrix of vectors (9)."""
    a, b, c = splat_f8(row[k]), splat_f8(row[k + 1]), splat_f8(row[k + 2])
    return a * m[0] + b * m[3] + c * m[6], a * m[1] + b * m[4] + c * m[7], a * m[2] + b * m[5] + c * m[8]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: tuple, b: tuple) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _place(means: np.ndarray, n: int, row: np.ndarray, k: int) -> Any:
    """One coordinate in camera space of the eight means from `n`."""
    x, y, z = (
        strided_load_f8(means, 3 * n, 3),
        strided_load_f8(means, 3 * n + 1, 3),
        strided_load_f8(means, 3 * n + 2, 3),
    )
    return splat_f8(row[3 * k]) * x + splat_f8(row[3 * k + 1]) * y + splat_f8(row[3 * k + 2]) * z + splat_f8(row[9 + k])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _direction(means: np.ndarray, n: int, row: np.ndarray) -> tuple:
    """From the eye to the means: unit vectors (3) and one over the distance."""
    x = strided_load_f8(means, 3 * n, 3) - splat_f8(row[12])
    y = strided_load_f8(means, 3 * n + 1, 3) - splat_f8(row[13])
    z = strided_load_f8(means, 3 * n + 2, 3) - splat_f8(row[14])
    shrink = constant(1.0) / sqrt_f8(floor_at_f8(x * x + y * y + z * z, constant(1e-24)))
    return x * shrink, y * shrink, z * shrink, shrink


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _color(sh: np.ndarray, n: int, channel: int, count: int, used: int, basis: np.ndarray) -> Any:
    total = constant(0.5)
    for k in range(used):
        coefficient = strided_load_f8(sh, (n * count + k) * 3 + channel, 3 * count)
        total = fma_f8(coefficient, load_f8(basis, 8 * k), total)
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _spread(m: tuple, row: np.ndarray, x: Any, y: Any, z: Any) -> tuple:
    """What the covariance on the picture plane is made of.

    With V = W R S (rows V0, V1, V2) and the Jacobian's entries j, the rows of J W R S are
    U0 = j00 V0 + j02 V2 and U1 = j11 V1 + j12 V2, and the covariance is U U^T + dilation.
    """
    v0, v1, v2 = _times(m, row, 0), _times(m, row, 3), _times(m, row, 6)
    inverse = constant(1.0) / z
    u = ceiling_at_f8(floor_at_f8(x * inverse, splat_f8(row[19])), splat_f8(row[20]))
    v = ceiling_at_f8(floor_at_f8(y * inverse, splat_f8(row[21])), splat_f8(row[22]))
    j00, j11 = splat_f8(row[15]) * inverse, splat_f8(row[16]) * inverse
    j02, j12 = constant(0.0) - j00 * u, constant(0.0) - j11 * v
    u0 = (j00 * v0[0] + j02 * v2[0], j00 * v0[1] + j02 * v2[1], j00 * v0[2] + j02 * v2[2])
    u1 = (j11 * v1[0] + j12 * v2[0], j11 * v1[1] + j12 * v2[1], j11 * v1[2] + j12 * v2[2])
    return v0, v1, v2, u0, u1, j00, j02, j11, j12, inverse


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def project(
    means: np.ndarray,
    quats: np.ndarray,
    log_scales: np.ndarray,
    logits: np.ndarray,
    sh: np.ndarray,
    degree: int,
    cameras: np.ndarray,
    screen: np.ndarray,
    height: int,
    width: int,
    records: np.ndarray,
) -> None:
    """Fills `records` [B * N, RECORD]. N >= 8; `screen` [B, N, 2] shifts the centres, or is [0, 0, 0]."""
    n_all, count, used = len(means), sh.shape[1], (degree + 1) ** 2
    for chunk in numba.prange((n_all + CHUNK - 1) // CHUNK):
        basis = np.empty(128, np.float32)
        for block in range(chunk * (CHUNK // 8), min((chunk + 1) * (CHUNK // 8), (n_all + 7) // 8)):
            n = min(8 * block, n_all - 8)  # the last block overlaps the one before, and writes the same
            _, _, r = _pose(quats, n)
            s0, s1, s2 = _scales(log_scales, n)
            m = (r[0] * s0, r[1] * s1, r[2] * s2, r[3] * s0, r[4] * s1, r[5] * s2, r[6] * s0, r[7] * s1, r[8] * s2)
            l = constant(0.0) - log2_f8(constant(1.0) + exp_f8(constant(0.0) - load_f8(logits, n)))
            reach = l + constant(DARKEST)
            for camera in range(len(cameras)):
                row = cameras[camera]
                x, y, z = _place(means, n, row, 0), _place(means, n, row, 1), _place(means, n, row, 2)
                _, _, _, u0, u1, j00, _, j11, _, _ = _spread(m, row, x, y, z)
                a, b, c = _dot(u0, u0) + constant(DILATION_), _dot(u0, u1), _dot(u1, u1) + constant(DILATION_)
                inverse = constant(1.0) / (a * c - b * b)
                place_x, place_y = j00 * x + splat_f8(row[17]), j11 * y + splat_f8(row[18])
                if len(screen) > 0:
                    place_x = place_x + strided_load_f8(screen, 2 * (camera * n_all + n), 2)
                    place_y = place_y + strided_load_f8(screen, 2 * (camera * n_all + n) + 1, 2)
                wide = sqrt_f8(constant(2.0 / LOG2E) * reach * a)
                high = sqrt_f8(constant(2.0 / LOG2E) * reach * c)
                seen = less_f8(constant(NEAR_), z) & less_f8(constant(0.0), reach) & less_f8(constant(0.0), inverse)
                seen = seen & less_f8(constant(0.0), place_x + wide) & less_f8(place_x - wide, constant(width))
                seen = seen & less_f8(constant(0.0), place_y + high) & less_f8(place_y - high, constant(height))
                dx, dy, dz, _ = _direction(means, n, row)
                sh_basis_f8(degree, dx, dy, dz, basis)
                at = (camera * n_all + n) * RECORD
                strided_store_f8(records, at, RECORD, place_x)
                strided_store_f8(records, at + 1, RECORD, place_y)
                strided_store_f8(records, at + 2, RECORD, constant(-0.5 * LOG2E) * c * inverse)
                strided_store_f8(records, at + 3, RECORD, constant(LOG2E) * b * inverse)
                strided_store_f8(records, at + 4, RECORD, constant(-0.5 * LOG2E) * a * inverse)
                strided_store_f8(records, at + 5, RECORD, l)
                for channel in range(3):
                    value = floor_at_f8(_color(sh, n, channel, count, used, basis), constant(0.0))
                    strided_store_f8(records, at + 6 + channel, RECORD, value)
                strided_store_f8(records, at + 9, RECORD, z)
                strided_store_f8(records, at + 10, RECORD, select_f8(seen, wide, constant(0.0)))
                strided_store_f8(records, at + 11, RECORD, select_f8(seen, high, constant(0.0)))
