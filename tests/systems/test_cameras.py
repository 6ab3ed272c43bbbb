"""Random cameras, lights and backgrounds: in their ranges, all around, and the same for the same seed."""

import math

import pytest
import torch
from pydantic import ValidationError

from distill3d.core.errors import UserError
from distill3d.systems.cameras import (
    BackgroundConfig,
    CameraConfig,
    LightConfig,
    check_together,
    random_background,
    random_cameras,
    random_light,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_cameras_stand_within_their_ranges():
    config = CameraConfig(views=256, elevation=(-10, 45), fov=(40, 70), reach=(1.0, 1.5))
    cameras = random_cameras(config, 0, generator())
    elevation, fov = torch.rad2deg(cameras.elevation), torch.rad2deg(cameras.fov)
    reach = cameras.distance * (0.5 * cameras.fov).tan()
    assert -10.01 <= elevation.min() < -5 < 40 < elevation.max() <= 45.01
    assert 39.9 <= fov.min() < 45 < 65 < fov.max() <= 70.1
    assert 0.999 <= reach.min() < 1.1 < 1.4 < reach.max() <= 1.501


def test_views_together_differ_in_azimuth_alone_and_others_do_not():
    cameras = random_cameras(CameraConfig(views=8, together=4), 0, generator())
    for group in (slice(0, 4), slice(4, 8)):
        turn = torch.remainder(cameras.azimuth[group].diff(), 2 * math.pi)
        torch.testing.assert_close(turn, torch.full((3,), math.pi / 2), atol=1e-5, rtol=0)
        for value in (cameras.elevation, cameras.distance, cameras.fov):
            assert torch.equal(value[group], value[group][:1].expand(4)) or value[group].std() < 1e-6
    assert (cameras.elevation[0] - cameras.elevation[4]).abs() > 1e-3
    apart = random_cameras(CameraConfig(views=4), 0, generator())
    assert apart.elevation.std() > 1e-3


def test_a_prior_that_sees_views_together_wants_them_together():
    check_together(CameraConfig(views=8, together=4), 4)
    with pytest.raises(UserError, match=r"cameras\.together is 1, where the prior denoises 4"):
        check_together(CameraConfig(views=8), 4)
    with pytest.raises(ValidationError, match="multiple of together"):
        CameraConfig(views=6, together=4)


def test_every_step_sees_the_object_from_all_around():
    for seed in range(20):
        azimuth = random_cameras(CameraConfig(views=4), 0, generator(seed)).azimuth.sort().values
        gaps = torch.cat([azimuth.diff(), azimuth[:1] + 2 * math.pi - azimuth[-1:]])
        assert gaps.max() < math.pi + 1e-4  # independent draws often leave a half turn unseen:
    independent = torch.rand(200, 4, generator=generator()).sort(-1).values * 2 * math.pi
    wrap = independent[:, :1] + 2 * math.pi - independent[:, -1:]
    assert (torch.cat([independent.diff(), wrap], -1).max(-1).values > math.pi).float().mean() > 0.3


def test_the_seed_decides():
    first, again, other = (random_cameras(CameraConfig(), 0, generator(s)).camera_to_world for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_size_may_grow():
    config = CameraConfig(size={0: 32, 100: 64})
    assert [random_cameras(config, s, generator()).height for s in (0, 50, 100)] == [32, 48, 64]


def test_light_is_off_before_its_time_and_shaded_as_often_as_asked():
    config = LightConfig(albedo_until=10, shaded=0.25, textureless=0.5)
    g = generator()
    assert all(random_light(config, 9, 4, g)[0] is None for _ in range(50))
    draws = [random_light(config, 10, 4, g) for _ in range(2000)]
    lit = [plain for light, plain in draws if light is not None]
    assert 0.21 < len(lit) / 2000 < 0.29
    assert 0.4 < sum(lit) / len(lit) < 0.6


def test_backgrounds():
    assert random_background(BackgroundConfig(kind="renderer"), 3, generator()) is None
    assert random_background(BackgroundConfig(), 3, generator()).shape == (3, 3)
    assert (random_background(BackgroundConfig(kind="gray"), 3, generator()) == 0.5).all()


@pytest.mark.parametrize("wrong", [{"elevation": (45, -10)}, {"fov": (0, 30)}, {"views": 0}, {"reach": (0.0, 1.0)}])
def test_wrong_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        CameraConfig(**wrong)
