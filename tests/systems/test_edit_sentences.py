"""What is said of an edit's sentences: whether the pictures changed as they did, and whether they are the wrong way
round."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.diffusion.text_image import load_text_image
from distill3d.systems.edit import SIDES
from distill3d.systems.edit_sentences import change_as_told, in_wrong_order
from distill3d.toybox.pictures import over_grey, pack, picture
from distill3d.toybox.world import toy_from_prompt


@pytest.fixture(scope="module")
def encoder():
    return load_text_image("toybox")


def row(prompt: str) -> Tensor:
    """Four sides of a toy side by side, [64, 256, 3]."""
    cameras = Cameras.orbit(torch.arange(SIDES) * (2 * torch.pi / SIDES) + 0.5, 0.3, 2.8, 0.785, 64)
    toy = pack(toy_from_prompt(prompt, np.random.default_rng(1)))
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    seen = np.stack([picture(toy, poses[i], lenses[i], 64, 1.0) for i in range(SIDES)])
    return torch.cat(list(torch.from_numpy(over_grey(seen))[..., :3]), 1)


def test_the_change_that_was_told_is_more_alike_than_another_and_than_none(encoder):
    red, blue, green = (row(f"a {color} mushroom") for color in ("red", "blue", "green"))

    def similarity(after: Tensor) -> float:
        found = change_as_told(encoder, red, after, "a red mushroom", "a blue mushroom")
        assert -1 <= found["directional_consistency"] <= 1.0001
        return found["directional_similarity"]

    assert similarity(blue) > 0.3
    assert similarity(blue) > similarity(green) + 0.2
    assert similarity(red) == 0.0


@pytest.mark.parametrize(
    ("was", "wanted"),
    [("a red mushroom", "a blue mushroom"), ("a white mug", "a green mug"), ("a red cube", "a red house")],
)
def test_sentences_in_the_wrong_order_are_told_and_those_in_the_right_order_are_not(encoder, was, wanted):
    assert in_wrong_order(encoder, row(was), was, wanted) == []
    (told,) = in_wrong_order(encoder, row(wanted), was, wanted)
    assert told.startswith(f"the scene looks more like {wanted!r}")
