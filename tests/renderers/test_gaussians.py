"""Gaussians as a renderer: they learn a scene with a known surface, keep their state, and go on with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.geometry.iso_surface import sample_grid
from distill3d.renderers import GaussianRenderer, Renderer
from distill3d.renderers.gaussian_normals import depth_normals
from distill3d.run import checkpoint
from distill3d.run.folder import RunFolder
from distill3d.run.loop import make_optimizer
from distill3d.systems.base import System, SystemConfig
from tests.renderers.analytic import picture, smooth_picture

SMALL = {
    "kind": "gaussians",
    "start": {"count": 800, "radius": 0.8},
    "lr_means": 0.005,
    "lr_scales": 0.02,
    "lr_color": 0.02,
}
ADAPTIVE = {"kind": "adaptive", "every": 10, "start": 10, "stop": 100, "grow_size": 0.05, "most": 1500}


def build(seed: int = 0, **changes: Any) -> GaussianRenderer:
    return Renderer.build({**SMALL, **changes}, generator=torch.Generator().manual_seed(seed))


def views(count: int, size: int = 32, turn: float = 0.0) -> Cameras:
    return Cameras.orbit(turn + torch.arange(count) * 2.4, torch.linspace(-0.3, 0.8, count), 3.0, 0.75, size)


def loss_of(renderer: GaussianRenderer, size: int = 32) -> torch.Tensor:
    cameras = views(12, size)
    foreground, alpha = smooth_picture(cameras)
    chosen = torch.randperm(12, generator=renderer.generator)[:4]
    behind = torch.rand(3, generator=renderer.generator)
    rendering = renderer(cameras[chosen], background=behind)
    return (rendering.rgb - foreground[chosen] - (1 - alpha[chosen]) * behind).abs().mean()


def fit(renderer: GaussianRenderer, steps: int, size: int = 32) -> list[float]:
    optimizer = torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)
    losses = []
    for step in range(steps):
        renderer.advance(step, optimizer)
        loss = loss_of(renderer, size)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def fitted() -> GaussianRenderer:
    renderer = build(density=ADAPTIVE)
    fit(renderer, 150)
    return renderer.eval()


def psnr(renderer: GaussianRenderer, cameras: Cameras) -> float:
    foreground, alpha = smooth_picture(cameras)
    with torch.no_grad():
        rgb = renderer(cameras, background=torch.ones(3)).rgb
    return -10 * (rgb - (foreground + 1 - alpha)).square().mean().log10().item()


def test_learns_views_it_never_saw(fitted: GaussianRenderer) -> None:
    assert psnr(fitted, views(4, turn=1.1)) > 24
    assert psnr(build().eval(), views(4, turn=1.1)) < 15  # untrained: a grey ball
    assert len(fitted) > 800


def test_normals_and_depth_are_those_of_the_scene(fitted: GaussianRenderer) -> None:
    cameras = views(4, turn=1.1)
    _, alpha, depth, normal = picture(cameras)
    with torch.no_grad():
        seen = fitted(cameras, normals=True)
    both = (alpha[..., 0] > 0) & (seen.alpha[..., 0] > 0.9)
    assert seen.normal is not None
    assert (seen.normal * normal).sum(-1)[both].median() > 0.8
    assert (seen.depth - depth).abs()[both].median() < 0.12
    length = seen.normal.norm(dim=-1)
    torch.testing.assert_close(length[both], torch.ones_like(length[both]))
    assert (length[seen.alpha[..., 0] <= 0.1] == 0).all()
    assert (seen.depth[seen.alpha == 0] == 0).all()


def test_normals_of_a_ball_from_its_exact_depth() -> None:
    cameras = views(2, 64)
    origins, directions = cameras.rays()
    b = (origins * directions).sum(-1)
    inside = b.square() - origins.square().sum(-1) + 0.5**2
    hit = inside > 0
    points = origins + (-b - inside.clamp(min=0).sqrt())[..., None] * directions
    normal = depth_normals(points, hit, -directions)
    facing = (normal * -directions).sum(-1)
    assert (normal * points / 0.5).sum(-1)[hit].median() > 0.999
    assert (normal * points / 0.5).sum(-1)[hit & (facing > 0.4)].min() > 0.9
    assert (normal[~hit] == 0).all()


def test_backgrounds_and_light() -> None:
    renderer = build(start={"count": 300, "radius": 0.7, "opacity": 0.9}).eval()
    cameras = views(2, 16)
    black = renderer(cameras, background=torch.zeros(3))
    for shape in ((3,), (2, 3), (2, 16, 16, 3)):
        over = renderer(cameras, background=torch.full(shape, 0.5))
        torch.testing.assert_close(over.rgb, black.rgb + (1 - black.alpha) * 0.5)
    lit = renderer(cameras, background=torch.zeros(3), light=torch.ones(2))
    solid = black.alpha[..., 0] > 0.5
    darker = (lit.extras["foreground"] / black.extras["foreground"].clamp(min=1e-6))[solid]
    assert darker.max() <= 1 + 1e-5
    assert darker.min() >= 0.35 - 1e-5
    assert darker.std() > 0.01
    lit.rgb.sum().backward()
    assert renderer.means.grad is not None
    assert renderer.means.grad.abs().sum() > 0
    torch.testing.assert_close(black.extras["foreground"], black.rgb)


def test_a_lens_is_refused() -> None:
    from distill3d.core.lens import Lens

    cameras = views(1, 8)
    lens = Lens.__new__(Lens)
    object.__setattr__(lens, "coefficients", torch.zeros(1, 8).double())
    with pytest.raises(UserError, match="undistort"):
        build()(Cameras(cameras.camera_to_world, cameras.intrinsics, 8, 8, lens))


def test_mesh_and_density_are_where_the_scene_is(fitted: GaussianRenderer) -> None:
    mesh = fitted.to_mesh(resolution=40)
    for low, high in [(mesh.vertices.min(0), mesh.vertices.max(0)), extent_of(fitted)]:
        assert abs(low - [-0.4, -0.65, -0.35]).max() < 0.12
        assert abs(high - [0.4, 0.6, 0.5]).max() < 0.12
    assert fitted.color_at(torch.tensor([[0.05, 0.4, 0.14]]))[0].argmax() == 2  # the box is blue


def extent_of(renderer: GaussianRenderer) -> tuple[np.ndarray, np.ndarray]:
    density = sample_grid(renderer.density_at, 40)
    inside = np.argwhere(density > 3) / 19.5 - 1
    return inside.min(0), inside.max(0)


def test_state_of_another_number(fitted: GaussianRenderer) -> None:
    other = build(seed=5).eval()
    cameras = views(2)
    before = other(cameras).rgb
    other.load_state_dict(fitted.state_dict())
    assert len(other) == len(fitted)
    assert torch.equal(other(cameras).rgb, fitted(cameras).rgb)
    assert not torch.equal(before, fitted(cameras).rgb)
    wrong = {**fitted.state_dict(), "means": torch.zeros(5, 4)}
    with pytest.raises(RuntimeError, match="size mismatch for means"):
        other.load_state_dict(wrong)


def test_splats_there_and_back(fitted: GaussianRenderer) -> None:
    copy = GaussianRenderer.from_splats(fitted.to_splats()).eval()
    cameras = views(2)
    white = torch.ones(3)
    assert torch.equal(copy(cameras, white).rgb, fitted(cameras, white).rgb)
    second = build()
    second.start_from(fitted)
    assert torch.equal(second(cameras, white).rgb, fitted(cameras, white).rgb)


def test_harmonics_come_in_one_after_another() -> None:
    renderer = build(sh_degree=2, sh_every=10)
    degrees = []
    for step in (0, 9, 10, 25, 99):
        renderer.advance(step)
        degrees.append(renderer.degree)
    assert degrees == [0, 0, 1, 2, 2]
    assert [g["name"] for g in renderer.parameter_groups()][-1] == "sh_rest"
    renderer(views(1)).rgb.sum().backward()
    assert renderer.sh_rest.grad is not None
    assert renderer.sh_rest.grad.abs().sum() > 0


def test_positions_learn_more_slowly_later() -> None:
    renderer = build(lr_means={0: 0.01, 100: 0.001})
    optimizer = torch.optim.Adam(renderer.parameter_groups())
    renderer.advance(50, optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0055)


class Fit(System):
    """The scene of these tests as a system, for checkpoints."""

    kind = ""
    Config = SystemConfig

    def __init__(self, renderer: GaussianRenderer) -> None:
        super().__init__(SystemConfig(steps=40), torch.device("cpu"), renderer.generator)
        self.renderer = renderer

    def losses(self, step: int) -> dict[str, torch.Tensor]:
        return {"color": loss_of(self.renderer, 16)}  # type: ignore[arg-type]


def take_steps(system: Fit, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        system.advance(step, optimizer)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(system.losses(step).values())).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["adaptive", "mcmc"])
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, kind: str) -> None:
    """Stopped between two changes of the number, with statistics under way."""
    density = {**ADAPTIVE, "kind": kind, "reset_every": 20, "grow_gradient": 5e-4, "least_opacity": 0.09}
    whole = Fit(build(start={"count": 200, "radius": 0.8}, density=density))
    optimizer = make_optimizer(whole, whole.config.optimizer)
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    take_steps(whole, optimizer, 0, 25)
    path = checkpoint.save(folder, 25, whole, optimizer)
    at_stop = len(whole.renderer)  # type: ignore[arg-type]
    take_steps(whole, optimizer, 25, 40)
    resumed = Fit(build(seed=9, start={"count": 200, "radius": 0.8}, density=density))
    done, state = checkpoint.restore(path, resumed)
    other = make_optimizer(resumed, resumed.config.optimizer)
    other.load_state_dict(state)
    assert len(resumed.renderer) == at_stop != 200  # type: ignore[arg-type]
    take_steps(resumed, other, done, 40)
    states = whole.state_dict(), resumed.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    forgetful = Fit(build(seed=9, start={"count": 200, "radius": 0.8}, density=density))  # negative control
    checkpoint.restore(path, forgetful)
    take_steps(forgetful, make_optimizer(forgetful, forgetful.config.optimizer), done, 40)
    assert not torch.equal(forgetful.renderer.means[:5], whole.renderer.means[:5])  # type: ignore[union-attr, index]


def test_misspelt_key_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'lr_means'"):
        Renderer.build({"kind": "gaussians", "lr_mean": 0.1})
