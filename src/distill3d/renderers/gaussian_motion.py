"""Gaussians moved by a similarity: places, sizes, orientations, and the colours that depend on the direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from distill3d.files.captures import Normalization
from distill3d.files.splats import Splats
from distill3d.kernels.spherical_harmonics import degree_of, sh_basis

DIRECTIONS = 64  # over which colours are compared; 16 functions need 16


def moved(splats: Splats, placing: Normalization) -> Splats:
    """The same scene after x -> scale * rotation (x - center)."""
    turn = Rotation.from_matrix(placing.rotation)
    quats = (turn * Rotation.from_quat(splats.quats[:, [1, 2, 3, 0]])).as_quat()[:, [3, 0, 1, 2]]
    straight = np.allclose(placing.rotation, np.eye(3), atol=1e-12)
    return replace(
        splats,
        means=placing.points(splats.means.astype(np.float64)).astype(np.float32),
        quats=splats.quats if straight else quats.astype(np.float32),
        log_scales=splats.log_scales + np.float32(np.log(placing.scale)),
        sh=splats.sh if straight else turned_colors(splats.sh, placing.rotation),
    )


def turned_colors(sh: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Coefficients [N, K, 3] whose colour in direction R d is that of the given ones in direction d.

    Turning a spherical harmonic gives a sum of those of the same degree, so that a least-squares fit over enough
    directions is exact.
    """
    degree = degree_of(sh.shape[1])
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(DIRECTIONS, 3, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=-1, keepdim=True)
    there = sh_basis(directions @ torch.from_numpy(rotation).T, degree).numpy()
    here = sh_basis(directions, degree).numpy()
    matrix = np.linalg.lstsq(there, here, rcond=None)[0]  # [K, K]
    return np.einsum("kj,njc->nkc", matrix, sh.astype(np.float64)).astype(np.float32)
