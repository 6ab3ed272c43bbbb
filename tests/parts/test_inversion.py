"""Reading parts off a solid."""

import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.parts.inversion import invert, solid_of
from distill3d.parts.model import load_network
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.toybox.shapes import sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells

SMALL = PartSizes(parts=4, latent=16, intrinsics=8, width=16, depth=1, heads=2, pair=16, nearest=3)


def _mesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(shape.vertices, shape.faces, name="thing")


def test_a_box_fills_the_cells_that_it_should():
    cells = solid_of(_mesh(trimesh.creation.box((2.0, 1.0, 0.5))))
    reach = 0.9 / np.linalg.norm([1.0, 0.5, 0.25])
    expected = np.prod(2 * reach * np.array([1.0, 0.5, 0.25])) / 8 * 64**3
    assert abs(float(cells.sum()) / expected - 1) < 0.06
    x, y, z = (int(v.max() - v.min()) for v in np.nonzero(cells.numpy()))
    assert x > y > z


def test_open_inverted_flat_and_broken_meshes_are_told_apart():
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    with pytest.raises(UserError, match="is open"):
        solid_of(Mesh(box.vertices, box.faces[2:], name="thing"))
    tube = trimesh.creation.cylinder(1.0, 2.0, sections=16)
    sides = np.abs(tube.face_normals[:, 2]) < 0.5  # what is left of it has no more area one way than the other
    with pytest.raises(UserError, match="is open, at 32 edges"):
        solid_of(Mesh(tube.vertices, tube.faces[sides], name="thing"))
    with pytest.raises(UserError, match="inside out"):
        solid_of(Mesh(box.vertices, box.faces[:, ::-1], name="thing"))
    with pytest.raises(UserError, match="no volume"):
        solid_of(_mesh(trimesh.creation.box((1.0, 1.0, 1e-4))))
    with pytest.raises(UserError, match="not finite"):
        solid_of(Mesh(box.vertices * np.nan, box.faces, name="thing"))
    with pytest.raises(UserError, match="no faces"):
        solid_of(Mesh(box.vertices, np.zeros((0, 3), int), name="thing"))


def test_descent_comes_closer_than_the_first_guess():
    """On the embedded network, and a chair that it has not seen."""
    network = load_network()
    chair = sample_shape(np.random.default_rng(123), "chair")
    cells = torch.from_numpy((filled_cells(chair.parts, 64) >= 0).astype(np.float32))
    centres = torch.stack(torch.meshgrid(*[(torch.arange(64) + 0.5) / 32 - 1] * 3, indexing="ij"), -1)
    some = torch.randperm(64**3, generator=torch.Generator().manual_seed(0))[:30_000]
    truth = cells.reshape(-1)[some] > 0.5

    def overlap(steps: int) -> float:
        shape = invert(network, cells, steps)
        inside = (
            network.logits(shape.intrinsics[None], shape.gaussians[None], centres.reshape(1, -1, 3)[:, some])[0] > 0
        )
        return float((inside & truth).sum() / (inside | truth).sum())

    assert overlap(40) > overlap(0) + 0.02


def test_the_same_seed_gives_the_same_parts():
    torch.manual_seed(0)
    network, cells = PartNetwork(SMALL), solid_of(_mesh(trimesh.creation.box((1.0, 1.0, 1.0))))
    first, again, other = (invert(network, cells, 3, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.intrinsics, again.intrinsics)
    assert not torch.equal(first.intrinsics, other.intrinsics)


def test_a_grid_of_nothing_or_of_another_size_is_refused():
    network = PartNetwork(SMALL)
    with pytest.raises(UserError, match="nothing is filled"):
        invert(network, torch.zeros(64, 64, 64))
    with pytest.raises(UserError, match="64 cells"):
        invert(network, torch.ones(32, 32, 32))
