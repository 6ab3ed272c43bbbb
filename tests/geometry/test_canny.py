"""Canny's edges: one pixel wide where the picture has them, none elsewhere."""

import numpy as np

from distill3d.geometry.canny import canny


def disc(size=64, radius=20.0, value=1.0, ground=0.0):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return (ground + (value - ground) * inside)[..., None], np.hypot(x, y)


def test_the_edge_of_a_disc_is_its_circle():
    picture, distance = disc()
    edges = canny(picture)
    assert np.abs(distance[edges] - 20).max() < 1.2
    assert 0.8 < edges.sum() / (2 * np.pi * 20) < 1.2  # one pixel wide, and closed
    angles = np.arctan2(*(np.argwhere(edges) - 31.5).T)
    assert np.diff(np.sort(angles)).max() < 0.15
    assert not canny(np.full((64, 64, 3), 0.7)).any()


def test_of_a_weak_edge_what_hangs_on_a_strong_one_is_kept():
    ramp = np.zeros((40, 40, 1))
    ramp[:, 20:, 0] = np.linspace(0.15, 0.6, 40)[:, None]  # an edge that grows from weak to strong
    weak = np.full((40, 40, 1), 0.0)
    weak[:, 20:] = 0.15
    options = {"low": 0.03, "high": 0.1}
    assert canny(ramp, **options)[2].any()
    assert not canny(weak, **options).any()
    assert canny(weak, low=0.03, high=0.04)[2].any()


def test_a_grey_thing_on_grey_ground_shows_by_its_coverage():
    coverage, _ = disc()
    grey = np.full((64, 64, 3), 0.5)
    assert not canny(grey).any()
    assert np.array_equal(canny(np.concatenate([grey, coverage], -1)), canny(coverage))
