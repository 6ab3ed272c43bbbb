"""Views in words."""

import math

import torch

from distill3d.core.cameras import Cameras
from distill3d.guidance.view_prompts import view_names, view_prompts


def orbit(azimuths, elevation=0.0):
    return Cameras.orbit(torch.tensor([math.radians(a) for a in azimuths]), math.radians(elevation))


def test_names_follow_the_azimuth_around():
    names = view_names(orbit([0, 44, 46, 90, 134, 136, 180, 224, 226, 270, 314, 316]))
    assert names == ["front"] * 2 + ["side"] * 3 + ["back"] * 3 + ["side"] * 3 + ["front"]


def test_from_above_the_azimuth_does_not_matter():
    assert view_names(orbit([0, 90, 180], 61)) == ["overhead"] * 3
    assert view_names(orbit([0, 90, 180], 59)) == ["front", "side", "back"]


def test_the_name_is_appended():
    assert view_prompts("a red chair", orbit([0, 180])) == ["a red chair, front view", "a red chair, back view"]
