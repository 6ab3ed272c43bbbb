"""The elevation is read off pictures of toys far better than by guessing, and not off what shows none."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.toybox.elevation import RANGE, draw_views, read_elevation

TOYS = 1500  # few, for speed


@pytest.fixture(scope="module")
def held_out():
    return draw_views(60, 7_000_000)


def off(read, true):
    return float(torch.rad2deg((read - true).abs()).mean())


def test_it_is_nearer_than_the_mean(held_out):
    pictures, true = held_out
    read = read_elevation(pictures, TOYS)
    guess = torch.full_like(true, math.radians(sum(RANGE) / 2))
    assert off(read, true) < 0.75 * off(guess, true)
    assert off(read.roll(7), true) > off(guess, true)  # the answers belong to their pictures


def test_a_color_tells_nothing_and_brightness_as_a_whole_neither(held_out):
    pictures, _ = held_out
    dark = pictures.clone()
    dark[..., :3] *= 0.4
    other = pictures[..., [2, 0, 1, 3]]
    read = read_elevation(pictures, TOYS)
    assert off(read_elevation(dark, TOYS), read) < 1
    assert off(read_elevation(other, TOYS), read) < 1e-3
    assert off(read_elevation(pictures.flip(1), TOYS), read) > 5  # upside down is another view


def test_what_is_like_no_toy_is_answered_with_the_mean():
    speck = torch.zeros(1, 64, 64, 4)
    speck[..., 3] = 1
    speck[:, 30:32, 30:32] = 1  # on black, from edge to edge
    middle = math.radians(sum(RANGE) / 2)
    assert abs(float(read_elevation(speck, TOYS)) - middle) < math.radians(1)


def test_the_same_picture_is_read_the_same(held_out):
    pictures, _ = held_out
    alone = torch.cat([read_elevation(picture[None], TOYS) for picture in pictures[:4]])
    torch.testing.assert_close(alone, read_elevation(pictures, TOYS)[:4], atol=1e-3, rtol=0)
