"""Cameras: where they stand, where they look, and what their rays are."""

import math

import pytest
import torch

from distill3d.core.cameras import Cameras


def project(cameras: Cameras, point: torch.Tensor) -> torch.Tensor:
    """Pixel of a world point in camera 0, written out independently of `rays`."""
    local = torch.linalg.inv(cameras.camera_to_world[0]) @ torch.cat([point, torch.ones(1)])
    x, y, z = local[:3]
    k = cameras.intrinsics[0]
    return torch.stack([k[0, 0] * x / -z + k[0, 2], k[1, 1] * -y / -z + k[1, 2]])


def test_azimuth_zero_stands_on_plus_x_and_sees_y_to_the_right():
    cameras = Cameras.orbit(0.0, 0.0, 3.0, size=64)
    assert torch.allclose(cameras.position, torch.tensor([[3.0, 0.0, 0.0]]))
    assert project(cameras, torch.tensor([0.0, 0.5, 0.0]))[0] > 32  # right half
    assert project(cameras, torch.tensor([0.0, 0.0, 0.5]))[1] < 32  # upper half


def test_derived_angles_are_those_it_was_made_from():
    azimuth, elevation = torch.tensor([-3.0, -1.0, 0.2, 2.5]), torch.tensor([-0.3, 0.0, 0.7, 1.4])
    distance, fov = torch.tensor([2.0, 3.0, 4.0, 5.0]), torch.tensor([0.5, 0.7, 0.9, 1.2])
    cameras = Cameras.orbit(azimuth, elevation, distance, fov, (48, 64))
    for derived, given in (
        (cameras.azimuth, azimuth),
        (cameras.elevation, elevation),
        (cameras.distance, distance),
        (cameras.fov, fov),
    ):
        assert torch.allclose(derived, given, atol=1e-5)


def test_rays_meet_the_points_that_project_to_their_pixels():
    cameras = Cameras.orbit(0.7, 0.4, 3.0, 0.8, (48, 64))
    origins, directions = cameras.rays()
    assert origins.shape == directions.shape == (1, 48, 64, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(1, 48, 64), atol=1e-6)
    point = origins[0, 10, 50] + 2.5 * directions[0, 10, 50]
    assert torch.allclose(project(cameras, point), torch.tensor([50.5, 10.5]), atol=1e-3)
    beside = origins[0, 10, 50] + 2.5 * directions[0, 10, 51]  # negative control: the neighbour's ray
    assert not torch.allclose(project(cameras, beside), torch.tensor([50.5, 10.5]), atol=0.1)


def test_rotations_are_rigid_and_look_at_the_origin():
    cameras = Cameras.orbit(torch.linspace(-3, 3, 7), torch.linspace(-1.2, 1.2, 7))
    rotation = cameras.camera_to_world[:, :3, :3]
    assert torch.allclose(rotation.mT @ rotation, torch.eye(3).expand(7, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(7), atol=1e-5)
    backward = cameras.position / cameras.distance[:, None]
    assert torch.allclose(rotation[:, :, 2], backward, atol=1e-5)


def test_resizing_keeps_the_rays():
    cameras = Cameras.orbit(0.3, 0.2, size=32)
    larger = cameras.resized(64)
    assert torch.allclose(larger.fov, cameras.fov)
    corners = larger.rays()[1][0].reshape(32, 2, 32, 2, 3).mean((1, 3))
    corners = corners / corners.norm(dim=-1, keepdim=True)
    assert torch.allclose(corners, cameras.rays()[1][0], atol=1e-4)


@pytest.mark.parametrize("index", [0, -1, slice(1, 3), torch.tensor([2, 0])])
def test_indexing_keeps_a_batch(index):
    cameras = Cameras.orbit(torch.tensor([0.0, 1.0, 2.0]))
    expected = torch.tensor([0.0, 1.0, 2.0])[index].reshape(-1)
    assert torch.allclose(cameras[index].azimuth, expected, atol=1e-6)
    assert len(cameras[index]) == len(expected)


def test_degrees_would_be_noticed():
    assert not math.isclose(float(Cameras.orbit(0.0, fov=45.0).fov), math.radians(45.0), abs_tol=0.1)


def test_projection_is_where_the_ray_through_a_pixel_goes():
    cameras = Cameras.orbit(torch.tensor([0.3, 2.0]), torch.tensor([0.2, -0.4]), 2.5, 0.8, (20, 30))
    origins, directions = cameras.rays()
    for k in range(2):
        points = (origins[k] + torch.linspace(0.5, 4, 600).view(20, 30, 1) * directions[k]).reshape(-1, 3)
        places, ahead = cameras.project(points)
        row, column = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(30) + 0.5, indexing="ij")
        expected = torch.stack([column, row], -1).reshape(-1, 2)
        assert torch.allclose(places[k], expected, atol=1e-3)
        assert not torch.allclose(places[1 - k], expected, atol=1.0)  # control: the other camera sees them elsewhere
        assert float(ahead[k].min()) > 0
    behind = cameras.position - 1.0 * (0 - cameras.position)  # away from the origin, which they look at
    assert float(cameras.project(behind)[1].diagonal().max()) < 0


def test_a_zoomed_camera_sees_the_picture_before_it_was_moved():
    """A point that the camera sees at a place, the zoomed one sees where that place was before zoom and shift."""
    camera, points = Cameras.orbit(0.3, 0.2, 3.0, 0.8, 32), torch.tensor([[0.1, 0.4, -0.2], [-0.3, 0.0, 0.5]])
    after = camera.project(points)[0][0] / (16) - 1
    before = camera.zoomed(0.8, (0.1, -0.2)).project(points)[0][0] / (16) - 1
    assert torch.allclose(0.8 * before + torch.tensor([0.1, -0.2]), after, atol=1e-4)
    back = camera.zoomed(0.8, (0.1, -0.2)).zoomed(1 / 0.8, (-0.1 / 0.8, 0.2 / 0.8))
    assert torch.allclose(back.intrinsics, camera.intrinsics, atol=1e-3)
