"""Density control: what is seen stays, the optimizer's moments follow their rows."""

from __future__ import annotations

import math

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.renderers import GaussianRenderer, Renderer
from distill3d.renderers.gaussian_density import (
    DensityConfig,
    Rows,
    grow,
    prune,
    relocate,
    reset_opacities,
    shared_out,
    wander,
)
from distill3d.renderers.gaussians import PARAMETERS

VIEWS = Cameras.orbit(torch.tensor([0.3, 2.5]), 0.2, 3.0, 0.7, 32)


def build(count: int = 50) -> tuple[GaussianRenderer, torch.optim.Adam, Rows]:
    section = {"kind": "gaussians", "start": {"count": count, "opacity": 0.6}, "sh_degree": 1}
    renderer: GaussianRenderer = Renderer.build(section, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(renderer.parameter_groups(), eps=1e-15)
    renderer(VIEWS, torch.zeros(3)).rgb.square().sum().backward()
    optimizer.step()
    return renderer, optimizer, Rows(renderer, PARAMETERS, optimizer)


def moments(rows: Rows, name: str) -> torch.Tensor:
    assert rows.optimizer is not None
    return rows.optimizer.state[getattr(rows.table, name)]["exp_avg"]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_rows_take_their_moments_along() -> None:
    renderer, optimizer, rows = build()
    before, state = rows["means"].clone(), moments(rows, "means").clone()
    index = torch.tensor([3, 1, 1])
    rows.take(index, torch.tensor([False, False, True]))
    assert torch.equal(rows["means"], before[index])
    assert torch.equal(moments(rows, "means")[:2], state[index[:2]])
    assert (moments(rows, "means")[2] == 0).all()
    assert len(optimizer.state) == 5  # nothing is left of the old; sh_rest had no gradient yet
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in renderer.parameters()}
    renderer(VIEWS).rgb.sum().backward()
    optimizer.step()  # and it goes on


def test_grow_clones_the_small_and_splits_the_large() -> None:
    _, _, rows = build(6)
    rows["log_scales"][:] = math.log(0.005)
    rows["log_scales"][2] = math.log(0.2)
    pull = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    before = rows["means"].clone()
    assert grow(rows, DensityConfig(kind="adaptive"), pull, generator()) == (1, 1)
    assert rows.count == 8
    assert torch.equal(rows["means"][:5], before[[0, 1, 3, 4, 5]])
    assert torch.equal(rows["means"][5], before[1])
    halves = rows["means"][6:] - before[2]
    assert halves.norm(dim=-1).min() > 0
    assert halves.norm(dim=-1).max() < 0.2 * 4
    assert torch.allclose(rows["log_scales"][6:].exp(), torch.tensor(0.2 / 1.6))
    assert (moments(rows, "means")[5:] == 0).all()


def test_growth_stops_at_the_limit_with_the_strongest() -> None:
    _, _, rows = build(10)
    rows["log_scales"][:] = math.log(0.005)
    before = rows["means"].clone()
    pull = torch.arange(10.0)
    assert grow(rows, DensityConfig(kind="adaptive", most=12), pull, generator()) == (2, 0)
    assert torch.equal(rows["means"][10:].sort(0).values, before[8:].sort(0).values)


def test_prune_removes_the_faint_and_keeps_one() -> None:
    renderer, _, rows = build(10)
    rows["logits"][3:] = -9.0
    picture = renderer(VIEWS).rgb
    assert prune(rows, DensityConfig(kind="adaptive"), also_large=False) == 7
    torch.testing.assert_close(renderer(VIEWS).rgb, picture, atol=1e-6, rtol=0)
    rows["logits"][:] = -9.0
    assert prune(rows, DensityConfig(kind="adaptive"), also_large=False) == 2
    assert rows.count == 1


def test_prune_of_the_large() -> None:
    _, _, rows = build(4)
    rows["log_scales"][:] = math.log(0.05)
    rows["log_scales"][1, 2] = math.log(0.5)
    assert prune(rows, DensityConfig(kind="adaptive"), also_large=True) == 1


def test_reset_presses_opacities_down_and_forgets() -> None:
    _, _, rows = build()
    reset_opacities(rows, 0.01)
    assert torch.sigmoid(rows["logits"]).max() <= 0.0101
    assert (moments(rows, "logits") == 0).all()
    assert moments(rows, "means").abs().sum() > 0


def test_shared_opacity_adds_up() -> None:
    opacity, copies = torch.tensor([0.9, 0.5, 0.7]), torch.tensor([3, 2, 1])
    each, shrink = shared_out(opacity, copies)
    torch.testing.assert_close(1 - (1 - each) ** copies, opacity)
    assert shrink[2] == pytest.approx(1)
    assert (shrink <= 1).all()


def test_relocation_moves_the_dead_and_changes_the_picture_little() -> None:
    renderer, _, rows = build(60)
    rows["logits"][20:] = -9.0
    picture = renderer(VIEWS, torch.zeros(3)).rgb
    moved, added = relocate(rows, DensityConfig(kind="mcmc", growth=0.1), generator())
    assert (moved, added) == (40, 6)
    assert rows.count == 66
    assert torch.sigmoid(rows["logits"]).min() > 0.005
    after = renderer(VIEWS, torch.zeros(3)).rgb
    assert (after - picture).abs().mean() < 0.1 * picture.mean()
    naive = Renderer.build({"kind": "gaussians", "start": {"count": 1}, "sh_degree": 1})
    naive.load_state_dict(renderer.state_dict())
    with torch.no_grad():  # negative control: copies that keep the opacity of what they copy
        naive.logits += 1.5
    assert (naive(VIEWS, torch.zeros(3)).rgb - picture).abs().mean() > 2 * (after - picture).abs().mean()


def test_noise_moves_only_what_is_nearly_invisible() -> None:
    _, _, rows = build(10)
    rows["logits"][5:] = -9.0
    before = rows["means"].clone()
    wander(rows, DensityConfig(kind="mcmc", noise=1e4), generator())
    step = (rows["means"] - before).norm(dim=-1)
    assert step[5:].min() > 100 * step[:5].max()


def test_the_pull_is_counted_in_backward_for_each_view() -> None:
    section = {"kind": "gaussians", "start": {"count": 30}, "density": {"kind": "adaptive"}}
    renderer: GaussianRenderer = Renderer.build(section)
    renderer(VIEWS).rgb.sum()
    assert (renderer.density.views == 0).all()
    renderer(VIEWS).rgb.square().sum().backward()
    assert (renderer.density.views == 2).all()
    assert (renderer.density.pull > 0).all()
    renderer.eval()
    renderer(VIEWS).rgb.sum().backward()
    assert (renderer.density.views == 2).all()
