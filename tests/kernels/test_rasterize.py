import math

import numba
import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.kernels.rasterize import rasterize, visible_triangles

SPHERE = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
CAMERAS = Cameras.orbit(torch.tensor([0.3, 2.0]), torch.tensor([0.2, -0.6]), 2.5, math.radians(40.0), 64)


def test_sphere_has_its_analytic_depth_and_silhouette():
    origins, directions = CAMERAS.rays()
    along = (origins * directions).sum(-1)
    discriminant = along**2 - ((origins**2).sum(-1) - 0.25)
    expected = (-along - discriminant.clamp_min(0).sqrt()).numpy()
    raster = rasterize(SPHERE.vertices, SPHERE.faces, CAMERAS)
    hit = raster.triangle >= 0
    assert (hit != (discriminant > 0).numpy()).mean() < 2e-3
    inner = hit & (discriminant > 0.01).numpy()
    assert np.abs(raster.depth - expected)[inner].max() < 2e-3
    assert raster.front[hit].all()
    assert (raster.depth[~hit] == 0).all()


def test_inside_out_triangles_show_their_back():
    raster = rasterize(SPHERE.vertices, SPHERE.faces[:, ::-1], CAMERAS)
    assert not raster.front[raster.triangle >= 0].any()


def cast(vertices, faces, origins, directions):
    """Brute-force ray casting (Moeller and Trumbore 1997): triangle [N] (-1 for none) and place [N, 3]."""
    a, b, c = (vertices[faces[:, k]][None] for k in range(3))
    edge1, edge2 = b - a, c - a
    p = np.cross(directions[:, None], edge2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / (edge1 * p).sum(-1)
        s = origins[:, None] - a
        u = (s * p).sum(-1) * inverse
        q = np.cross(s, edge1)
        v = (directions[:, None] * q).sum(-1) * inverse
        t = np.where((u >= 0) & (v >= 0) & (u + v <= 1), (edge2 * q).sum(-1) * inverse, np.inf)
    nearest = t.argmin(1)
    distance = t.min(1)
    return np.where(np.isfinite(distance), nearest, -1), origins + distance[:, None] * directions


def test_agrees_with_ray_casting_on_triangles_and_barycentrics():
    mesh = trimesh.creation.torus(0.5, 0.2, major_sections=24, minor_sections=12)
    cameras = CAMERAS.resized(24)
    raster = rasterize(mesh.vertices, mesh.faces, cameras)
    origins, directions = (x.reshape(-1, 3).numpy().astype(float) for x in cameras.rays())
    triangles, places = cast(mesh.vertices, mesh.faces, origins, directions)
    same = raster.triangle.reshape(-1) == triangles
    assert same.mean() > 0.995
    assert (triangles >= 0).mean() > 0.1
    at = raster.interpolate(mesh.vertices, mesh.faces).reshape(-1, 3)
    assert np.abs(at - places)[same & (triangles >= 0)].max() < 1e-5
    moved = rasterize(mesh.vertices + np.array([0, 0, 0.05]), mesh.faces, cameras)  # negative control
    assert (moved.triangle.reshape(-1) == triangles)[triangles >= 0].mean() < 0.6


def test_barycentrics_are_perspective_correct():
    # a long triangle that leads away from the camera: on screen the middle of its edge is not half way along it
    vertices = np.array([[2.0, -1.0, -0.2], [2.0, 1.0, -0.2], [-40.0, 0.0, -0.2]])
    cameras = Cameras.orbit(0.0, 0.0, 3.0, math.radians(60.0), 65)
    raster = rasterize(vertices, np.array([[0, 1, 2]]), cameras)
    hit = raster.triangle[0] >= 0
    at = raster.interpolate(vertices, np.array([[0, 1, 2]]))[0][hit]
    origins, directions = (x[0].numpy()[hit] for x in cameras.rays())
    distance = (-0.2 - origins[:, 2]) / directions[:, 2]
    assert hit.sum() > 100
    assert np.abs(at - (origins + distance[:, None] * directions)).max() < 1e-3 * 40
    corners = vertices @ np.eye(3)  # negative control: interpolation that is linear on the screen
    screen = np.stack([corners[:, 1] / (3 - corners[:, 0]), corners[:, 2] / (3 - corners[:, 0]), np.ones(3)])
    pixel = np.stack([directions[:, 1] / -directions[:, 0], directions[:, 2] / -directions[:, 0], np.ones(len(at))])
    flat = np.linalg.solve(screen, pixel).T @ vertices
    assert np.abs(at - flat).max() > 1.0


def test_closed_mesh_has_no_cracks_when_the_camera_is_inside():
    cameras = Cameras.orbit(0.4, 0.1, 0.2, math.radians(100.0), 96)  # triangles all around and behind
    raster = rasterize(SPHERE.vertices, SPHERE.faces, cameras)
    assert (raster.triangle >= 0).all()
    holed = rasterize(SPHERE.vertices, np.delete(SPHERE.faces, raster.triangle[0, 48, 48], 0), cameras)
    assert (holed.triangle < 0).any()


def test_nearer_triangle_wins_whatever_the_order():
    near = np.array([[0.5, -1.0, -1.0], [0.5, 1.0, -1.0], [0.5, 0.0, 1.0]])
    vertices = np.concatenate([near, near - [1.0, 0.0, 0.0]])
    cameras = Cameras.orbit(0.0, 0.0, 3.0, size=32)
    for faces, first in (([[0, 1, 2], [3, 4, 5]], 0), ([[3, 4, 5], [0, 1, 2]], 1)):
        assert rasterize(vertices, np.array(faces), cameras).triangle[0, 20, 16] == first


def test_no_faces_give_an_empty_picture_and_bad_faces_an_error():
    assert (rasterize(SPHERE.vertices, np.zeros((0, 3), int), CAMERAS).triangle == -1).all()
    with pytest.raises(ValueError, match="outside"):
        rasterize(SPHERE.vertices, SPHERE.faces + 1, CAMERAS)


def test_broken_vertices_draw_nothing_and_harm_nobody():
    vertices = SPHERE.vertices.copy()
    whole = rasterize(vertices, SPHERE.faces, CAMERAS)
    broken = [np.nan, np.inf, -np.inf, 1e300]
    vertices[:4, 0] = broken
    seen = rasterize(vertices, SPHERE.faces, CAMERAS)
    bad = np.isin(SPHERE.faces, range(3)).any(1)
    assert not bad[seen.triangle[seen.triangle >= 0]].any()
    assert (seen.triangle == whole.triangle).mean() > 0.9


def test_threads_do_not_change_a_bit():
    before, most, results = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS, []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            results.append(rasterize(SPHERE.vertices, SPHERE.faces, CAMERAS))
    finally:
        numba.set_num_threads(before)
    assert (results[0].triangle == results[1].triangle).all()
    assert (results[0].barycentrics == results[1].barycentrics).all()


def test_tensors_see_the_same_triangles():
    vertices, faces = torch.tensor(SPHERE.vertices), torch.tensor(SPHERE.faces)
    seen = visible_triangles(vertices, faces, CAMERAS)
    assert (seen.numpy() == rasterize(SPHERE.vertices, SPHERE.faces, CAMERAS).triangle).all()
