"""Tetrahedra: they carve a solid out of a ball, take over from others, refuse nothing at all, and keep their state."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.compare import compare_renderings
from distill3d.geometry.signed_distance import inside
from distill3d.renderers import MeshRenderer, NerfRenderer, Renderer, TetrahedraRenderer
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.renderers.mesh_regularizers import laplacian
from distill3d.renderers.tetrahedra import TetrahedraConfig
from distill3d.renderers.tetrahedra_start import match_colors
from tests.renderers.analytic import picture, smooth_picture
from tests.renderers.test_nerf import build as build_nerf
from tests.renderers.test_nerf import fit as fit_nerf

BLACK = torch.zeros(3)
SMALL = {"kind": "tetrahedra", "resolution": 16, "supersampling": 1, "grid": {"levels": 4, "finest": 32}}


def build(seed: int = 0, **changes: object) -> TetrahedraRenderer:
    return Renderer.build({**SMALL, **changes}, generator=torch.Generator().manual_seed(seed))


def views(count: int, size: int = 32) -> Cameras:
    return Cameras.orbit(torch.arange(count) * 2.4, torch.linspace(-0.5, 1.0, count), 3.0, 0.75, size)


def step(renderer: TetrahedraRenderer, optimizer: torch.optim.Optimizer, index: int, cameras: Cameras) -> float:
    """One step towards the scene of `analytic`."""
    renderer.advance(index, optimizer)
    foreground, alpha = smooth_picture(cameras)
    seen = renderer(cameras, BLACK)
    vertices, _, edges = seen.extras["surface"]
    wanted = torch.cat([foreground, alpha], -1)
    loss = (torch.cat([seen.rgb, seen.alpha], -1) - wanted).square().mean()
    optimizer.zero_grad()
    (loss + laplacian(vertices, edges)).backward()
    optimizer.step()
    return loss.item()


def adam(renderer: Renderer) -> torch.optim.Optimizer:
    return torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)


def overlap(mesh: Mesh) -> float:
    """Intersection over union of the solid with the scene's ball and box."""
    from tests.renderers.analytic import BALL, HIGH, LOW, RADIUS

    points = torch.rand(8000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    truth = ((points - BALL).norm(dim=1) < RADIUS) | ((points > LOW) & (points < HIGH)).all(1)
    found = torch.from_numpy(inside(mesh, points.numpy()))
    return ((found & truth).sum() / (found | truth).sum()).item()


@pytest.mark.parametrize("color", ["field", "vertex"])
def test_a_solid_is_carved_out_of_a_ball(color: str) -> None:
    renderer, cameras = build(color=color), views(16)
    optimizer = adam(renderer)
    before = overlap(renderer.to_mesh())
    order = torch.Generator().manual_seed(1)
    losses = [step(renderer, optimizer, k, cameras[torch.randperm(16, generator=order)[:4]]) for k in range(70)]
    assert before < 0.5
    assert overlap(renderer.to_mesh()) > 0.8
    assert np.mean(losses[-5:]) < 0.15 * losses[0]
    with torch.no_grad():
        seen = renderer(cameras[:2], BLACK, light=torch.ones(2))
    _, alpha, depth, normal = picture(cameras[:2])
    both = (alpha[..., 0] > 0) & (seen.alpha[..., 0] > 0.99)
    assert (seen.depth - depth).abs()[both].median() < 0.05
    assert (seen.normal * normal).sum(-1)[both].median() > 0.9


def test_starts_from_a_mesh_with_its_colors() -> None:
    ring = trimesh.creation.torus(0.5, 0.22, major_sections=32, minor_sections=16)
    mesh = Mesh(ring.vertices, ring.faces, np.float32(0.5 + 0.4 * np.sin(ring.vertices * [3, 4, 5])), name="ring")
    renderer = TetrahedraRenderer.from_mesh(mesh, TetrahedraConfig(resolution=24, color="vertex"))
    with torch.no_grad():
        agreement = compare_renderings(renderer(views(4, 48), BLACK), render_mesh(mesh, views(4, 48)))
    assert agreement.silhouette_iou > 0.95
    assert agreement.color_difference < 0.04
    again = MeshRenderer.from_mesh(renderer.to_mesh())
    with torch.no_grad():
        agreement = compare_renderings(again(views(4, 48), BLACK), render_mesh(mesh, views(4, 48)))
    assert agreement.silhouette_iou > 0.95
    moved = Mesh(mesh.vertices + 0.15, mesh.faces, mesh.colors)  # negative control
    assert compare_renderings(render_mesh(moved, views(4, 48)), render_mesh(mesh, views(4, 48))).silhouette_iou < 0.8


@pytest.fixture(scope="module")
def fitted() -> NerfRenderer:
    """A NeRF in training that has learnt the scene of `analytic`."""
    nerf = build_nerf()
    fit_nerf(nerf, 60)
    return nerf


@pytest.mark.parametrize("color", ["field", "vertex"])
def test_takes_over_from_a_nerf(fitted: NerfRenderer, color: str) -> None:
    nerf = copy.deepcopy(fitted)
    config = TetrahedraRenderer.config_after(nerf, {"kind": "tetrahedra", "resolution": 24, "color": color})
    assert config.grid == nerf.config.grid
    renderer = TetrahedraRenderer.from_renderer(nerf, config, torch.Generator().manual_seed(0))
    assert nerf.training
    nerf.eval()
    with torch.no_grad():
        agreement = compare_renderings(renderer(views(4, 48), BLACK), nerf(views(4, 48), BLACK))
    assert agreement.silhouette_iou > 0.9
    assert agreement.color_difference < 0.07
    with torch.no_grad():
        seen = renderer(views(4, 48), BLACK)
    seen.rgb = seen.rgb.flip(-1)  # negative control: red for blue
    assert compare_renderings(seen, nerf(views(4, 48), BLACK)).color_difference > 0.15


def test_an_empty_first_stage_is_refused_in_one_line() -> None:
    nerf = build_nerf(blob={"kind": "none"})
    with torch.no_grad():
        nerf.field.weights[-1].zero_()
    nerf.field.network = nerf.field.network.model_copy(update={"density_scale": 1e-6})
    with pytest.raises(UserError, match="first stage cannot become a surface: the density is empty") as caught:
        TetrahedraRenderer.from_renderer(nerf)
    assert "\n" not in str(caught.value)
    speck = trimesh.creation.icosphere(1, 0.01)
    with pytest.raises(UserError, match="encloses none"):
        TetrahedraRenderer.from_mesh(Mesh(speck.vertices + 0.03, speck.faces), TetrahedraConfig(resolution=8))


def test_a_surface_that_vanished_says_so() -> None:
    renderer = build()
    renderer.base[:, 0] = 1.0
    with pytest.raises(UserError, match="vanished"):
        renderer(views(1), BLACK)


def test_the_surface_stays_closed_at_the_end_of_the_grid() -> None:
    renderer = build(color="vertex")
    renderer.base[:, 0] = -1.0
    mesh = renderer.to_mesh()
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_watertight


def test_resumed_from_its_state_it_goes_on_with_the_same_bits() -> None:
    def run(renderer: TetrahedraRenderer, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
        for k in range(first, last):
            step(renderer, optimizer, k, views(2, 24))

    whole = build()
    optimizer = adam(whole)
    run(whole, optimizer, 0, 2)
    state = {k: v.clone() for k, v in whole.state_dict().items()}
    moments = copy.deepcopy(optimizer.state_dict())
    resumed = build(seed=9)
    resumed.load_state_dict(state)
    again = adam(resumed)
    again.load_state_dict(moments)
    run(whole, optimizer, 2, 4)
    run(resumed, again, 2, 4)
    assert not torch.equal(whole.base, state["base"])
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_matching_colors_moves_nothing() -> None:
    renderer = build(color="vertex")
    before = renderer.surface()[0].detach().clone()
    target = build(color="vertex")
    with torch.no_grad():
        target.color += torch.tensor([3.0, -3.0, 0.0])
    left = match_colors(renderer, renderer.color_groups(), lambda cameras: target(cameras, BLACK))
    assert left < 0.01
    assert torch.equal(before, renderer.surface()[0])
