"""Groups of views of one toy: equal angles, one light, one toy, and always the same batch."""

import math

import numpy as np
import torch

from distill3d.core.cameras import Cameras
from distill3d.toybox.dataset import random_toy
from distill3d.toybox.view_groups import group_stream, make_groups, without_color
from distill3d.toybox.world import sample_toy


def angles(cameras: Cameras, together: int) -> torch.Tensor:
    """Degrees from each camera of a group to the next, [groups, together]."""
    azimuth = cameras.azimuth.unflatten(0, (-1, together)).double()
    return torch.rad2deg((azimuth.roll(-1, 1) - azimuth) % (2 * math.pi))


def test_cameras_of_a_group_differ_by_equal_angles_in_azimuth_alone():
    for together, degrees in ((4, 90.0), (3, 120.0)):
        batch = make_groups(3, 0, 2, 16, together)
        torch.testing.assert_close(
            angles(batch.cameras, together), torch.full((2, together), degrees).double(), atol=1e-3, rtol=0
        )
        for what in (batch.cameras.elevation, batch.cameras.distance, batch.cameras.fov, batch.views[:, -1]):
            group = what.unflatten(0, (-1, together))
            torch.testing.assert_close(group, group[:, :1].expand_as(group), atol=1e-5, rtol=0)
        assert batch.together == together
        assert abs(float(batch.cameras.elevation[0] - batch.cameras.elevation[together])) > 1e-3  # the next group's


def test_a_group_shows_one_toy():
    """The mean colour of what is covered is nearer within a group than between groups."""
    batch = make_groups(4, 0, 6, 32)
    solid = (batch.pictures[..., 3:] > 0.5).float()
    mean = ((batch.pictures[..., :3] * solid).sum((1, 2)) / solid.sum((1, 2))).unflatten(0, (-1, 4))
    within = (mean - mean.roll(1, 1)).norm(dim=-1).mean()
    between = (mean - mean.roll(1, 0)).norm(dim=-1).mean()
    assert within < 0.4 * between


def test_a_batch_is_always_the_same_and_another_is_not():
    whole = make_groups(5, 2, 2, 16)
    again = next(iter(group_stream(5, 2, 3, 2, 16, 4, 0)))
    assert torch.equal(whole.pictures, again.pictures)
    assert torch.equal(whole.views, again.views)
    assert whole.captions == again.captions
    assert not torch.equal(whole.pictures, make_groups(5, 3, 2, 16).pictures)
    assert not torch.equal(whole.pictures, make_groups(6, 2, 2, 16).pictures)


def test_groups_of_one_orbit_can_change_pictures():
    batch = make_groups(7, 0, 3, 16, one_orbit=True)
    views = batch.views.unflatten(0, (-1, 4))
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])
    assert not torch.equal(batch.pictures[:4], batch.pictures[4:8])
    apart = make_groups(7, 0, 3, 16).views.unflatten(0, (-1, 4))
    assert not torch.equal(apart[0], apart[1])


def test_the_caption_without_colour():
    rng = np.random.default_rng(0)
    assert without_color(sample_toy(rng, category="airplane", color="red")) == "an airplane"
    assert without_color(sample_toy(rng, category="mug", color="blue", material="striped")) == "a striped mug"
    pair = next(t for t in iter(lambda: random_toy(rng, "train", None), None) if t.relation is not None)
    said = without_color(pair)
    assert pair.relation in said
    assert pair.category in said
    assert pair.others[0][0] in said
    assert pair.color not in said.split()
