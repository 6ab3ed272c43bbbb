"""The lossless pixel codec."""

import torch

from distill3d.diffusion.patches import PatchCodec
from distill3d.diffusion.weight_files import read_json


def test_pictures_come_back_unchanged():
    images = torch.rand(2, 16, 16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    codec = PatchCodec(4, 4, 0.5)
    x = codec.encode(images)
    assert x.shape == (2, 64, 4, 4)
    assert x.min() >= -1
    assert x.max() <= 1
    assert torch.allclose(codec.decode(x), images, atol=1e-15)


def test_a_patch_of_one_channel_lies_together():
    images = torch.zeros(1, 4, 4, 3)
    images[0, 2:, :2, 1] = 1.0  # green, the bottom left patch
    x = PatchCodec(2, 3).encode(images)
    lit = (x > 0).nonzero().tolist()
    assert lit == [[0, c, 1, 0] for c in range(4, 8)]


def test_gradient_reaches_the_picture():
    images = torch.rand(1, 4, 4, 3, requires_grad=True)
    PatchCodec(2, 3).encode(images).sum().backward()
    assert torch.equal(images.grad, torch.full_like(images, 2.0))


def test_it_is_read_as_it_was_written(tmp_path):
    PatchCodec(2, 4, 0.5).save_pretrained(tmp_path)
    codec = PatchCodec.from_config(read_json(tmp_path / "config.json"))
    assert (codec.patch_size, codec.channels, codec.background) == (2, 4, 0.5)
