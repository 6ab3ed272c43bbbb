"""Real spherical harmonics to degree 3, as 3D Gaussian splatting orders and signs them (Kerbl et al. 2023).

The basis is written as polynomials in the direction (x, y, z). On the sphere many polynomials agree; their gradients
differ only along the direction, which the normalisation of the direction removes.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from distill3d.kernels.simd import load_f8, store_f8
from distill3d.kernels.splatting_simd import constant

MAX_DEGREE = 3
C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


def degree_of(count: int) -> int:
    """The degree that `count` = (degree + 1)^2 coefficients reach; -1 for any other count."""
    return {1: 0, 4: 1, 9: 2, 16: 3}.get(count, -1)


def color_of_constant(coefficients: Tensor) -> Tensor:
    """Colour in 0..1 of the coefficient of degree 0, the same from every side."""
    return coefficients * C0 + 0.5


def constant_of_color(color: Tensor) -> Tensor:
    """The inverse of `color_of_constant`."""
    return (color - 0.5) / C0


def sh_basis(directions: Tensor, degree: int) -> Tensor:
    """The basis functions, [..., (degree + 1)^2], at unit directions [..., 3]: the plain torch reference."""
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, C0)]
    if degree > 0:
        values += [-C1 * y, C1 * z, -C1 * x]
    if degree > 1:
        values += [C2[0] * x * y, -C2[0] * y * z, C2[1] * (2 * z * z - x * x - y * y), -C2[0] * x * z]
        values += [C2[2] * (x * x - y * y)]
    if degree > 2:
        r = 4 * z * z - x * x - y * y
        values += [-C3[0] * y * (3 * x * x - y * y), C3[1] * x * y * z, -C3[2] * y * r]
        values += [C3[3] * z * (2 * z * z - 3 * x * x - 3 * y * y), -C3[2] * x * r, C3[4] * z * (x * x - y * y)]
        values += [-C3[0] * x * (x * x - 3 * y * y)]
    return torch.stack(values, -1)


def sh_color(coefficients: Tensor, directions: Tensor, degree: int) -> Tensor:
    """Colours max(0, 1/2 + sum_k b_k(direction) coefficient_k), [..., 3].

    Args:
        coefficients: [..., K, 3], K >= (degree + 1)^2; directions: [..., 3], unit.
    """
    basis = sh_basis(directions, degree)
    return ((coefficients[..., : basis.shape[-1], :] * basis[..., None]).sum(-2) + 0.5).clamp(min=0)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sh_basis_f8(degree: int, x: Any, y: Any, z: Any, out: np.ndarray) -> None:
    """The basis at eight unit directions into `out` [16 * 8], function after function."""
    store_f8(out, 0, constant(C0))
    if degree > 0:
        store_f8(out, 8, constant(-C1) * y)
        store_f8(out, 16, constant(C1) * z)
        store_f8(out, 24, constant(-C1) * x)
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        store_f8(out, 32, constant(C2[0]) * x * y)
        store_f8(out, 40, constant(-C2[0]) * y * z)
        store_f8(out, 48, constant(C2[1]) * (zz + zz - xx - yy))
        store_f8(out, 56, constant(-C2[0]) * x * z)
        store_f8(out, 64, constant(C2[2]) * (xx - yy))
        if degree > 2:
            r = constant(4.0) * zz - xx - yy
            store_f8(out, 72, constant(-C3[0]) * y * (constant(3.0) * xx - yy))
            store_f8(out, 80, constant(C3[1]) * x * y * z)
            store_f8(out, 88, constant(-C3[2]) * y * r)
            store_f8(out, 96, constant(C3[3]) * z * (zz + zz - constant(3.0) * (xx + yy)))
            store_f8(out, 104, constant(-C3[2]) * x * r)
            store_f8(out, 112, constant(C3[4]) * z * (xx - yy))
            store_f8(out, 120, constant(-C3[0]) * x * (xx - constant(3.0) * yy))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sh_slope_f8(degree: int, x: Any, y: Any, z: Any, w: np.ndarray) -> tuple:
    """Gradient of sum_k w_k b_k with respect to the direction; `w` [16 * 8] as `sh_basis_f8` lays it out."""
    vx, vy, vz = constant(0.0), constant(0.0), constant(0.0)
    if degree > 0:
        vx, vy, vz = constant(-C1) * load_f8(w, 24), constant(-C1) * load_f8(w, 8), constant(C1) * load_f8(w, 16)
    if degree > 1:
        w4, w5 = constant(C2[0]) * load_f8(w, 32), constant(-C2[0]) * load_f8(w, 40)
        w6, w7 = constant(2.0 * C2[1]) * load_f8(w, 48), constant(-C2[0]) * load_f8(w, 56)
        w8 = constant(2.0 * C2[2]) * load_f8(w, 64)
        vx = vx + w4 * y - w6 * x + w7 * z + w8 * x
        vy = vy + w4 * x + w5 * z - w6 * y - w8 * y
        vz = vz + w5 * y + (w6 + w6) * z + w7 * x
        if degree > 2:
            xx, yy, zz = x * x, y * y, z * z
            r = constant(4.0) * zz - xx - yy
            w9, w10 = constant(-C3[0]) * load_f8(w, 72), constant(C3[1]) * load_f8(w, 80)
            w11, w12 = constant(-C3[2]) * load_f8(w, 88), constant(C3[3]) * load_f8(w, 96)
            w13, w14 = constant(-C3[2]) * load_f8(w, 104), constant(C3[4]) * load_f8(w, 112)
            w15 = constant(-C3[0]) * load_f8(w, 120)
            six, two, three = constant(6.0), constant(2.0), constant(3.0)
            vx = vx + w9 * six * x * y + w10 * y * z - w11 * two * x * y - w12 * six * x * z
            vx = vx + w13 * (r - two * xx) + w14 * two * x * z + w15 * three * (xx - yy)
            vy = vy + w9 * three * (xx - yy) + w10 * x * z + w11 * (r - two * yy) - w12 * six * y * z
            vy = vy - w13 * two * x * y - w14 * two * y * z - w15 * six * x * y
            vz = vz + w10 * x * y + (w11 * y + w13 * x) * constant(8.0) * z
            vz = vz + w12 * (six * zz - three * (xx + yy)) + w14 * (xx - yy)
    return vx, vy, vz
