"""The camera vector."""

import math

import torch

from distill3d.core.cameras import Cameras
from distill3d.diffusion.view import VIEW_SIZE, null_view, view_vector


def test_its_numbers_are_the_documented_ones():
    cameras = Cameras.orbit(math.radians(30), math.radians(20), distance=6.0, fov=math.radians(60))
    a, e = math.radians(30), math.radians(20)
    expected = [1.0]
    expected += [f(k * a) for k in (1, 2, 3, 4) for f in (math.sin, math.cos)]
    expected += [f(k * e) for k in (1, 2) for f in (math.sin, math.cos)]
    expected += [math.log(2), math.log(math.tan(math.radians(30)) / math.tan(math.radians(22.5))), 0.25]
    assert torch.allclose(view_vector(cameras, 0.25), torch.tensor([expected]), atol=1e-5)


def test_the_usual_camera_has_no_distance_or_lens_to_speak_of():
    view = view_vector(Cameras.orbit(torch.tensor([0.0, 1.0])))
    assert view.shape == (2, VIEW_SIZE)
    assert view[:, 13:15].abs().max() < 1e-6
    assert (view[:, 15] == 1).all()


def test_opposite_views_differ_and_a_full_turn_does_not():
    azimuth = torch.tensor([0.3, 0.3 + math.pi, 0.3 + 2 * math.pi])
    front, back, again = view_vector(Cameras.orbit(azimuth, 0.2))
    assert torch.allclose(front, again, atol=1e-5)
    assert (front - back).norm() > 1


def test_light_may_differ_from_view_to_view():
    view = view_vector(Cameras.orbit(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]))
    assert view[:, 15].tolist() == [0.0, 1.0]


def test_no_camera_is_all_zeros_and_no_camera_looks_like_it():
    assert null_view(3).shape == (3, VIEW_SIZE)
    assert not null_view(3).any()
    assert (view_vector(Cameras.orbit(torch.linspace(0, 6, 50)))[:, 0] == 1).all()
