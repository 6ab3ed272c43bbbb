"""Moved Gaussians seen by a camera that moved along give the same picture; moved back they are what they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from distill3d.core.cameras import Cameras
from distill3d.files.captures import Normalization
from distill3d.files.splats import Splats
from distill3d.renderers import GaussianRenderer
from distill3d.renderers.gaussian_motion import moved, turned_colors

PLACING = Normalization(Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix(), np.array([0.3, -0.2, 0.5]), 1.7)


@pytest.fixture
def splats() -> Splats:
    rng = np.random.default_rng(0)
    count = 60
    return Splats(
        rng.uniform(-0.5, 0.5, (count, 3)).astype(np.float32),
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.uniform(-3.5, -1.5, (count, 3)).astype(np.float32),
        rng.normal(size=count).astype(np.float32),
        rng.normal(scale=0.4, size=(count, 16, 3)).astype(np.float32),
    )


def picture(splats: Splats, cameras: Cameras) -> torch.Tensor:
    with torch.no_grad():
        return GaussianRenderer.from_splats(splats).eval()(cameras, background=torch.zeros(3)).rgb


def along(cameras: Cameras, placing: Normalization) -> Cameras:
    poses = placing.poses(cameras.camera_to_world.double().numpy())
    return replace(cameras, camera_to_world=torch.from_numpy(poses).float())


def test_a_camera_that_moves_along_sees_the_same(splats) -> None:
    cameras = Cameras.orbit(torch.tensor([0.4, 2.5]), 0.3, 2.5, 0.8, 48)
    before = picture(splats, cameras)
    # 0.3 pixels of dilation are added in the picture, so that only the size in pixels matters
    after = picture(moved(splats, PLACING), along(cameras, PLACING))
    assert float((after - before).abs().max()) < 2e-3
    unturned = replace(moved(splats, PLACING), sh=splats.sh)  # negative control: colours that stayed behind
    assert float((picture(unturned, along(cameras, PLACING)) - before).abs().max()) > 0.05


def test_there_and_back(splats) -> None:
    again = moved(moved(splats, PLACING), PLACING.inverse)
    assert np.allclose(again.means, splats.means, atol=1e-6)
    assert np.allclose(again.log_scales, splats.log_scales, atol=1e-6)
    assert np.allclose(again.sh, splats.sh, atol=1e-5)


def test_a_move_without_a_turn_leaves_orientations_and_colours_to_the_bit(splats) -> None:
    shifted = moved(splats, Normalization(np.eye(3), np.array([1.0, 2.0, 3.0]), 2.0))
    assert np.array_equal(shifted.quats, splats.quats)
    assert np.array_equal(shifted.sh, splats.sh)
    assert np.allclose(shifted.means, 2 * (splats.means - [1, 2, 3]), atol=1e-6)


@pytest.mark.parametrize("count", [1, 4, 9, 16])
def test_turned_colors_keep_their_strength_in_each_degree(splats, count) -> None:
    sh = splats.sh[:, :count]
    turned = turned_colors(sh, PLACING.rotation)
    for low, high in ((0, 1), (1, 4), (4, 9), (9, 16)):
        assert np.allclose((turned[:, low:high] ** 2).sum(1), (sh[:, low:high] ** 2).sum(1), atol=1e-4)
