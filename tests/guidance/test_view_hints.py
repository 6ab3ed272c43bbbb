"""What ControlNets are shown of rendered views, and that a hint without weight changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.ramp import Ramp
from distill3d.core.rendering import Rendering
from distill3d.diffusion.condition import hinted
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.guidance import Guidance
from distill3d.guidance.view_hints import HintConfig, depth_picture, normal_picture, view_hints
from distill3d.toybox.hints import depth_hint
from distill3d.toybox.raycast import MISS

SIZE = 64


@pytest.fixture(scope="module")
def priors():
    """Without ControlNets, with one for depth, and with one for edges."""
    names = ((), ("toybox-depth",), ("toybox-edge",))
    return [DiffusionPrior(DiffusionPrior.Config(control=[{"model": n} for n in some])) for some in names]


def cameras():
    return Cameras.orbit(torch.tensor([0.2, 1.4]), 0.3, 2.8, 0.785, SIZE)


def ball(radius=0.6, color=0.3):
    """A ball at the origin, drawn by hand from `cameras`."""
    origins, directions = cameras().rays()
    along = -(origins * directions).sum(-1, keepdim=True)
    reach = radius**2 - origins.square().sum(-1, keepdim=True) + along.square()
    hit = reach > 0
    depth = torch.where(hit, along - reach.clamp(min=0).sqrt(), 0.0)
    normal = torch.where(hit, (origins + depth * directions) / radius, 0.0)
    foreground = color * hit.float().expand(-1, -1, -1, 3)
    extras = {"foreground": foreground}
    return Rendering(foreground + 0.5 * (~hit).float(), hit.float(), depth, normal, extras)


def judged(prior, control=(), rendering=None, kind="sds"):
    section = {"kind": kind, "weighting": "clean", "cfg_scale": 3, "control": list(control)}
    generator = torch.Generator().manual_seed(5)
    guidance = Guidance.build(section, "guidance.0", prior=prior, prompt="a red sphere", generator=generator)
    return guidance(rendering or ball(), cameras(), 10).gradient


def test_depth_is_drawn_as_the_toybox_draws_it():
    seen = ball()
    depth = seen.depth.numpy()
    for picture, distances in zip(depth_picture(seen).numpy(), depth, strict=True):
        wanted = depth_hint(np.where(distances[..., 0] > 0, distances[..., 0], MISS))
        assert np.abs(picture[..., 0] - wanted).max() < 1e-5
    half = Rendering(seen.rgb, 0.5 * seen.alpha + 0.2 * seen.alpha, seen.depth)
    assert torch.allclose(depth_picture(half), 0.7 * depth_picture(seen))
    assert depth_picture(Rendering(seen.rgb, 0 * seen.alpha, seen.depth)).abs().max() == 0


def test_normals_are_the_cameras_own():
    seen = normal_picture(ball(), cameras())
    for picture in seen:
        assert torch.allclose(picture[SIZE // 2, SIZE // 2], torch.tensor([0.5, 0.5, 1.0]), atol=0.05)  # towards it
        column, row = picture[:, SIZE // 2], picture[SIZE // 2]
        covered = column[:, 2] > 0
        assert column[covered][0, 1] > 0.9 > 0.1 > column[covered][-1, 1]  # up is green
        covered = row[:, 2] > 0
        assert row[covered][-1, 0] > 0.9 > 0.1 > row[covered][0, 0]  # right is red
    with pytest.raises(ValueError, match="without normals"):
        normal_picture(Rendering(seen, seen[..., :1], seen[..., :1]), cameras())


def test_edges_are_the_outline_of_a_plain_ball(priors):
    (hint,) = view_hints(ball(), cameras(), priors[2], (HintConfig(hint="edge"),), 0)
    edge = hint.image[0, ..., 0] > 0.5
    rows, columns = edge.nonzero(as_tuple=True)
    radius = ((rows - 31.5).square() + (columns - 31.5).square()).sqrt()
    wanted = SIZE / 2 * math.tan(math.asin(0.6 / 2.8)) / math.tan(0.785 / 2)
    assert len(rows) > 50
    assert (radius - wanted).abs().max() < 2


@pytest.mark.parametrize(("which", "kind"), [(1, "depth"), (2, "edge")])
def test_without_weight_it_is_plain_sds_to_the_bit(priors, which, kind):
    plain = judged(priors[0])
    assert torch.equal(judged(priors[which], [{"hint": kind, "weight": 0}]), plain)
    assert torch.equal(judged(priors[which], [{"hint": kind, "weight": {0: 0, 10: 0, 20: 1}}]), plain)
    heard = judged(priors[which], [{"hint": kind, "weight": 1}])
    assert (heard - plain).abs().max() > 0.01
    assert torch.equal(judged(priors[which], [{"hint": kind, "weight": 1}]), heard)


def test_a_guide_beside_the_views_is_shown_in_their_place(priors):
    control = [{"hint": "depth", "weight": 1}]
    guided = ball()
    guided.extras["guide"] = ball(0.3)
    own, other = (judged(priors[1], control, rendering) for rendering in (ball(), guided))
    assert (own - other).abs().max() > 0.01
    guided.extras["guide"] = ball()
    assert torch.equal(judged(priors[1], control, guided), own)


def test_every_branch_sees_the_hint(priors):
    told = hinted(priors[1].condition("a red sphere", cameras()), ("hint",))
    assert told.control == told.unconditional.control == ("hint",)
    assert priors[1].condition("a red sphere").control == ()


def test_hints_that_nobody_sees_are_refused(priors):
    with pytest.raises(UserError, match="1 hints for a prior with 0 ControlNets"):
        judged(priors[0], [{"hint": "depth"}])
    with pytest.raises(UserError, match=r"guidance\.0\.control\.0\.hint"):
        judged(priors[1], [{"hint": "dept"}])
    assert HintConfig().weight == Ramp(1.0)
