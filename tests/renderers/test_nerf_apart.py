"""A NeRF whose density and colour have fields of their own: it begins as one field, and one part moves alone."""

from __future__ import annotations

import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.renderers import Renderer

SMALL = {
    "kind": "nerf", "step": 0.06, "grid": {"levels": 4, "log2_table": 10, "base": 4, "finest": 16},
    "occupancy": {"resolution": 16},
}  # fmt: skip
CAMERAS = Cameras.orbit(torch.tensor([0.3]), 0.2, 2.8, 0.785, 16)


def built(**more):
    return Renderer.build({**SMALL, **more}, generator=torch.Generator().manual_seed(0))


def scene():
    made = built()
    with torch.no_grad():
        made.field.table.copy_(torch.randn(made.field.table.shape, generator=torch.Generator().manual_seed(1)))
    made.advance(0)
    return made


def drawn(renderer):
    with torch.no_grad():
        return renderer.eval()(CAMERAS, background=torch.zeros(3), normals=True)


@pytest.mark.parametrize("shape", ["apart", "still"])
def test_it_begins_as_the_field_that_was_one_to_the_bit(shape):
    one, two = scene(), built(shape=shape)
    assert not torch.equal(drawn(two).rgb, drawn(one).rgb)
    two.load_state_dict(one.state_dict())
    for name in ("rgb", "alpha", "depth", "normal"):
        assert torch.equal(getattr(drawn(two), name), getattr(drawn(one), name))
    again = built(shape=shape)
    again.load_state_dict(two.state_dict())  # its own state, too
    assert torch.equal(drawn(again).rgb, drawn(one).rgb)


@pytest.mark.parametrize("shape", ["shared", "apart", "still"])
def test_paint_alone_moves_where_the_shape_is_still(shape):
    made, was = built(shape=shape), scene()
    made.load_state_dict(was.state_dict())
    groups = made.parameter_groups()
    names = {group["name"] for group in groups}
    assert names == {"grid", "network"} | ({"shape_grid", "shape_network"} if shape == "apart" else set())
    optimizer = torch.optim.Adam(groups)
    made.train().advance(0, optimizer)
    made(CAMERAS, background=torch.zeros(3)).rgb.sum().backward()
    optimizer.step()
    made.advance(16, optimizer)
    after, before = drawn(made), drawn(was)
    assert not torch.equal(after.rgb, before.rgb)
    assert torch.equal(after.alpha, before.alpha) == (shape == "still")
    assert torch.equal(after.depth, before.depth) == (shape == "still")
