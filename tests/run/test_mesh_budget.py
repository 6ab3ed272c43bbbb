import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.bake import bake
from distill3d.geometry.compare import compare_renderings
from distill3d.geometry.unwrap import unwrap
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.run.asset import comparison_cameras
from distill3d.run.mesh_budget import surface_colors, with_vertex_colors, within_budget


def painted(places):
    return (0.5 + 0.4 * np.sin(places * [3.0, 5.0, 7.0])).astype(np.float32)


def ball(kind):
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=0.6)
    if kind == "colors":
        return Mesh(sphere.vertices, sphere.faces, painted(sphere.vertices), name="ball")

    def color_at(points):
        return torch.from_numpy(painted(points.numpy()))

    return bake(unwrap(Mesh(sphere.vertices, sphere.faces, name="ball"), 256), color_at, 256)


def agreement(first, second):
    cameras = comparison_cameras().resized(48)
    return compare_renderings(render_mesh(first, cameras), render_mesh(second, cameras))


@pytest.mark.parametrize("kind", ["colors", "texture"])
def test_fewer_faces_look_the_same(kind):
    mesh = ball(kind)
    small = within_budget(mesh, 600)
    assert len(small.faces) <= 600 < len(mesh.faces) / 5
    assert (small.texture is None) == (mesh.texture is None)
    found = agreement(mesh, small)
    assert found.color_difference < 0.02
    assert found.silhouette_iou > 0.97
    wrong = Mesh(small.vertices[:, [1, 2, 0]], small.faces, small.colors, small.uv, small.texture)  # negative control
    assert agreement(mesh, wrong).color_difference > 0.1
    assert small.name == "ball"


def test_within_the_budget_nothing_changes():
    mesh = ball("texture")
    assert within_budget(mesh, 100_000) is mesh
    assert within_budget(mesh) is mesh
    assert within_budget(mesh, None, 4096) is mesh  # never larger


def test_textures_become_smaller_and_vertex_colours_a_texture():
    mesh = ball("texture")
    smaller = within_budget(mesh, texture=64)
    assert smaller.texture.shape == (64, 64, 3)
    assert np.abs(smaller.texture - mesh.texture.reshape(64, 4, 64, 4, 3).mean((1, 3))).max() < 2 / 255
    baked = within_budget(ball("colors"), 1000, 128)
    assert baked.texture.shape == (128, 128, 3)
    assert agreement(ball("colors"), baked).color_difference < 0.03


def test_a_mesh_without_colour_stays_so():
    sphere = trimesh.creation.icosphere(subdivisions=3)
    small = within_budget(Mesh(sphere.vertices, sphere.faces), 200, 128)
    assert small.colors is None
    assert small.texture is None
    assert len(small.faces) <= 200


def test_seams_do_not_tear():
    mesh = ball("texture")  # its vertices on seams are doubled
    found = within_budget(mesh, 500)
    small = trimesh.Trimesh(found.vertices, found.faces, process=False)
    small.merge_vertices(merge_tex=True, merge_norm=True)
    assert small.is_watertight


def test_colours_of_a_texture_at_its_vertices():
    mesh = ball("texture")
    assert np.abs(with_vertex_colors(mesh).colors - painted(mesh.vertices)).mean() < 0.02
    plain = ball("colors")
    assert with_vertex_colors(plain) is plain


def test_the_field_of_colours_is_even_over_large_and_small_triangles():
    vertices = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 10, 0], [10.1, 10, 0], [10, 10.1, 0]], np.float32)
    mesh = Mesh(vertices, [[0, 1, 2], [3, 4, 5]], painted(vertices * 0.01))
    query = torch.tensor([[3.0, 3.0, 0.5], [1.0, 7.0, 0.0]])
    seen = surface_colors(mesh, 20_000)(query).numpy()
    weights = np.array([[0.4, 0.3, 0.3], [0.2, 0.1, 0.7]])
    assert np.abs(seen - weights @ mesh.colors[:3]).max() < 0.01


@pytest.mark.parametrize(("numbers", "says"), [((3,), "--faces is 4 to"), ((None, 8), "--texture is 64 to 8192")])
def test_numbers_out_of_range(numbers, says):
    with pytest.raises(UserError, match=says):
        within_budget(ball("colors"), *numbers)
