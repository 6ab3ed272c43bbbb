"""Regions of cells: what they hold, as one word, seen from another world, and which rays go through them."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.geometry.region import Region
from distill3d.geometry.region_cells import CellRegion

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.rand(40, 3, generator=GENERATOR) * torch.tensor([0.5, 0.3, 0.2])
PART = CellRegion.around(POINTS, 0.05, 0.06)


def test_points_and_what_is_near_them_belong_to_it():
    anywhere = torch.rand(4000, 3, generator=GENERATOR) * 0.8 - 0.15
    distance = torch.cdist(anywhere.double(), POINTS.double()).amin(1)
    held = PART.contains(anywhere)
    diagonal = 0.05 * 3**0.5
    assert bool(held[distance < 0.06 - 0.05].all())
    assert bool(PART.contains(POINTS).all())
    assert not bool(held[distance > 0.06 + diagonal].any())
    assert 50 < int(held.sum()) < 3500


def test_the_distance_is_never_too_large_and_grows():
    anywhere = torch.rand(2000, 3, generator=GENERATOR) * 3 - 1.2
    cells = PART.held.nonzero().double()
    low = PART.center - PART.half + cells * PART.cell
    nearest = anywhere.double()[:, None].clamp(min=low, max=low + PART.cell)
    true = (nearest - anywhere.double()[:, None]).norm(dim=-1).amin(1)
    away = PART.away(anywhere)
    outside = ~PART.contains(anywhere)
    assert bool((away[outside] <= true[outside] + 1e-9).all())
    assert bool((away[~outside] < 0).all())
    assert bool((away[outside] >= true[outside] / 2 - 2 * 0.05 * 3**0.5).all())


def test_one_word_says_all_of_it():
    again = Region.parse(PART.text())
    assert isinstance(again, CellRegion)
    assert torch.equal(again.held, PART.held)
    assert again.text() == PART.text()
    anywhere = torch.rand(500, 3, generator=GENERATOR)
    assert torch.equal(again.contains(anywhere), PART.contains(anywhere))
    assert "\n" not in PART.text()


def test_points_of_another_world():
    """x_file = 10 + 4 x turned a quarter around z."""
    to_file = torch.tensor([[0.0, -4, 0, 10], [4, 0, 0, 10], [0, 0, 4, 10], [0, 0, 0, 1]])
    part = CellRegion.around(torch.tensor([[10.1, 14.1, 10.1]]), 0.4)
    seen = part.seen_from(to_file)
    assert seen.contains(torch.tensor([[1.02, 0.0, 0.02], [1.2, 0.0, 0.02]])).tolist() == [True, False]
    assert part.contains(torch.tensor([[10.1, 14.1, 10.1], [1.02, 0.0, 0.02]])).tolist() == [True, False]


def test_a_ray_goes_through_where_points_on_it_lie_inside():
    origins = torch.randn(500, 3, generator=GENERATOR) * 2
    aim = POINTS.mean(0) + 0.25 * torch.randn(500, 3, generator=GENERATOR)  # some rays miss
    directions = torch.nn.functional.normalize(aim - origins, dim=-1)
    along = torch.linspace(0, 8, 4000)[:, None, None]
    sampled = PART.contains((origins + along * directions).reshape(-1, 3)).view(-1, 500).any(0)
    meets = PART.meets(origins, directions)
    assert bool(meets[sampled].all())
    assert 50 < int(sampled.sum()) < 480
    assert int((meets & ~sampled).sum()) <= 12  # what is grazed between two points
    assert not bool(PART.meets(origins, -directions)[(origins.norm(dim=-1) > 1.5)].any())  # it lies behind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cells:0,0,0,0.1,2,2,2:!!", "is no set of cells"),
        ("cells:0,0,0,0.1,2,2:eJz7DwABAQEA", "is no set of cells"),
        ("cells:0,0,0,0.1,9,9,9:eJz7DwABAQEA", "is no set of cells"),
        ("cells:0,0,0,0.1,999,2,2:eJz7DwABAQEA", "is no set of cells"),
        ("cells:0,0,0,-1,2,2,2:eJz7DwABAQEA", "is no set of cells"),
        ("cells:0,0,0,0.1,2,2,2:eJxjAAAAAQAB", "holds no cell"),
    ],
)
def test_what_is_no_region(text, says):
    with pytest.raises(UserError, match=says):
        Region.parse(text)


def test_a_region_that_is_too_fine_is_refused():
    with pytest.raises(UserError, match="too fine"):
        CellRegion.around(torch.tensor([[0.0, 0, 0], [9.0, 0, 0]]), 0.01)
