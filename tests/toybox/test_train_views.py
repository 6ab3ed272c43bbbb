"""The mean novel view: what it is told, and a training that learns, resumes, and can tell cameras apart."""

import math
from dataclasses import replace

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.diffusion.relative_view import relative_pose, relative_vector
from distill3d.toybox.train_views import Settings, Trainer, train
from distill3d.toybox.view_pairs import make_toys

SMALL = Settings(toys=6, batch=2, views=2)


def orbit(azimuth, elevation=20.0, distance=3.0):
    return Cameras.orbit(math.radians(azimuth), math.radians(elevation), distance)


def test_the_relative_pose_is_the_papers():
    polar, turn, farther = relative_pose(orbit(-170, 50, 3.5), orbit(150, 20))
    assert float(polar) == pytest.approx(math.radians(-30), abs=1e-5)  # rising is away from a larger polar angle
    assert float(turn) == pytest.approx(math.radians(40), abs=1e-5)  # the short way over 180 degrees
    assert float(farther) == pytest.approx(0.5, abs=1e-5)


def test_what_is_told_depends_on_the_difference_of_azimuths_alone():
    here, there = (relative_vector(orbit(a + 70, 10), orbit(a)) for a in (0, 150))
    assert torch.allclose(here, there, atol=1e-5)
    assert not torch.allclose(here, relative_vector(orbit(70, 10), orbit(0, 40)), atol=1e-2)
    assert not torch.allclose(here, relative_vector(orbit(-70, 10), orbit(0)), atol=1e-2)


def test_pairs_stay_within_a_toy():
    toys = make_toys(0, 0, 3, 4, 16)
    rows = toys.pairs(1)
    assert rows.tolist()[:4] == [1, 2, 3, 0]
    assert (rows // 4 == torch.arange(12) // 4).all()
    assert torch.equal(toys.pictures, make_toys(0, 0, 3, 4, 16).pictures)
    assert not torch.equal(toys.pictures, make_toys(0, 1, 3, 4, 16).pictures)


def test_one_batch_can_be_learnt_by_heart_and_then_the_camera_matters(tmp_path):
    trainer = Trainer(tmp_path, replace(SMALL, toys=100_000, warmup=1, drop_camera=0.0, drop_picture=0.0, lr=1e-3))
    toys = make_toys(1, 0, 2, 2, 64)
    errors = [trainer.advance(toys) for _ in range(60)]
    assert errors[-1] < 0.3 * errors[0]
    x, rows = trainer.codec.encode(toys.pictures), toys.pairs(1)
    seen, told = trainer.network.encoder(x), relative_vector(toys.cameras[rows], toys.cameras)
    right, other = ((trainer.network(s, told) - x[rows]).square().mean() for s in (seen, seen.roll(2, 0)))
    assert other > 2 * right  # the negative control: another toy's picture is of no use


def test_a_training_that_is_resumed_ends_where_one_that_never_stopped_does(tmp_path):
    whole = train(tmp_path / "whole", SMALL)
    half = Trainer(tmp_path / "half", SMALL)
    half.advance(make_toys(0, 0, 2, 2, 64))
    half.save()
    resumed = train(tmp_path / "half", SMALL, resume=True)
    for a, b in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "whole" / "mean_view" / "canvas" / "config.json").is_file()
    with pytest.raises(UserError, match="no training to resume"):
        train(tmp_path / "none", SMALL, resume=True)
