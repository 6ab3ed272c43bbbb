import numpy as np
import pytest
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.geometry.signed_distance import closest_points, inside, signed_distance

POINTS = np.random.default_rng(0).uniform(-1, 1, (3000, 3))


def box():
    mesh = trimesh.creation.box((0.8, 0.6, 1.0))
    return Mesh(mesh.vertices, mesh.faces)


def exact(points):
    q = np.abs(points) - [0.4, 0.3, 0.5]
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)


def test_distance_to_a_box():
    assert np.abs(signed_distance(box(), POINTS) - exact(POINTS)).max() < 1e-6
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 11)] * 3), -1).reshape(-1, 3)  # aligned with faces and edges
    off = np.abs(exact(grid)) > 1e-9
    assert np.abs(signed_distance(box(), grid) - exact(grid))[off].max() < 1e-6
    assert np.abs(signed_distance(box(), POINTS + 0.1) - exact(POINTS)).max() > 0.05  # negative control


def test_closest_points_lie_on_the_surface_at_that_distance():
    mesh = box()
    distance, triangle, weights = closest_points(mesh, POINTS)
    places = np.einsum("nk,nkc->nc", weights, mesh.vertices[mesh.faces[triangle]])
    assert np.abs(np.linalg.norm(places - POINTS, axis=1) - distance).max() < 1e-9
    assert weights.min() > -1e-9


def test_overlapping_parts_inverted_meshes_and_small_holes():
    parts = trimesh.util.concatenate([trimesh.creation.icosphere(3, 0.5), trimesh.creation.box((0.2, 0.2, 1.6))])
    truth = (np.linalg.norm(POINTS, axis=1) < 0.5) | (np.abs(POINTS) < [0.1, 0.1, 0.8]).all(1)
    assert (inside(Mesh(parts.vertices, parts.faces), POINTS) == truth).mean() > 0.995
    assert (inside(Mesh(parts.vertices, parts.faces[:, ::-1]), POINTS) == truth).mean() > 0.995
    holed = Mesh(parts.vertices, np.delete(parts.faces, [3, 77, 500], 0))
    assert (inside(holed, POINTS) == truth).mean() > 0.99


def test_no_faces():
    with pytest.raises(UserError, match="no faces"):
        closest_points(Mesh(np.zeros((3, 3)), np.zeros((0, 3))), POINTS)
