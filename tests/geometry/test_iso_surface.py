import numpy as np
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.geometry.density_threshold import density_threshold
from distill3d.geometry.iso_surface import density_surface, iso_surface, sample_grid, signed_volume

R = 48
VOXEL = 2 / (R - 1)


def ball(points):
    return 0.5 - points.norm(dim=-1)


def radius_error(mesh):
    return np.abs(np.linalg.norm(mesh.vertices, axis=-1) - 0.5).max()


def test_sphere_is_where_it_should_be_and_faces_outwards():
    mesh = iso_surface(sample_grid(ball, R), 0.0)
    assert radius_error(mesh) < 0.05 * VOXEL
    assert signed_volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.01)
    shifted = iso_surface(sample_grid(lambda p: ball(p + VOXEL), R), 0.0)  # negative control
    assert radius_error(shifted) > VOXEL


def test_axes_keep_their_order():
    mesh = iso_surface(sample_grid(lambda p: 1 - (p / torch.tensor([0.2, 0.4, 0.8])).norm(dim=-1), R), 0.0)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([0.4, 0.8, 1.6], abs=VOXEL / 2)


@pytest.mark.parametrize("density", [lambda p: 30 * (ball(p) > 0), lambda p: 30 * torch.sigmoid(ball(p) / 0.02)])
def test_density_surface_of_a_hard_or_soft_ball_is_within_half_a_voxel(density):
    mesh = density_surface(sample_grid(density, R), 15.0)
    assert radius_error(mesh) < 0.87 * VOXEL  # a hard edge is known to half a voxel along each axis
    assert np.linalg.norm(mesh.vertices, axis=-1).mean() == pytest.approx(0.5, abs=VOXEL / 4)


def test_surface_is_closed_where_the_inside_touches_the_cube():
    mesh = iso_surface(sample_grid(lambda p: 0.5 - p[:, 0].abs(), R), 0.0)
    assert signed_volume(mesh) == pytest.approx(4.0, rel=0.03)
    assert np.abs(mesh.vertices).max() <= 1


def test_refining_only_where_something_is_gives_the_same_surface_with_fewer_questions():
    asked = []

    def density(points):
        asked.append(len(points))
        return 40 * torch.sigmoid(ball(points) / 0.02)

    whole = sample_grid(density, R)
    every, asked[:] = sum(asked), []
    refined = sample_grid(density, R, refine_above=0.1)
    assert sum(asked) < 0.6 * every
    assert np.array_equal(refined[whole > 0.2], whole[whole > 0.2])
    assert np.abs(refined - whole).max() < 0.1


@pytest.mark.parametrize("peak", [10.0, 40.0, 300.0])
@pytest.mark.parametrize("width", [0.01, 0.05])
def test_threshold_matches_the_silhouette_of_the_rendering(peak, width):
    density = sample_grid(lambda p: peak * torch.sigmoid(ball(p) / width), R)
    level, rule = density_threshold(density)

    def shown_and_hit(at):  # along the x axis, which is none of the rule's own directions
        return 1 - np.exp(-density.sum(0) * VOXEL) > 0.5, density.max(0) > at

    def iou(at):
        shown, hit = shown_and_hit(at)
        return (shown & hit).sum() / (shown | hit).sum()

    assert iou(level) > 0.93
    assert f"{level:.3g}" in rule
    assert iou(peak / 2) < iou(level) or iou(peak / 2) > 0.93  # half the peak is right for hard edges alone
    if width == 0.05 and peak == 300:
        assert iou(peak / 2) < 0.7


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (lambda p: 0.01 * torch.ones(len(p)), "empty"),
        (lambda p: 50 * torch.ones(len(p)), "exploded"),
        (lambda p: 50 * (p.abs().max(-1).values > 0.8), "touches all walls"),
        (lambda p: p[:, 0] / 0 * 0, "not finite"),
    ],
)
def test_empty_exploded_and_broken_densities_say_what_to_try(field, message):
    with pytest.raises(UserError, match=message):
        density_threshold(sample_grid(field, 24))
    density_threshold(sample_grid(lambda p: 50.0 * (ball(p) > 0), 24))  # negative control


def test_a_level_outside_the_values_is_an_error():
    grid = sample_grid(ball, 16)
    with pytest.raises(UserError, match="nothing lies above"):
        iso_surface(grid, 2.0)
    with pytest.raises(UserError, match="everything lies above"):
        iso_surface(grid, -2.0)
    with pytest.raises(UserError, match="nothing is denser"):
        density_surface(grid.clip(0), 3.0)
