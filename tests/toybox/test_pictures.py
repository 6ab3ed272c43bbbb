"""The ray caster against trimesh's rays on the toy's own mesh: depth, normals, mask, part labels; and the shading."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch
import trimesh

from distill3d.core.cameras import Cameras
from distill3d.toybox.geometry import mesh
from distill3d.toybox.parts import Part, Toy
from distill3d.toybox.pictures import pack, picture, views
from distill3d.toybox.raycast import AMBIENT, DIFFUSE
from distill3d.toybox.world import toy_from_prompt

PROMPTS = ("a red mug", "a blue house", "a green chair", "a green donut", "a yellow snowman", "a cyan cube")
SIZE = 24


def cameras(count: int = 3, size: int = SIZE) -> Cameras:
    return Cameras.orbit(torch.linspace(0.3, 5.0, count), torch.linspace(-0.4, 0.9, count), size=size)


def toy(prompt: str) -> Toy:
    return toy_from_prompt(prompt, np.random.default_rng(3))


@numba.njit(error_model="numpy")
def nearest_triangle(origin, rays, triangles):
    """Distance [R] (infinite for none) and face [R] of each ray's first hit (Moeller and Trumbore 1997)."""
    distance, face = np.full(len(rays), np.inf), np.full(len(rays), -1)
    ox, oy, oz = origin
    for f in range(len(triangles)):
        ax, ay, az = triangles[f, 0]
        bx, by, bz = triangles[f, 1, 0] - ax, triangles[f, 1, 1] - ay, triangles[f, 1, 2] - az
        cx, cy, cz = triangles[f, 2, 0] - ax, triangles[f, 2, 1] - ay, triangles[f, 2, 2] - az
        sx, sy, sz = ox - ax, oy - ay, oz - az
        qx, qy, qz = sy * bz - sz * by, sz * bx - sx * bz, sx * by - sy * bx
        reach = cx * qx + cy * qy + cz * qz
        for r in range(len(rays)):
            dx, dy, dz = rays[r, 0], rays[r, 1], rays[r, 2]
            px, py, pz = dy * cz - dz * cy, dz * cx - dx * cz, dx * cy - dy * cx
            inverse = 1.0 / (px * bx + py * by + pz * bz)
            u, v, t = (px * sx + py * sy + pz * sz) * inverse, (dx * qx + dy * qy + dz * qz) * inverse, reach * inverse
            if u >= 0 and v >= 0 and u + v <= 1 and 0 < t < distance[r]:
                distance[r], face[r] = t, f
    return distance, face


def traced(shown: Toy, seen_by: Cameras) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Depth, normal and part label of the mesh's nearest hit (0, 0, -1 for none), a camera each."""
    found = mesh(shown, detail=64)
    solid = trimesh.Trimesh(found.vertices.astype(float), found.faces, process=False)
    origins, directions = (v.double().numpy() for v in seen_by.rays())
    hits = []
    for o, rays in zip(origins[:, 0, 0], directions.reshape(len(seen_by), -1, 3), strict=True):
        distance, face = nearest_triangle(o, rays, np.ascontiguousarray(solid.triangles))
        hit = face >= 0
        normal = np.where(hit[:, None], solid.face_normals[face], 0.0)
        hits.append((np.where(hit, distance, 0.0), normal, np.where(hit, found.face_labels[face], -1)))
    return hits


@pytest.mark.parametrize("prompt", PROMPTS)
def test_depth_normals_mask_and_labels_are_those_of_the_mesh(prompt):
    shown = toy(prompt)
    for view, (depth, normal, part) in zip(views(shown, cameras(2)), traced(shown, cameras(2)), strict=True):
        mask = depth > 0
        assert 0.03 < mask.mean() < 0.9
        assert (view.mask.ravel() == mask).mean() > 0.99  # the mesh's round parts are polygons
        both = mask & view.mask.ravel()
        off = np.abs(view.depth.ravel() - depth)[both]
        assert np.median(off) < 2e-3
        assert (off < 0.02).mean() > 0.98
        same = (view.part.ravel() == part)[both]
        assert same.mean() > 0.97
        cosine = (view.normal.reshape(-1, 3) * normal).sum(1)[both][same]
        assert np.median(cosine) > 0.999
        assert (cosine > 0.95).mean() > 0.97


def test_another_toy_or_another_camera_is_told_apart():
    shown = toy("a red mug")
    seen = views(shown, cameras(2))
    for other in (traced(toy("a blue house"), cameras(2)), traced(shown, cameras(2))[::-1]):
        agreement = [
            (np.abs(view.depth.ravel() - depth) < 0.02)[view.mask.ravel() | (depth > 0)].mean()
            for view, (depth, _, _) in zip(seen, other, strict=True)
        ]
        assert max(agreement) < 0.5


def test_depth_is_where_the_surface_is_and_zero_elsewhere():
    ball = Toy((Part("ball", "ellipsoid", (0.5, 0.5, 0.5)),), "sphere", "gray", "plain", ("a gray sphere",))
    view = views(ball, Cameras.orbit(0.4, 0.2, 3.0, size=33))[0]
    assert view.depth[16, 16] == pytest.approx(2.5, abs=1e-6)
    assert view.depth[0, 0] == 0
    assert not view.mask[0, 0]
    assert view.part[0, 0] == -1
    toward = np.array([math.cos(0.2) * math.cos(0.4), math.cos(0.2) * math.sin(0.4), math.sin(0.2)])
    np.testing.assert_allclose(view.normal[16, 16], toward, atol=1e-6)


@pytest.mark.parametrize("light", [0.0, 0.4, 1.0])
def test_shading_is_a_light_at_the_camera(light):
    """Without antialiasing every pixel is colour times (1 - light) + light (ambient + diffuse max(0, n . v))."""
    color = (0.8, 0.4, 0.1)
    ball = Toy((Part("ball", "ellipsoid", (0.6, 0.4, 0.5), color=color),), "sphere", "orange", "plain", ("a",))
    camera = Cameras.orbit(0.7, 0.3, size=SIZE)
    pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    rgba = picture(pack(ball), pose, lens, SIZE, light, factor=1)
    view = views(ball, camera)[0]
    toward = -camera.rays()[1][0].double().numpy()
    facing = (view.normal * toward).sum(-1).clip(0)
    gain = (1 - light) + light * (AMBIENT + DIFFUSE * facing)
    np.testing.assert_allclose(rgba[..., :3], gain[..., None] * view.mask[..., None] * np.array(color), atol=1e-5)
    np.testing.assert_array_equal(rgba[..., 3], view.mask.astype(np.float32))
    spread = rgba[view.mask][:, 0].std()
    assert spread < 1e-6 if light == 0 else spread > 0.02 * light  # plain colour is flat, a lit ball is not


def test_coverage_is_the_mean_of_finer_pictures_and_colour_is_premultiplied():
    shown = toy("a red mug")
    camera = cameras(1)
    pose, lens = camera.camera_to_world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    coarse = picture(pack(shown), pose, lens, SIZE, factor=4)
    finer = lens * np.array([[4], [4], [1]])
    fine = picture(pack(shown), pose, finer, 4 * SIZE, factor=1)
    np.testing.assert_allclose(coarse, fine.reshape(SIZE, 4, SIZE, 4, 4).mean((1, 3)), atol=1e-5)
    assert ((coarse[..., 3] > 0.05) & (coarse[..., 3] < 0.95)).any()
    assert (coarse[..., :3] <= coarse[..., 3:] + 1e-6).all()
