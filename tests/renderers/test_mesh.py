"""The mesh renderer: it draws what it was given, learns shape and colour, and keeps its state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.compare import compare_renderings
from distill3d.geometry.unwrap import unwrap
from distill3d.renderers import MeshRenderer, Renderer
from distill3d.renderers.mesh import MeshConfig
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.renderers.mesh_regularizers import edge_length, laplacian, normal_consistency

CAMERAS = Cameras.orbit(torch.tensor([0.3, 2.0, 4.0]), torch.tensor([0.2, -0.4, 0.9]), 3.0, 0.75, 40)


def build(seed: int = 0, **changes: object) -> MeshRenderer:
    section = {"kind": "mesh", "subdivisions": 2, "supersampling": 1, **changes}
    return Renderer.build(section, generator=torch.Generator().manual_seed(seed))


def torus(texture: bool = False) -> Mesh:
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=32, minor_sections=16)
    colors = np.float32(0.5 + 0.4 * np.sin(mesh.vertices * [5, 6, 7]))
    plain = Mesh(mesh.vertices, mesh.faces, colors, name="ring")
    return unwrap(plain, 128) if texture else plain


def fit(renderer: MeshRenderer, target: Mesh, steps: int) -> list[float]:
    goal = render_mesh(target, CAMERAS, samples=3)
    wanted = torch.cat([goal.rgb, goal.alpha], -1)
    optimizer = torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)
    losses = []
    for step in range(steps):
        renderer.advance(step)
        seen = renderer(CAMERAS, background=torch.zeros(3))
        loss = (torch.cat([seen.rgb, seen.alpha], -1) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("texture", [False, True])
def test_draws_what_it_was_given(texture: bool) -> None:
    mesh = torus(texture)
    config = MeshConfig(color="texture" if texture else "vertex", texture_size=128, supersampling=2)
    renderer = MeshRenderer.from_mesh(mesh, config)
    for light in (None, torch.ones(3)):
        with torch.no_grad():
            seen = renderer(CAMERAS, background=torch.zeros(3), light=light)
        wanted = render_mesh(torus(), CAMERAS, light, samples=4)
        agreement = compare_renderings(seen, wanted)
        assert agreement.silhouette_iou > 0.985
        assert agreement.color_difference < 0.02
        assert (seen.alpha - wanted.alpha).abs().mean() < 0.006
        solid = (seen.alpha[..., 0] > 0.99) & (wanted.alpha[..., 0] > 0.99)
        assert (seen.depth - wanted.depth)[solid].abs().mean() < 0.01
    assert (seen.normal * wanted.normal).sum(-1)[solid].mean() > 0.99
    turned = render_mesh(torus(), CAMERAS[torch.tensor([1, 2, 0])])  # negative control
    assert compare_renderings(seen, turned).silhouette_iou < 0.9


def test_round_trip_keeps_geometry_and_texture() -> None:
    mesh = torus(texture=True)
    mesh.texture = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    back = MeshRenderer.from_mesh(mesh).to_mesh()
    assert np.abs(back.vertices - mesh.vertices).max() < 1e-6
    assert np.abs(back.texture - mesh.texture).max() < 2 / 255
    assert (back.uv == mesh.uv).all()
    colored = MeshRenderer.from_mesh(torus()).to_mesh()
    assert np.abs(colored.colors - torus().colors).max() < 2 / 255


def test_a_ball_takes_the_shape_and_colour_of_another_solid() -> None:
    solid = trimesh.creation.box((0.7, 0.9, 0.6)).subdivide().subdivide()
    target = Mesh(solid.vertices, solid.faces, np.tile(np.float32([0.9, 0.3, 0.1]), (len(solid.vertices), 1)))
    renderer = build(lr_vertices=0.01)
    losses = fit(renderer, target, 100)
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        agreement = compare_renderings(renderer(CAMERAS, torch.zeros(3)), render_mesh(target, CAMERAS))
    assert agreement.silhouette_iou > 0.9
    assert agreement.color_difference < 0.06
    still = build(move=False)  # negative control
    fit(still, target, 20)
    with torch.no_grad():
        agreement = compare_renderings(still(CAMERAS, torch.zeros(3)), render_mesh(target, CAMERAS))
    assert agreement.silhouette_iou < 0.6


def test_texture_learns_a_picture() -> None:
    target = torus(texture=True)
    renderer = MeshRenderer.from_mesh(
        Mesh(target.vertices, target.faces, uv=target.uv), MeshConfig(color="texture", texture_size=64, move=False)
    )
    losses = fit(renderer, torus(), 30)
    assert losses[-1] < 0.1 * losses[0]


def test_gradient_of_the_pictures_is_that_of_finite_differences() -> None:
    mesh = torus()
    renderer = MeshRenderer.from_mesh(mesh, MeshConfig(supersampling=2, smoothing=0))
    weights = torch.rand(3, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.nn.functional.avg_pool2d(weights.permute(0, 3, 1, 2), 9, 1, 4).permute(0, 2, 3, 1)

    def loss(scale: float) -> torch.Tensor:
        renderer.base.copy_(torch.from_numpy(mesh.vertices) * scale)
        return (renderer(CAMERAS, torch.zeros(3)).rgb * weights).sum()

    (gradient,) = torch.autograd.grad(loss(1.0), renderer.change)
    expected = (gradient * torch.from_numpy(mesh.vertices)).sum().item()
    with torch.no_grad():
        assert expected == pytest.approx((loss(1.01) - loss(0.99)).item() / 0.02, rel=0.05)


def test_light_of_the_room_reaches_material_and_environment() -> None:
    renderer = build(shading="pbr")
    light = torch.ones(3)
    white = renderer(CAMERAS, torch.zeros(3), light=light)
    albedo = renderer(CAMERAS, torch.zeros(3))
    solid = white.alpha[..., 0] > 0.99
    assert (white.rgb - albedo.rgb)[solid].abs().mean() < 0.08  # a matte ball in a white room shows about its albedo
    white.rgb.square().sum().backward()
    for name in ("material", "environment", "color", "change"):
        assert getattr(renderer, name).grad.abs().sum() > 0
    assert {group["name"] for group in renderer.parameter_groups()} == {"vertices", "color", "material", "environment"}


def test_state_restores_onto_another_mesh_and_goes_on_with_the_same_bits() -> None:
    first = MeshRenderer.from_mesh(torus(), MeshConfig(supersampling=1))
    fit(first, torus(), 3)
    other = build(supersampling=1)
    other.load_state_dict(first.state_dict())
    for renderer in (first, other):
        optimizer = torch.optim.Adam(renderer.parameter_groups(), lr=0.01)
        for step in range(2):
            renderer.advance(step)
            optimizer.zero_grad()
            renderer(CAMERAS, torch.ones(3), light=torch.ones(3)).rgb.square().sum().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), other.state_dict().values(), strict=True))


def test_regularizers_know_a_plane_and_an_even_ball() -> None:
    renderer = build()
    vertices, faces = renderer.vertices, renderer.faces
    edges = renderer.topology()[0]
    rough = vertices + 0.03 * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0))
    for penalty in (
        lambda v: laplacian(v, edges),
        lambda v: normal_consistency(v, faces, edges),
        lambda v: edge_length(v, edges),
    ):
        assert penalty(vertices) < 0.5 * penalty(rough)
        leaf = rough.detach().clone().requires_grad_()
        penalty(leaf).backward()
        with torch.no_grad():
            assert penalty(rough - 1e-3 * leaf.grad / leaf.grad.abs().max()) < penalty(rough)
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    two = torch.tensor([[0, 1, 2], [2, 1, 3]])
    from distill3d.kernels.mesh_edges import mesh_edges

    assert normal_consistency(flat, two, mesh_edges(two, 4)) == pytest.approx(0, abs=1e-6)
    assert normal_consistency(flat, two[:, [0, 2, 1]], mesh_edges(two, 4)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        (Mesh(np.zeros((3, 3)), np.zeros((0, 3))), "no faces"),
        (Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), "not finite"),
        (Mesh(np.zeros((3, 3)), np.array([[0, 1, 7]])), "outside"),
    ],
)
def test_bad_meshes_get_one_line(mesh: Mesh, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        MeshRenderer.from_mesh(mesh)
    assert "\n" not in str(caught.value)
