"""Part Gaussians as a renderer, on the embedded weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.parts.inversion import read_by_encoder
from distill3d.parts.model import load_part_model
from distill3d.parts.part_file import write_parts
from distill3d.renderers import PartsRenderer, Renderer, parts
from distill3d.run.config import load, resolve
from distill3d.systems.text_to_3d import begun
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import views
from distill3d.toybox.shapes import sample_shape
from distill3d.toybox.shapes.solid_grid import filled_cells

CAMERAS = Cameras.orbit(torch.tensor([0.6, 2.4]), 0.3, 2.8, 0.785, 48)


@pytest.fixture(scope="module")
def chair():
    return sample_shape(np.random.default_rng(123), "chair")


@pytest.fixture(scope="module")
def renderer(chair):
    cells = torch.from_numpy((filled_cells(chair.parts, 64) >= 0).astype(np.float32))
    config = PartsRenderer.Config()
    return PartsRenderer(config, torch.Generator().manual_seed(0), lambda net: read_by_encoder(net, cells)).eval()


@torch.no_grad()
def test_pictures_cover_what_the_toy_covers(renderer, chair):
    covered = renderer(CAMERAS).alpha[..., 0] > 0.5
    toy = Toy(chair.parts, "chair", "grey", "plain", ("a chair",))
    true = torch.stack([torch.from_numpy(np.asarray(v.rgba[..., 3])) > 0.5 for v in views(toy, CAMERAS)])
    overlap = float((covered & true).sum() / (covered | true).sum())
    turned = float((covered & true.flip(2)).sum() / (covered | true.flip(2)).sum())
    assert overlap > 0.75
    assert turned < overlap - 0.1  # control: the mirrored picture


@torch.no_grad()
def test_a_part_that_is_moved_moves_in_the_picture(renderer):
    before = renderer(CAMERAS).alpha
    renderer.means.data += torch.tensor([0.0, 0.0, 0.15])
    renderer.occupancy.refresh(renderer.density_at, renderer.space.step, None)
    after = renderer(CAMERAS).alpha
    renderer.means.data -= torch.tensor([0.0, 0.0, 0.15])
    renderer.occupancy.refresh(renderer.density_at, renderer.space.step, None)

    def height(alpha):
        rows = torch.arange(alpha.shape[1], dtype=torch.float32)[None, :, None, None]
        return float((alpha * rows).sum() / alpha.sum())

    assert height(after) < height(before) - 1.0  # row 0 is at the top


def test_gradients_of_a_picture_reach_every_parameter(renderer):
    renderer(CAMERAS).rgb.square().mean().backward()
    for name, parameter in renderer.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
        parameter.grad = None
    assert all(not p.requires_grad for p in renderer.network.parameters())
    assert not any(name.startswith("network") for name in renderer.state_dict())


def test_the_gradient_of_a_place_is_that_of_finite_differences(renderer):
    """Of the picture's coverage, which does not jump, with the samples held where they are."""

    def covered():
        return renderer(CAMERAS[:1]).alpha.mean()

    renderer.means.grad = None
    covered().backward()
    part = int(renderer.means.grad.abs().sum(1).argmax())
    axis = int(renderer.means.grad[part].abs().argmax())
    analytic, step = float(renderer.means.grad[part, axis]), 2e-3
    renderer.means.grad = None
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            renderer.means[part, axis] += sign * step
            values.append(float(covered()))
            renderer.means[part, axis] -= sign * step
    assert analytic == pytest.approx((values[0] - values[1]) / (2 * step), rel=0.1)


@torch.no_grad()
def test_the_mesh_is_where_the_volume_is(renderer):
    mesh = renderer.to_mesh(65)
    assert set(np.unique(mesh.face_labels)) <= set(range(len(renderer.means)))
    assert float(renderer.density_at(torch.from_numpy(mesh.vertices)).median()) == pytest.approx(30.0, rel=0.3)
    assert renderer.color_at(torch.from_numpy(mesh.vertices)).shape == mesh.vertices.shape


def test_it_starts_from_a_file_of_parts_and_says_what_does_not_fit(renderer, tmp_path):
    write_parts(renderer.parts, tmp_path / "chair.safetensors")
    started = Renderer.build({"kind": "parts", "start": str(tmp_path / "chair.safetensors")})
    assert torch.equal(started.means, renderer.means)
    assert torch.equal(started.intrinsics, renderer.intrinsics)
    with pytest.raises(UserError, match="no-such"):
        Renderer.build({"kind": "parts", "start": str(tmp_path / "no-such.safetensors")})
    with pytest.raises(UserError, match="part models"):
        Renderer.build({"kind": "parts", "model": str(tmp_path)})


def test_a_sentence_starts_it_and_unknown_words_do_not_matter():
    model = load_part_model()

    def of(start):
        return parts.begun(PartsRenderer.Config(start=start), model, torch.Generator().manual_seed(3)).gaussians.means

    section = {"kind": "parts", "start": "a red chair with wheels"}
    built = Renderer.build(section, generator=torch.Generator().manual_seed(3)).means
    assert torch.equal(built, of("a chair with wheels"))
    assert not torch.equal(built, of("a lamp"))


def test_text_to_3d_begins_with_what_its_prompt_says():
    resolved = resolve(load("salad", [], prompt="a red lamp with three feet").plain, "salad")
    told = begun(resolved.config)
    assert told["start"] == "a red lamp with three feet"
    other = load("salad", ["renderer.start=a table"], prompt="a red lamp").config
    assert begun(other)["start"] == "a table"
