"""The shipped text-image encoder finds the captions of toys that it has not seen, also of held-out pairs."""

import pytest
import torch

from distill3d.diffusion.text_image import load_text_image
from distill3d.toybox.clip_report import Shown, captions_of, fresh, scores
from distill3d.toybox.palette import PALETTE

COUNT = 192


@pytest.fixture(scope="module")
def encoder():
    return load_text_image("toybox")


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_fresh_toy_finds_its_caption_among_a_hundred(encoder, split):
    found = scores(encoder, fresh(split, COUNT, seed=77))
    assert found["among_100"] > 0.88
    assert found["color"] > 0.93


def test_scrambled_pictures_and_wrong_captions_do_not(encoder):
    shown = fresh("train", COUNT, seed=77)
    order = torch.randperm(64 * 64, generator=torch.Generator().manual_seed(0))
    scrambled = shown.pictures.reshape(COUNT, -1, 3)[:, order].reshape(shown.pictures.shape)
    assert scores(encoder, Shown(scrambled, shown.pairs))["among_100"] < 0.3
    assert scores(encoder, Shown(shown.pictures, shown.pairs[1:] + shown.pairs[:1]))["among_100"] < 0.1


def test_a_bare_backdrop_of_the_right_colour_is_less_like_a_caption_than_the_toy(encoder):
    toys = fresh("train", 64, seed=78)
    own = encoder.texts(captions_of(toys.pairs))
    plain = torch.tensor([PALETTE[color] for color, _ in toys.pairs])[:, None, None].expand(-1, 64, 64, -1)
    likeness, bare = ((encoder.pictures(p) * own).sum(1) for p in (toys.pictures, plain))
    assert (likeness > bare).float().mean() > 0.9
