"""Where a camera stands as seen from another."""

import math

import pytest

from distill3d.core.cameras import Cameras
from distill3d.diffusion.relative_view import relative_pose


def orbit(azimuth, elevation=20.0, distance=3.0):
    return Cameras.orbit(math.radians(azimuth), math.radians(elevation), distance)


def test_the_relative_pose_is_the_papers():
    polar, turn, farther = relative_pose(orbit(-170, 50, 3.5), orbit(150, 20))
    assert float(polar) == pytest.approx(math.radians(-30), abs=1e-5)  # rising is away from a larger polar angle
    assert float(turn) == pytest.approx(math.radians(40), abs=1e-5)  # the short way over 180 degrees
    assert float(farther) == pytest.approx(0.5, abs=1e-5)
