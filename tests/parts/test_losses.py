"""The training losses of part Gaussians."""

import torch

from distill3d.parts.gaussians import PartGaussians
from distill3d.parts.losses import (
    disentanglement_loss,
    filled_at,
    mixture_loss,
    random_moves,
    random_subsets,
    rotation_about,
)
from distill3d.parts.network import PartNetwork, PartSizes

SMALL = PartSizes(parts=4, latent=16, intrinsics=8, width=16, depth=1, heads=2, pair=16, nearest=3)


def _two_balls():
    """Two parts left and right, a tenth wide."""
    means = torch.tensor([[[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]])
    axes = torch.eye(3).expand(1, 2, 3, 3)
    return PartGaussians(means, axes, torch.full((1, 2, 3), 0.01), torch.zeros(1, 2))


def test_the_mixture_is_likelier_where_its_parts_are():
    gaussians = _two_balls()
    at_home = gaussians.means + 0.05
    elsewhere = at_home + torch.tensor([0.0, 0.6, 0.0])
    assert mixture_loss(gaussians, at_home) < mixture_loss(gaussians, elsewhere)


def test_rotations_keep_lengths_and_turn_by_the_angle():
    generator = torch.Generator().manual_seed(0)
    rotation, scale, shift = random_moves(50, generator)
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand(50, 3, 3), atol=1e-6)
    assert ((scale >= 0.8) & (scale <= 1.2)).all()
    assert (shift.abs() <= 0.3).all()
    quarter = rotation_about(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(torch.pi / 2))
    assert torch.allclose(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)


def test_subsets_are_a_quarter_to_three_quarters():
    chosen = random_subsets(200, 16, torch.Generator().manual_seed(0)).sum(1)
    assert chosen.min() >= 4
    assert chosen.max() <= 12
    assert len(chosen.unique()) > 4


def test_a_grid_is_read_at_the_centres_of_its_cells():
    cells = torch.zeros(1, 4, 4, 4)
    cells[0, 3, 1, 2] = 1.0
    centre = torch.tensor([[[0.75, -0.25, 0.25]]])
    assert torch.allclose(filled_at(cells, centre), torch.ones(1, 1))
    assert torch.allclose(filled_at(cells, centre.flip(-1)), torch.zeros(1, 1))  # control: x is first


class _Moved(PartNetwork):
    """An occupancy that is known: each part is a ball of two standard deviations."""

    def logits(self, intrinsics, gaussians, points):
        return 40 * (2 - gaussians.local(points).norm(dim=-1).amin(-1))


class _Stuck(_Moved):
    """The same, but it stays where the parts were before they moved."""

    def logits(self, intrinsics, gaussians, points):
        return super().logits(intrinsics, _two_balls(), points)


def test_a_field_that_follows_its_parts_is_rewarded_and_one_that_does_not_is_not():
    side = (torch.arange(64) + 0.5) / 32 - 1
    grid = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1)
    gaussians = _two_balls()
    inside = (gaussians.local(grid.reshape(1, -1, 3)).norm(dim=-1).amin(-1) < 2).float().reshape(1, 64, 64, 64)
    points = 2 * torch.rand(1, 4000, 3, generator=torch.Generator().manual_seed(1)) - 1
    follows, stays = (
        float(disentanglement_loss(cls(SMALL), torch.zeros(1, 2, 8), gaussians, inside, points, seed=3))
        for cls in (_Moved, _Stuck)
    )
    assert follows < 0.3 * stays
