"""From the gradient of projected Gaussians back to their parameters, to their screen positions and to the cameras.

The forward pass is in `splatting_projection`; what it computed is cheaper to compute again than to keep.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.kernels.simd import load_f8, splat_f8, store_f8
from distill3d.kernels.spherical_harmonics import sh_basis_f8, sh_slope_f8
from distill3d.kernels.splatting_projection import (
    CHUNK,
    FLIP,
    MOMENTS,
    _color,
    _direction,
    _dot,
    _place,
    _pose,
    _scales,
    _spread,
)
from distill3d.kernels.splatting_simd import (
    at_least_f8,
    bits_of_f8,
    constant,
    exp_f8,
    float_of_bits_i8,
    fma_f8,
    lanes_f8,
    less_f8,
    strided_load_f8,
    strided_store_f8,
)
from distill3d.kernels.splatting_torch import DILATION

POSE = 15  # gradient of a camera: rotation (9), shift (3), eye (3)
LN2, DILATION_ = math.log(2.0), DILATION


def pose_gradient(camera_to_world: Tensor, v: Tensor) -> Tensor:
    """Gradient of poses [B, 4, 4] from `v` [B, POSE]: of the rotation W = F R^T, the shift -W e and the eye e.

    F flips the axes from OpenGL's.
    """
    eye, flip = camera_to_world[:, :3, 3], v.new_tensor(FLIP)
    rotation = flip[:, None] * camera_to_world[:, :3, :3].transpose(1, 2)
    v_shift = v[:, 9:12, None]
    v_rotation = v[:, :9].reshape(-1, 3, 3) - v_shift * eye[:, None]
    result = torch.zeros_like(camera_to_world)
    result[:, :3, :3] = (flip[:, None] * v_rotation).transpose(1, 2)
    result[:, :3, 3] = v[:, 12:] - (rotation.transpose(1, 2) @ v_shift)[..., 0]
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _kept(value: Any, mask: Any) -> Any:
    return float_of_bits_i8(bits_of_f8(value) & mask)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(sums: np.ndarray, k: int, value: Any) -> None:
    store_f8(sums, 8 * k, load_f8(sums, 8 * k) + value)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _collect(first_slot: np.ndarray, moments: np.ndarray, i: int, out: np.ndarray) -> bool:
    """The moments of eight Gaussians from record `i` summed over their tiles, one row of `out` [8, MOMENTS] each."""
    any_seen = False
    for lane in range(8):
        low, high = constant(0.0), constant(0.0)
        for slot in range(first_slot[i + lane], first_slot[i + lane + 1]):
            low = low + load_f8(moments, slot * MOMENTS)
            high = high + load_f8(moments, slot * MOMENTS + 8)
            any_seen = True
        store_f8(out, lane * MOMENTS, low)
        store_f8(out, lane * MOMENTS + 8, high)
    return any_seen


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _to_quaternion(v_m: tuple, m: tuple, s: tuple, q: tuple, shrink: Any) -> tuple:
    """Gradients of log-scales (3) and of the quaternion as it is stored (4) from that of M = R(q) diag(s)."""
    w, x, y, z = q
    v0 = v_m[0] * m[0] + v_m[3] * m[3] + v_m[6] * m[6]
    v1 = v_m[1] * m[1] + v_m[4] * m[4] + v_m[7] * m[7]
    v2 = v_m[2] * m[2] + v_m[5] * m[5] + v_m[8] * m[8]
    r0, r1, r2 = v_m[0] * s[0], v_m[1] * s[1], v_m[2] * s[2]
    r3, r4, r5 = v_m[3] * s[0], v_m[4] * s[1], v_m[5] * s[2]
    r6, r7, r8 = v_m[6] * s[0], v_m[7] * s[1], v_m[8] * s[2]
    two = constant(2.0)
    v_w = two * (x * (r7 - r5) + y * (r2 - r6) + z * (r3 - r1))
    v_x = two * (y * (r1 + r3) + z * (r2 + r6) + w * (r7 - r5) - two * x * (r4 + r8))
    v_y = two * (x * (r1 + r3) + z * (r5 + r7) + w * (r2 - r6) - two * y * (r0 + r8))
    v_z = two * (x * (r2 + r6) + y * (r5 + r7) + w * (r3 - r1) - two * z * (r0 + r4))
    along = w * v_w + x * v_x + y * v_y + z * v_z
    v_w, v_x = (v_w - w * along) * shrink, (v_x - x * along) * shrink
    return v0, v1, v2, v_w, v_x, (v_y - y * along) * shrink, (v_z - z * along) * shrink


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _back_times(row: np.ndarray, k: int, a: Any, b: Any, c: Any) -> Any:
    """One column of the camera's rotation against (a, b, c)."""
    return splat_f8(row[k]) * a + splat_f8(row[3 + k]) * b + splat_f8(row[6 + k]) * c


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def project_backward(
    means: np.ndarray,
    quats: np.ndarray,
    log_scales: np.ndarray,
    logits: np.ndarray,
    sh: np.ndarray,
    degree: int,
    cameras: np.ndarray,
    first_slot: np.ndarray,
    moments: np.ndarray,
    with_poses: bool,
    v_means: np.ndarray,
    v_quats: np.ndarray,
    v_log_scales: np.ndarray,
    v_logits: np.ndarray,
    v_sh: np.ndarray,
    v_screen: np.ndarray,
    v_poses: np.ndarray,
) -> None:
    """Fills the gradients, shaped like what they belong to; v_screen [B, N, 2] in pixels or [0, 0, 0] for none;
    v_poses [chunks, B, POSE, 8] where `with_poses`, to be summed over chunks and lanes."""
    n_all, count, used = len(means), sh.shape[1], (degree + 1) ** 2
    for chunk in numba.prange((n_all + CHUNK - 1) // CHUNK):
        basis, weights = np.empty(128, np.float32), np.empty(128, np.float32)
        v_coefficients, rows = np.empty(48 * 8, np.float32), np.empty(8 * MOMENTS, np.float32)
        zero = constant(0.0)
        for block in range(chunk * (CHUNK // 8), min((chunk + 1) * (CHUNK // 8), (n_all + 7) // 8)):
            n = min(8 * block, n_all - 8)
            fresh = at_least_f8(lanes_f8(), constant(8 * block - n))  # the last block overlaps the one before
            q, shrink, r = _pose(quats, n)
            s = _scales(log_scales, n)
            m = (
                r[0] * s[0], r[1] * s[1], r[2] * s[2],
                r[3] * s[0], r[4] * s[1], r[5] * s[2],
                r[6] * s[0], r[7] * s[1], r[8] * s[2],
            )  # fmt: skip
            mean_x, mean_y = strided_load_f8(means, 3 * n, 3), strided_load_f8(means, 3 * n + 1, 3)
            mean_z = strided_load_f8(means, 3 * n + 2, 3)
            g_x, g_y, g_z, g_l = zero, zero, zero, zero
            g0, g1, g2, g3, g4, g5, g6, g7, g8 = zero, zero, zero, zero, zero, zero, zero, zero, zero
            v_coefficients[:] = 0
            for camera in range(len(cameras)):
                i = camera * n_all + n
                if not _collect(first_slot, moments, i, rows):
                    if len(v_screen) > 0:
                        strided_store_f8(v_screen, 2 * i, 2, zero)
                        strided_store_f8(v_screen, 2 * i + 1, 2, zero)
                    continue
                row = cameras[camera]
                # sums over pixels of the derivative with respect to log(alpha), times 1, dx, dy, dx^2, dx dy, dy^2
                sum_1, sum_x = strided_load_f8(rows, 0, MOMENTS), strided_load_f8(rows, 1, MOMENTS)
                sum_y, sum_xx = strided_load_f8(rows, 2, MOMENTS), strided_load_f8(rows, 3, MOMENTS)
                sum_xy, sum_yy = strided_load_f8(rows, 4, MOMENTS), strided_load_f8(rows, 5, MOMENTS)
                x, y, z = _place(means, n, row, 0), _place(means, n, row, 1), _place(means, n, row, 2)
                v0, v1, v2, u0, u1, j00, j02, j11, j12, inverse = _spread(m, row, x, y, z)
                a, b, c = _dot(u0, u0) + constant(DILATION_), _dot(u0, u1), _dot(u1, u1) + constant(DILATION_)
                d = constant(1.0) / (a * c - b * b)
                # log(alpha) = -(c dx^2 - 2 b dx dy + a dy^2) / (2 det) + log(opacity)
                seen = less_f8(constant(0.0), d) & less_f8(constant(0.0), z)
                v_px = _kept((c * sum_x - b * sum_y) * d, seen)
                v_py = _kept((a * sum_y - b * sum_x) * d, seen)
                half = constant(-0.5) * d
                k_c, k_b, k_a = half * sum_xx, d * sum_xy, half * sum_yy  # gradients of c, b, a at a fixed det
                along = (k_c * c + k_b * b + k_a * a) * d
                v_a, v_c = _kept(k_a - along * c, seen), _kept(k_c - along * a, seen)
                v_b = _kept(k_b + (along + along) * b, seen)
                if len(v_screen) > 0:
                    strided_store_f8(v_screen, 2 * i, 2, v_px)
                    strided_store_f8(v_screen, 2 * i + 1, 2, v_py)
                # covariance = U U^T, U0 = j00 V0 + j02 V2, U1 = j11 V1 + j12 V2, V = W M
                a2, c2 = v_a + v_a, v_c + v_c
                w0 = (a2 * u0[0] + v_b * u1[0], a2 * u0[1] + v_b * u1[1], a2 * u0[2] + v_b * u1[2])
                w1 = (c2 * u1[0] + v_b * u0[0], c2 * u1[1] + v_b * u0[1], c2 * u1[2] + v_b * u0[2])
                v_j00, v_j02, v_j11, v_j12 = _dot(w0, v0), _dot(w0, v2), _dot(w1, v1), _dot(w1, v2)
                p0, p1, p2 = j00 * w0[0], j00 * w0[1], j00 * w0[2]  # gradients of V0, V1, V2
                q0, q1, q2 = j11 * w1[0], j11 * w1[1], j11 * w1[2]
                t0, t1, t2 = j02 * w0[0] + j12 * w1[0], j02 * w0[1] + j12 * w1[1], j02 * w0[2] + j12 * w1[2]
                g0, g1, g2 = (
                    g0 + _back_times(row, 0, p0, q0, t0),
                    g1 + _back_times(row, 0, p1, q1, t1),
                    g2 + _back_times(row, 0, p2, q2, t2),
                )
                g3, g4, g5 = (
                    g3 + _back_times(row, 1, p0, q0, t0),
                    g4 + _back_times(row, 1, p1, q1, t1),
                    g5 + _back_times(row, 1, p2, q2, t2),
                )
                g6, g7, g8 = (
                    g6 + _back_times(row, 2, p0, q0, t0),
                    g7 + _back_times(row, 2, p1, q1, t1),
                    g8 + _back_times(row, 2, p2, q2, t2),
                )
                # j00 = fx / z, j02 = -fx u / z with u = x / z inside its limits; centre = fx x / z + cx
                u, v = x * inverse, y * inverse
                free_u = at_least_f8(u, splat_f8(row[19])) & at_least_f8(splat_f8(row[20]), u)
                free_v = at_least_f8(v, splat_f8(row[21])) & at_least_f8(splat_f8(row[22]), v)
                v_u = j00 * (v_px - inverse * _kept(v_j02, free_u))
                v_v = j11 * (v_py - inverse * _kept(v_j12, free_v))
                # v_u and v_v are gradients of x and y themselves; u falls with z as x / z^2
                v_z = zero - u * v_u - v * v_v - inverse * (j00 * v_j00 + j02 * v_j02 + j11 * v_j11 + j12 * v_j12)
                v_z = v_z + strided_load_f8(rows, 9, MOMENTS)
                v_x, v_y, v_z = _kept(v_u, seen), _kept(v_v, seen), _kept(v_z, seen)
                g_l = g_l + sum_1
                # colour
                dx, dy, dz, nearness = _direction(means, n, row)
                sh_basis_f8(degree, dx, dy, dz, basis)
                for k in range(used):
                    store_f8(weights, 8 * k, zero)
                for channel in range(3):
                    lit = less_f8(zero, _color(sh, n, channel, count, used, basis))
                    v_color = _kept(strided_load_f8(rows, 6 + channel, MOMENTS), lit)
                    for k in range(used):
                        at = 8 * (3 * k + channel)
                        store_f8(
                            v_coefficients, at, fma_f8(v_color, load_f8(basis, 8 * k), load_f8(v_coefficients, at))
                        )
                        if used > 1:
                            coefficient = strided_load_f8(sh, (n * count + k) * 3 + channel, 3 * count)
                            store_f8(weights, 8 * k, fma_f8(v_color, coefficient, load_f8(weights, 8 * k)))
                e_x, e_y, e_z = zero, zero, zero
                if used > 1:
                    s_x, s_y, s_z = sh_slope_f8(degree, dx, dy, dz, weights)
                    radial = s_x * dx + s_y * dy + s_z * dz
                    e_x, e_y = (s_x - radial * dx) * nearness, (s_y - radial * dy) * nearness
                    e_z = (s_z - radial * dz) * nearness
                g_x = g_x + e_x + _back_times(row, 0, v_x, v_y, v_z)
                g_y = g_y + e_y + _back_times(row, 1, v_x, v_y, v_z)
                g_z = g_z + e_z + _back_times(row, 2, v_x, v_y, v_z)
                if with_poses:
                    out = v_poses[chunk, camera].reshape(-1)
                    v_x, v_y, v_z = _kept(v_x, fresh), _kept(v_y, fresh), _kept(v_z, fresh)
                    _add(out, 0, v_x * mean_x + _kept(p0 * m[0] + p1 * m[1] + p2 * m[2], fresh))
                    _add(out, 1, v_x * mean_y + _kept(p0 * m[3] + p1 * m[4] + p2 * m[5], fresh))
                    _add(out, 2, v_x * mean_z + _kept(p0 * m[6] + p1 * m[7] + p2 * m[8], fresh))
                    _add(out, 3, v_y * mean_x + _kept(q0 * m[0] + q1 * m[1] + q2 * m[2], fresh))
                    _add(out, 4, v_y * mean_y + _kept(q0 * m[3] + q1 * m[4] + q2 * m[5], fresh))
                    _add(out, 5, v_y * mean_z + _kept(q0 * m[6] + q1 * m[7] + q2 * m[8], fresh))
                    _add(out, 6, v_z * mean_x + _kept(t0 * m[0] + t1 * m[1] + t2 * m[2], fresh))
                    _add(out, 7, v_z * mean_y + _kept(t0 * m[3] + t1 * m[4] + t2 * m[5], fresh))
                    _add(out, 8, v_z * mean_z + _kept(t0 * m[6] + t1 * m[7] + t2 * m[8], fresh))
                    _add(out, 9, v_x)
                    _add(out, 10, v_y)
                    _add(out, 11, v_z)
                    _add(out, 12, zero - _kept(e_x, fresh))
                    _add(out, 13, zero - _kept(e_y, fresh))
                    _add(out, 14, zero - _kept(e_z, fresh))
            v_s0, v_s1, v_s2, v_qw, v_qx, v_qy, v_qz = _to_quaternion(
                (g0, g1, g2, g3, g4, g5, g6, g7, g8), m, s, q, shrink
            )
            strided_store_f8(v_means, 3 * n, 3, g_x)
            strided_store_f8(v_means, 3 * n + 1, 3, g_y)
            strided_store_f8(v_means, 3 * n + 2, 3, g_z)
            strided_store_f8(v_log_scales, 3 * n, 3, v_s0)
            strided_store_f8(v_log_scales, 3 * n + 1, 3, v_s1)
            strided_store_f8(v_log_scales, 3 * n + 2, 3, v_s2)
            strided_store_f8(v_quats, 4 * n, 4, v_qw)
            strided_store_f8(v_quats, 4 * n + 1, 4, v_qx)
            strided_store_f8(v_quats, 4 * n + 2, 4, v_qy)
            strided_store_f8(v_quats, 4 * n + 3, 4, v_qz)
            # d log(sigmoid(x)) / dx = 1 - sigmoid(x) = 1 / (1 + e^x)
            store_f8(v_logits, n, g_l / (constant(1.0) + exp_f8(load_f8(logits, n))))
            for k in range(count):
                for channel in range(3):
                    at = (n * count + k) * 3 + channel
                    value = load_f8(v_coefficients, 8 * (3 * k + channel)) if k < used else zero
                    strided_store_f8(v_sh, at, 3 * count, value)
