"""Where a camera stands as seen from another."""

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.relative_view import reference_vector, relative_pose, turned_view
from distill3d.diffusion.view import view_vector


def orbit(azimuth, elevation=20.0, distance=3.0):
    return Cameras.orbit(math.radians(azimuth), math.radians(elevation), distance)


def test_the_relative_pose_is_the_papers():
    polar, turn, farther = relative_pose(orbit(-170, 50, 3.5), orbit(150, 20))
    assert float(polar) == pytest.approx(math.radians(-30), abs=1e-5)  # rising is away from a larger polar angle
    assert float(turn) == pytest.approx(math.radians(40), abs=1e-5)  # the short way over 180 degrees
    assert float(farther) == pytest.approx(0.5, abs=1e-5)


def test_a_known_front_turns_into_the_view_of_the_other_camera():
    reference, other = orbit(35, -5, 2.5), orbit(-100, 40)
    front = view_vector(reference)[:, 1:9]
    told = turned_view(front, other, reference, 0.25)
    assert torch.allclose(told, view_vector(other, 0.25), atol=1e-5)
    assert not torch.allclose(turned_view(front, other, other, 0.25), told, atol=0.1)
    unknown = turned_view(torch.zeros(1, 8), other, reference)
    assert unknown[0, 1:9].tolist() == [0] * 8
    assert torch.equal(unknown[0, 9:], view_vector(other)[0, 9:])


def test_of_the_reference_everything_but_azimuth_and_light_is_said():
    assert reference_vector(orbit(0, 30)).shape == (1, 6)
    assert torch.allclose(reference_vector(orbit(10, 30)), reference_vector(orbit(120, 30)), atol=1e-6)
    assert not torch.allclose(reference_vector(orbit(10, 30)), reference_vector(orbit(10, 10)), atol=0.1)
