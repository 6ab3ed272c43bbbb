"""Pictures and masks into priors with pixels, with patches and with latents."""

import pytest
import torch
import torch.nn.functional as F

from distill3d.core.errors import UserError
from distill3d.diffusion.picture_space import mask_to_space, to_space


class Shapes:
    """As much of a prior as a mask asks for."""

    def __init__(self, channels, resolution, space):
        self.channels, self.resolution, self.space = channels, resolution, space

    def x_shape(self, batch):
        return batch, *self.space

    def encode(self, images):
        return images.permute(0, 3, 1, 2)


def random_mask(size, seed=0):
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed)) > 0.3


def test_pixels_keep_their_own_mask():
    keep = random_mask(8)
    mask = mask_to_space(Shapes(3, 8, (3, 8, 8)), keep)
    assert torch.equal(mask, keep[:, None].expand(-1, 3, -1, -1))


def test_patches_keep_every_pixels_own_numbers():
    prior, keep = Shapes(4, 8, (64, 2, 2)), random_mask(8)
    mask = mask_to_space(prior, keep)
    assert mask.shape == (3, 64, 2, 2)
    pictures = torch.rand(3, 8, 8, 4)
    x = F.pixel_unshuffle(pictures.permute(0, 3, 1, 2), 4)
    back = F.pixel_shuffle(torch.where(mask, x, 7.0), 4).permute(0, 2, 3, 1)
    assert torch.equal(back, torch.where(keep[..., None], pictures, 7.0))


def test_a_latent_cell_is_kept_if_all_its_pixels_are():
    keep = torch.ones(1, 8, 8)
    keep[0, 5, 2] = 0.2
    mask = mask_to_space(Shapes(3, 8, (4, 2, 2)), keep)
    assert mask.tolist() == [[[[True, True], [False, True]]]]


def test_what_does_not_fit_is_refused():
    prior = Shapes(4, 8, (64, 2, 2))
    with pytest.raises(UserError, match="the mask is 4 x 8 pixels, the prior's pictures are 8 x 8"):
        mask_to_space(prior, torch.ones(1, 4, 8))
    with pytest.raises(UserError, match="takes pictures of 8 x 8 pixels, RGBA, got of 8 x 8 pixels, RGB"):
        to_space(prior, torch.zeros(1, 8, 8, 3))
    assert to_space(prior, torch.zeros(1, 8, 8, 4)).shape == (1, 4, 8, 8)
