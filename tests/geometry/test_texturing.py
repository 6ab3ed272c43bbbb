import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.bake import bake, query_colors, seen_depth, texels
from distill3d.geometry.components import remove_floaters
from distill3d.geometry.decimate import decimate
from distill3d.geometry.iso_surface import density_surface, iso_surface, sample_grid, signed_volume
from distill3d.geometry.normals import vertex_normals
from distill3d.geometry.smooth import smooth
from distill3d.geometry.unwrap import unwrap


def ball(radius=0.5, center=(0.0, 0.0, 0.0), subdivisions=3):
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Mesh(sphere.vertices + center, sphere.faces)


def joined(*meshes):
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = np.concatenate([m.faces + k for m, k in zip(meshes, offsets, strict=False)])
    return Mesh(np.concatenate([m.vertices for m in meshes]), faces)


def two_colors(points):
    return torch.where(points[:, :1] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.8]))


def stripes(points):
    return 0.5 + 0.4 * torch.sin(points * torch.tensor([4.0, 6.0, 8.0]))


def test_floaters_and_cavities_go_and_a_second_large_piece_stays():
    cavity = ball(0.3)
    cavity.faces = cavity.faces[:, ::-1]
    mesh, removed = remove_floaters(joined(ball(), cavity, ball(0.03, (0.9, 0, 0)), ball(0.2, (0, 0, 0.8))))
    assert (removed.floaters, removed.cavities) == (1, 1)
    assert len(mesh.faces) == 2 * len(ball().faces)
    assert len(mesh.vertices) == 2 * len(ball().vertices)
    kept, removed = remove_floaters(joined(ball(), ball(0.03, (0.9, 0, 0))), share=0.0)  # negative control
    assert removed.floaters == 0
    assert len(kept.faces) == 2 * len(ball().faces)


def test_decimation_keeps_budget_and_shape():
    mesh = ball(subdivisions=5)
    small = decimate(mesh, 2000)
    assert 1500 < len(small.faces) <= 2000
    assert signed_volume(small) == pytest.approx(signed_volume(mesh), rel=0.01)
    assert decimate(mesh, 10**6) is mesh
    with pytest.raises(UserError, match="too small"):
        decimate(mesh, 2)


def test_smoothing_takes_stairs_away_and_keeps_the_volume():
    stairs = iso_surface(sample_grid(lambda p: (p.norm(dim=-1) < 0.5).float(), 40), 0.5)
    smoothed = smooth(stairs, 8)

    def roughness(mesh):
        return np.linalg.norm(mesh.vertices, axis=-1).std()

    assert roughness(smoothed) < 0.7 * roughness(stairs)
    assert signed_volume(smoothed) == pytest.approx(signed_volume(stairs), rel=0.02)
    assert np.array_equal(smooth(stairs, 0).vertices, stairs.vertices)


def test_normals_do_not_see_texture_seams():
    mesh = unwrap(ball(), 256)
    assert len(mesh.vertices) > len(ball().vertices)
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=-1, keepdims=True)
    assert np.abs(vertex_normals(mesh.vertices, mesh.faces) - outward).max() < 0.02


def test_unwrapping_keeps_triangles_and_charts_do_not_overlap():
    source = ball(subdivisions=4)
    mesh = unwrap(source, 512)
    assert np.array_equal(mesh.vertices[mesh.faces], source.vertices[source.faces])
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1
    pixel, _, weights = texels(mesh.uv, mesh.faces, 512)
    corners = mesh.uv[mesh.faces]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2
    assert len(pixel) / 512**2 == pytest.approx(area, rel=0.02)  # overlaps would count once here and twice there
    assert np.abs(weights.sum(1) - 1).max() < 1e-5


def texture_error(mesh, field):
    """Mean error at the middles of the triangles."""
    uv = mesh.uv[mesh.faces].mean(1)
    size = mesh.texture.shape[0]
    row, column = ((1 - uv[:, 1]) * size).astype(int), (uv[:, 0] * size).astype(int)
    return np.abs(mesh.texture[row, column] - query_colors(field, mesh.vertices[mesh.faces].mean(1))).mean()


def test_baked_colours_are_the_fields():
    mesh = bake(unwrap(ball(), 256), stripes, 256)
    assert texture_error(mesh, stripes) < 0.02
    assert texture_error(mesh, lambda p: stripes(p[:, [1, 2, 0]])) > 0.1  # negative control: axes in a wrong order
    turned = Mesh(mesh.vertices, mesh.faces, uv=mesh.uv * [1, -1] + [0, 1], texture=mesh.texture)
    assert texture_error(turned, stripes) > 0.1  # negative control: a picture upside down


def test_gutters_hold_the_colours_of_the_chart_beside_them():
    mesh = bake(unwrap(ball(), 256), lambda p: torch.full((len(p), 3), 0.7), 256)
    assert np.abs(mesh.texture - 0.7).max() < 1e-6


def test_seen_depth_is_where_volume_rendering_looks():
    def density(points):
        return 20 * torch.sigmoid((0.6 - points.norm(dim=-1)) / 0.03)

    grid = sample_grid(density, 64)
    mesh = density_surface(grid, 1.0)
    depth = seen_depth(mesh, grid, slant=1.0)
    t = torch.linspace(0.0, 1.0, 4000)
    thickness = density(torch.stack([1 - t, 0 * t, 0 * t], -1)) * (t[1] - t[0])
    weights = torch.exp(-(thickness.cumsum(0) - thickness)) * (1 - torch.exp(-thickness))
    expected = (weights * t).sum() / weights.sum() - (1 - np.linalg.norm(mesh.vertices, axis=-1).mean())
    assert depth.mean() == pytest.approx(float(expected), abs=0.01)
    assert depth.mean() > 0.05  # so that 0, the surface itself, would be wrong


def test_unwrap_refuses_what_it_cannot_do():
    with pytest.raises(UserError, match="without faces"):
        unwrap(Mesh(np.zeros((0, 3)), np.zeros((0, 3))))
    with pytest.raises(ValueError, match="unwrap"):
        bake(ball(), two_colors)
