"""Text to 3D under a ControlNet: what it is shown, of the scene itself or of a mesh, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.run.config import load
from distill3d.systems.controlled import Controlled, read_guide, soft_overlap

SMALL = ["cameras.views=1", "renderer.kind=gaussians", "renderer.start.count=200"]


@pytest.fixture(scope="module")
def prior():
    return DiffusionPrior(DiffusionPrior.Config(control=[{"model": "toybox-depth"}]))


@pytest.fixture
def box(tmp_path):
    """Flat and off to one side, in units of its own."""
    mesh = trimesh.creation.box((4, 2, 1))
    mesh.apply_translation((10, 0, 0))
    mesh.export(tmp_path / "box.ply")
    return tmp_path / "box.ply"


def system(prior, *overrides, **values):
    resolved = load("controlnet3d", [*SMALL, *overrides], prompt="a red cube", **values)
    return Controlled(resolved.config, torch.device("cpu"), torch.Generator().manual_seed(0), prior=prior)


def test_a_step_reaches_the_scene_and_the_hint_changes_it(prior):
    found = {}
    for weight in (0, 1):
        made = system(prior, f"guidance.0.control=[{{hint: depth, weight: {weight}}}]")
        sum(made.losses(0).values()).backward()
        found[weight] = made.renderer.means.grad.clone()
    assert found[0].abs().max() > 0
    assert not torch.equal(found[0], found[1])


def test_normals_are_drawn_where_a_hint_wants_them(prior):
    wants = system(prior, "guidance.0.control=[{hint: normal}]", "light.shaded=0")
    assert wants.render(0)[1].normal is not None
    assert system(prior, "light.shaded=0", "light.albedo_until=999").render(0)[1].normal is None


def test_a_mesh_is_seen_from_the_same_cameras(prior, box):
    made = system(prior, "guidance.0.control=[{hint: depth}]", mesh=str(box))
    rendering = made.render(0)[1]
    guide = rendering.extras["guide"]
    assert guide.rgb.shape == rendering.rgb.shape
    assert 0.01 < float(guide.alpha.mean()) < 0.6
    assert "guide" not in system(prior).render(0)[1].extras
    assert np.allclose(made.placing.inverse.matrix @ [0, 0, 0, 1], [10, 0, 0, 1])  # written where the mesh was
    assert not any(name.startswith("_guide") for name in made.state_dict())
    numbers, pictures = made.findings()
    assert 0 < numbers["silhouette_iou_to_mesh"] < 1
    assert pictures["mesh_above_asset"].shape == (256, 512, 3)
    assert system(prior).findings() == ({}, {})


def test_the_overlap_of_a_mesh_with_itself_is_whole(box):
    guide, _ = read_guide(box)
    one = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    assert soft_overlap(one, one) == pytest.approx(1)
    assert soft_overlap(one, one.flip(0)) < 0.9
    assert guide.vertices.detach().norm(dim=1).max().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance.0.control=[]"], "no guidance has a key control"),
        (["prior.control=[]"], "1 hints, prior.control names 0"),
        (["guidance.0.control=[{hint: dept}]"], "control.0.hint"),
        (["guidance.0.control=[{hint: depth, wight: 1}]"], "did you mean 'weight'"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_any_work(overrides, words):
    with pytest.raises(UserError) as error:
        load("controlnet3d", overrides, prompt="a red cube")
    assert words in str(error.value)


def test_a_mesh_that_is_none(prior, tmp_path):
    (tmp_path / "a.ply").write_text("hello")
    for name in ("a.ply", "gone.obj"):
        with pytest.raises(UserError, match=name):
            system(prior, mesh=str(tmp_path / name))
