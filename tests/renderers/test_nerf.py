"""The NeRF renderer: it learns a scene with a known surface, keeps its state, and repeats itself bit by bit."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.renderers import NerfRenderer, Renderer
from distill3d.renderers.base import shade
from distill3d.renderers.nerf_normals import density_normals
from distill3d.renderers.regularizers import opacity_entropy, orientation, sparsity
from tests.renderers.analytic import picture, smooth_picture

SMALL = {"kind": "nerf", "step": 2 / 48, "grid": {"levels": 6, "finest": 64}, "occupancy": {"resolution": 32}}


def build(seed: int = 0, **changes: object) -> NerfRenderer:
    return Renderer.build({**SMALL, **changes}, generator=torch.Generator().manual_seed(seed))


def views(count: int, size: int = 24, turn: float = 0.0) -> Cameras:
    return Cameras.orbit(turn + torch.arange(count) * 2.4, torch.linspace(-0.3, 0.8, count), 3.0, 0.75, size)


def fit(renderer: NerfRenderer, steps: int, size: int = 24) -> list[float]:
    cameras = views(12, size)
    foreground, alpha = smooth_picture(cameras)
    optimizer = torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)
    losses = []
    for step in range(steps):
        renderer.advance(step)
        chosen = torch.randperm(12, generator=renderer.generator)[:4]
        behind = torch.rand(3, generator=renderer.generator)
        rendering = renderer(cameras[chosen], background=behind)
        target = foreground[chosen] + (1 - alpha[chosen]) * behind
        loss = (rendering.rgb - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def fitted() -> NerfRenderer:
    renderer = build()
    fit(renderer, 100)
    return renderer.eval()


def psnr(renderer: NerfRenderer, cameras: Cameras) -> float:
    foreground, alpha = smooth_picture(cameras)
    with torch.no_grad():
        rgb = renderer(cameras, background=torch.ones(3)).rgb
    return -10 * (rgb - (foreground + 1 - alpha)).square().mean().log10().item()


def test_learns_views_it_never_saw(fitted: NerfRenderer) -> None:
    unseen = views(4, turn=1.1)
    assert psnr(fitted, unseen) > 24.5
    assert psnr(fitted, views(12)) > 30
    assert psnr(build().eval(), unseen) < 15  # untrained: a grey blob


def test_normals_and_depth_are_those_of_the_scene(fitted: NerfRenderer) -> None:
    cameras = views(4, turn=1.1)
    _, alpha, depth, normal = picture(cameras)
    with torch.no_grad():
        seen = fitted(cameras, normals=True)
    both = (alpha[..., 0] > 0) & (seen.alpha[..., 0] > 0.9)
    assert (seen.normal * normal).sum(-1)[both].median() > 0.8
    assert (seen.depth - depth).abs()[both].median() < 0.12
    length = seen.normal.norm(dim=-1)
    torch.testing.assert_close(length[both], torch.ones_like(length[both]))
    assert (length[seen.alpha[..., 0] <= 0.1] == 0).all()


def test_state_dict_keeps_the_picture(fitted: NerfRenderer) -> None:
    other = build(seed=5).eval()
    cameras = views(2)
    before = other(cameras).rgb
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(cameras).rgb, fitted(cameras).rgb)
    assert not torch.equal(before, fitted(cameras).rgb)


def test_same_seed_same_bits() -> None:
    first, second, third = (build(seed) for seed in (3, 3, 4))
    losses = [fit(renderer, 18, size=12) for renderer in (first, second, third)]
    assert losses[0] == losses[1] != losses[2]
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_jitter_belongs_to_training_alone() -> None:
    renderer = build()
    cameras = views(1)
    assert not torch.equal(renderer(cameras).rgb, renderer(cameras).rgb)
    renderer.eval()
    assert torch.equal(renderer(cameras).rgb, renderer(cameras).rgb)


def test_occupancy_skips_what_is_empty_and_changes_little(fitted: NerfRenderer) -> None:
    cameras = views(2)
    everywhere = build().eval()
    everywhere.load_state_dict(fitted.state_dict())
    everywhere.occupancy.distance.zero_()
    with torch.no_grad():
        skipping, full = fitted(cameras), everywhere(cameras)
    assert skipping.extras["samples"] < 0.6 * full.extras["samples"]
    assert (skipping.rgb - full.rgb).abs().max() < 0.06


def test_backgrounds() -> None:
    renderer = build().eval()
    cameras = views(2, size=8)
    black = renderer(cameras, background=torch.zeros(3))
    for shape in ((3,), (2, 3), (2, 8, 8, 3)):
        lit = renderer(cameras, background=torch.full(shape, 0.5))
        torch.testing.assert_close(lit.rgb, black.rgb + (1 - black.alpha) * 0.5)
    with pytest.raises(UserError, match="background has shape"):
        renderer(cameras, background=torch.zeros(4, 3))
    environment = build(background={"kind": "environment"})
    environment(cameras).rgb.mean().backward()
    group = environment.parameter_groups()[-1]
    assert group["name"] == "background"
    assert all(p.grad.abs().sum() > 0 for p in group["params"])


def test_light_shades_by_the_angle_and_reaches_the_field() -> None:
    renderer = build().eval()
    cameras = views(2, size=16)
    albedo, off, lit = (
        renderer(cameras),
        renderer(cameras, light=torch.zeros(2)),
        renderer(cameras, light=torch.ones(2)),
    )
    assert torch.equal(albedo.rgb, off.rgb)
    assert albedo.normal is None
    darker = lit.extras["foreground"] / albedo.extras["foreground"].clamp(min=1e-6)
    solid = albedo.alpha[..., 0] > 0.5
    assert darker[solid].max() <= 1 + 1e-5
    assert darker[solid].min() >= 0.35 - 1e-5
    assert darker[solid].std() > 0.01
    lit.normal.sum().backward()
    assert renderer.field.table.grad.abs().sum() > 0
    normal, away = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0])
    assert shade(normal, normal, torch.tensor(1.0)) == 1
    assert shade(normal, away, torch.tensor(1.0)) == pytest.approx(0.35)


def test_normals_of_a_ball_point_outwards() -> None:
    points = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1) * 0.5

    def ball(positions: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid((0.5 - (positions * 2 - 1).norm(dim=-1)) * 10)

    outwards = (density_normals(ball, points * 0.5 + 0.5, 0.02) * points).sum(-1) / 0.5
    assert outwards.min() > 0.999


def test_an_empty_field_renders_and_trains() -> None:
    renderer = build()
    renderer.occupancy.distance.fill_(255)
    seen = renderer(views(1), light=torch.ones(1))
    seen.rgb.mean().backward()
    assert seen.extras["samples"] == 0
    assert (seen.rgb == 1).all()


def test_levels_come_in_one_after_another() -> None:
    renderer = build(grid={"levels": 6, "finest": 64, "first_levels": 2, "fine_every": 10})
    counts = []
    for step in (0, 9, 10, 35, 1000):
        renderer.advance(step)
        counts.append(renderer.field.active_levels)
    assert counts == [2, 2, 3, 5, 6]


def test_mesh_is_where_the_scene_is(fitted: NerfRenderer) -> None:
    mesh = fitted.to_mesh(resolution=48)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert abs(low - [-0.4, -0.65, -0.35]).max() < 0.12
    assert abs(high - [0.4, 0.6, 0.5]).max() < 0.12
    assert fitted.color_at(torch.tensor([[0.05, 0.4, 0.14]]))[0].argmax() == 2  # the box is blue


def test_regularizers() -> None:
    alpha = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3, 1)
    assert sparsity(alpha) == pytest.approx((0.1 + 0.26**0.5 + 1.01**0.5) / 3)
    assert opacity_entropy(alpha[:, :, 1:2]) == pytest.approx(0.693147, abs=1e-5)
    assert opacity_entropy(alpha[:, :, :1]) < 0.01
    directions = torch.tensor([1.0, 0.0, 0.0]).expand(1, 1, 3, 3)
    assert orientation(-directions, directions, alpha) == 0
    assert orientation(directions, directions, alpha) == pytest.approx(0.75)  # (0.5 + 1) / 2 pixels with alpha


def test_misspelt_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'step'"):
        Renderer.build({"kind": "nerf", "stepp": 0.1})
