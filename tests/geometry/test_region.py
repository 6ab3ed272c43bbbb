"""Regions: what they hold, in whose coordinates, and which rays go through them."""

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.geometry.region import Region

BOX, BALL = Region.parse("box:0,0,0,1,2,3"), Region.parse("sphere:1,0,0,0.5")


def test_what_they_hold():
    points = torch.tensor([[0.5, 1.0, 1.5], [1.0, 2.0, 3.0], [1.1, 1.0, 1.0], [-0.1, 1.0, 1.0], [1.0, 0.4, 0.0]])
    assert BOX.contains(points).tolist() == [True, True, False, False, True]
    assert BALL.contains(points).tolist() == [False, False, False, False, True]


def test_points_of_another_world():
    """x_file = 10 + 4 x turned a quarter around z: the distance comes back in the points' own world."""
    to_file = torch.tensor([[0.0, -4, 0, 10], [4, 0, 0, 10], [0, 0, 4, 10], [0, 0, 0, 1]])
    region = Region.parse("sphere:10,14,10,2").seen_from(to_file)
    points = torch.tensor([[1.0, 0, 0], [1.4, 0, 0], [1.6, 0, 0], [0, 1.0, 0]])
    assert region.contains(points).tolist() == [True, True, False, False]
    assert region.away(points)[2].item() == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("region", [BOX, BALL])
def test_a_ray_goes_through_where_points_on_it_lie_inside(region):
    generator = torch.Generator().manual_seed(0)
    origins = torch.randn(400, 3, generator=generator) * 3
    aim = region.center.float() + 0.6 * torch.randn(400, 3, generator=generator)  # some rays miss
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    along = torch.linspace(0, 20, 2000)[:, None, None]
    sampled = region.contains((origins + along * directions).reshape(-1, 3)).view(-1, 400).any(0)
    meets = region.meets(origins, directions)
    assert bool(meets[sampled].all())
    assert 20 < int(sampled.sum()) < 380
    assert int((meets & ~sampled).sum()) <= 4  # what is grazed between two points


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cube:0,0,0,1", "is not box:"),
        ("box:0,0,0,1,1", "is not box:"),
        ("sphere:0,0,0,one", "is not box:"),
        ("sphere:0,0,nan,1", "is not box:"),
        ("sphere:0,0,0,0", "has no volume"),
        ("box:1,0,0,0,1,1", "has no volume"),
    ],
)
def test_what_is_no_region(text, says):
    with pytest.raises(UserError, match=says):
        Region.parse(text)
