"""The NeRF in contracted space: far walls, colours that depend on the view, and samples that nobody sees."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.renderers import NerfRenderer, Renderer
from distill3d.renderers.nerf_space import FieldSamples
from distill3d.renderers.nerf_visible import visible

CONTRACTED = {
    "kind": "nerf",
    "step": 0.05,
    "space": {"kind": "contracted", "near": 0.1, "far": 20.0, "even_until": 0.5},
    "grid": {"levels": 6, "base": 8, "finest": 64, "log2_table": 14},
    "blob": {"kind": "none"},
    "network": {"activation": "exp", "density_scale": 1.0, "view_degree": 1},
    "occupancy": {"resolution": 32, "refresh_every": 8},
}


def build(**changes: object) -> NerfRenderer:
    return Renderer.build({**CONTRACTED, **changes}, generator=torch.Generator().manual_seed(0))


def room(origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour [R, 3] and distance [R] of a ball of radius 8 seen from inside: hue by where it is hit."""
    b = (origins * directions).sum(-1)
    distance = -b + (b.square() - origins.square().sum(-1) + 64).sqrt()
    return 0.5 + 0.4 * torch.sin(1.5 * (origins + distance[:, None] * directions) / 8 * torch.pi), distance


def rays(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    origins = torch.randn(count, 3, generator=generator) * 0.4
    return origins, torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)


def test_a_far_wall_is_learnt_where_it_stands() -> None:
    renderer, generator = build(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)
    for step in range(150):
        renderer.advance(step)
        origins, directions = rays(512, generator)
        traced = renderer.trace(origins, directions)
        behind = torch.rand(512, 3, generator=generator)
        shown = traced.foreground + (1 - traced.alpha[:, None]) * behind
        loss = (shown - room(origins, directions)[0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    renderer.eval()
    origins, directions = rays(2000, torch.Generator().manual_seed(2))
    with torch.no_grad():
        traced = renderer.trace(origins, directions)
    color, distance = room(origins, directions)
    assert (traced.foreground - color).square().mean() < 0.005  # 23 dB
    assert traced.alpha.mean() > 0.95
    assert 0.75 < (traced.depth / distance).median() < 1.25
    ball = build(space={"kind": "ball"}, network={"activation": "exp"}, step=0.05).eval()
    assert ball.trace(origins, directions).depth.max() < 3  # without contraction there is no wall to be found


def test_pieces_of_a_picture_are_the_picture() -> None:
    """Without gradients rays go through in parts; with them all at once."""
    renderer = build().eval()
    cameras = Cameras.orbit(torch.tensor([0.3, 2.0]), 0.2, 1.0, 1.0, 70)
    whole = renderer(cameras)
    with torch.no_grad():
        pieces = renderer(cameras)
    assert len(cameras) * 70 * 70 > 8192
    torch.testing.assert_close(whole.rgb, pieces.rgb, atol=1e-6, rtol=0)
    assert whole.extras["samples"] == pieces.extras["samples"] > 0


def test_colour_changes_with_the_direction_and_the_mesh_sees_what_does_not() -> None:
    renderer = build().eval()
    with torch.no_grad():
        renderer.field.weights[-1][4:] *= 30
    origins = torch.zeros(2, 3)
    directions = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    point = torch.tensor([[0.5, 0.0, 0.0]])
    positions = renderer.space.positions(point).repeat(2, 1)
    _, color = renderer.field.seen(positions, directions, torch.tensor([0, 1, 2]))
    assert (color[0] - color[1]).abs().max() > 1e-3
    albedo = renderer.color_at(point)[0]
    torch.testing.assert_close(albedo, renderer.field(positions[:1])[1][0])
    assert renderer.trace(origins, directions).samples > 0


def test_normals_outside_the_unit_ball_are_those_of_the_world() -> None:
    """A shell of radius 3, bent by the contraction: the normal still points at the camera inside."""
    renderer = build().eval()

    class Shell(torch.nn.Module):
        def density(self, positions: torch.Tensor) -> torch.Tensor:
            radius = (positions * 4 - 2).norm(dim=-1)
            return torch.sigmoid((radius - (2 - 1 / 3)) * 60)

    renderer.field = Shell()
    directions = torch.nn.functional.normalize(torch.tensor([[[[1.0, 0.2, 0.1], [0.1, 1.0, -0.4]]]]), dim=-1)
    normal, hit = renderer._normals(
        torch.zeros_like(directions), directions, torch.full((1, 1, 2), 3.0), torch.ones(1, 1, 2, 1)
    )
    assert hit.all()
    assert (normal * -directions).sum(-1).min() > 0.999


def packed(thickness: list[list[float]]) -> tuple[FieldSamples, torch.Tensor]:
    counts = torch.tensor([len(ray) for ray in thickness])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    values = torch.tensor([v for ray in thickness for v in ray])
    positions = torch.stack([values, values * 0, values * 0], -1)
    return FieldSamples(positions, torch.arange(len(values)).float(), None, offsets), values


def test_only_what_is_hidden_for_certain_is_left_out() -> None:
    """Against the thickness in front summed over all samples: whatever a thousandth of the light reaches is kept."""
    generator = torch.Generator().manual_seed(0)
    rays = [(torch.rand(n, generator=generator) * 6).tolist() for n in (0, 1, 40, 7, 64, 33)]
    at, values = packed(rays)
    kept = visible(at, lambda positions: positions[:, 0], 1.0)
    start = torch.repeat_interleave(at.offsets[:-1], at.offsets.diff())
    total = torch.cat([torch.zeros(1), values.cumsum(0)])
    front = total[:-1] - total[start]
    must_stay = at.t[front < 9.2].tolist()
    assert set(must_stay) <= set(kept.t.tolist())
    assert len(kept.t) < 0.6 * len(at.t)  # and it is worth it
    assert kept.offsets.diff().sum() == len(kept.t)
    assert torch.equal(visible(packed([[0.1] * 50])[0], lambda p: p[:, 0], 1.0).t, torch.arange(50).float())


def test_view_dependence_needs_what_it_needs() -> None:
    with pytest.raises(UserError, match="view_degree"):
        build(blob={"kind": "magic3d"})
    with pytest.raises(UserError, match="near must be less than far"):
        build(space={"kind": "contracted", "near": 5.0, "far": 2.0})
