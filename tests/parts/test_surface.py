"""From parts to triangles: on the embedded network and a chair that it has not seen, and on a small random one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.geometry.closed import loose_edges
from distill3d.geometry.iso_surface import signed_volume
from distill3d.parts import surface
from distill3d.parts.inversion import read_by_encoder
from distill3d.parts.model import load_network
from distill3d.parts.surface import logit_grid, part_meshes, to_mesh
from distill3d.toybox.shapes import sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells
from tests.parts.tiny import tiny_network, tiny_shape


@pytest.fixture(scope="module")
def network():
    return load_network()


@pytest.fixture(scope="module")
def shape(network):
    chair = sample_shape(np.random.default_rng(123), "chair", legs="four", arms="straight", back="solid")
    return read_by_encoder(network, torch.from_numpy((filled_cells(chair.parts, 64) >= 0).astype(np.float32)))


def dense(network, shape, side):
    """The logits of every point, asked one for one."""
    line = torch.linspace(-1, 1, side)
    points = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(1, -1, 3)
    return network.logits(shape.intrinsics[None], shape.gaussians[None], points).reshape((side,) * 3).numpy()


def test_the_grid_is_that_of_every_point_where_the_surface_is(network, shape, monkeypatch):
    everywhere = dense(network, shape, 33)
    assert np.abs(logit_grid(network, shape, 33) - everywhere).max() < 1e-4  # one level: all is asked
    monkeypatch.setattr(surface, "COARSEST", 17)
    refined = logit_grid(network, shape, 33)
    assert refined.shape == everywhere.shape
    close = np.abs(refined - everywhere) < 1e-4
    edge = np.zeros_like(close)  # points with a neighbour on the other side
    for axis in range(3):
        differ = np.diff(everywhere > 0, axis=axis)
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        edge[tuple(low)] |= differ
        edge[tuple(high)] |= differ
    assert edge.sum() > 500
    assert close[edge].mean() > 0.97  # but for what is thinner than a coarse cell
    assert 0.05 < close.mean() < 0.95  # control: away from the surface it did not ask


def test_pieces_are_closed_and_make_up_the_whole(network, shape):
    pieces, whole = part_meshes(network, shape, 97), to_mesh(network, shape, 97)  # 33 would cut thin parts short
    assert len(pieces) >= 3
    for number, piece in pieces.items():
        assert loose_edges(piece) == 0, number
        assert signed_volume(piece) > 0
    assert sum(map(signed_volume, pieces.values())) == pytest.approx(signed_volume(whole), rel=0.02)
    largest = max(pieces, key=lambda number: signed_volume(pieces[number]))
    assert signed_volume(pieces[largest]) < 0.95 * signed_volume(whole)  # control: no piece is it all


def test_pieces_lie_where_their_gaussians_say(network, shape):
    for number, piece in part_meshes(network, shape, 33).items():
        middle = torch.from_numpy(piece.vertices).mean(0)
        others = shape.gaussians.log_densities(torch.from_numpy(piece.vertices))
        own = others[:, number].clone()
        others[:, number] = -torch.inf
        assert float((own - others.amax(-1)).quantile(0.02)) > -1.0, (number, middle)


def test_faces_know_their_parts(network, shape):
    mesh = to_mesh(network, shape, 33)
    assert mesh.face_labels is not None
    assert mesh.face_labels.shape == (len(mesh.faces),)
    assert set(mesh.face_labels.tolist()) == set(part_meshes(network, shape, 33))


def test_the_surface_does_not_depend_on_the_order_of_parts():
    network = tiny_network()
    shape, order = tiny_shape(network), torch.tensor([2, 4, 0, 1, 3])
    turned = logit_grid(network, shape.only(order), 17)
    assert np.abs(turned - logit_grid(network, shape, 17)).max() < 1e-3
    fewer = logit_grid(network, shape.only(order[:3]), 17)
    assert np.abs(fewer - turned).max() > 0.01


def test_nothing_inside_is_said():
    empty = tiny_network()
    shape = tiny_shape(empty)
    empty.occupancy.head[2].bias -= 1000.0
    with pytest.raises(UserError, match="enclose nothing"):
        part_meshes(empty, shape, 17)
    with pytest.raises(UserError, match="resolution"):
        logit_grid(empty, shape, 1)
