"""Mesh, occupancy, labels and surface samples of a toy agree with each other and with the claimed symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from distill3d.toybox.categories import CATEGORIES
from distill3d.toybox.categories.building import about_z
from distill3d.toybox.geometry import mesh, occupancy, part_labels, surface_samples
from distill3d.toybox.parts import Part, Toy
from distill3d.toybox.surface import area, sample
from distill3d.toybox.world import sample_toy, toy_from_prompt

TILT = about_z(0.7) @ np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
SOLIDS = [
    Part("solid", shape, size, (0.1, -0.2, 0.05), rotation=TILT)
    for shape, size in (
        ("box", (0.3, 0.2, 0.5)),
        ("ellipsoid", (0.3, 0.2, 0.5)),
        ("frustum", (0.4, 0.15, 0.3)),
        ("frustum", (0.4, 0.0, 0.3)),
        ("frustum", (0.3, 0.3, 0.3)),
        ("torus", (0.4, 0.15, 0.0)),
        ("capsule", (0.2, 0.3, 0.0)),
        ("pyramid", (0.4, 0.3, 0.3)),
        ("wedge", (0.4, 0.3, 0.3)),
    )
]


def toy_of(*parts: Part) -> Toy:
    return Toy(parts, "cube", "red", "plain", ("a red cube",))


def as_trimesh(toy: Toy, detail: int) -> trimesh.Trimesh:
    shown = mesh(toy, detail)
    return trimesh.Trimesh(shown.vertices.astype(np.float64), shown.faces, process=False)


def winding_number(solid: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Sum of the triangles' solid angles over 4 pi (van Oosterom and Strackee 1983): 1 inside, 0 outside."""
    a, b, c = (solid.triangles[None, :, i] - points[:, None] for i in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    volume = (a * np.cross(b, c)).sum(2)
    scale = la * lb * lc + (a * b).sum(2) * lc + (b * c).sum(2) * la + (c * a).sum(2) * lb
    return np.arctan2(volume, scale).sum(1) / (2 * np.pi)


@pytest.mark.parametrize("part", SOLIDS, ids=lambda p: f"{p.shape} {p.size}")
def test_every_primitive_is_closed_and_its_inside_is_where_the_mesh_says(part):
    solid = as_trimesh(toy_of(part), 128)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume > 0
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.8, 0.8, (40_000, 3))
    inside = occupancy(toy_of(part), points)
    assert abs(inside.mean() * 1.6**3 / solid.volume - 1) < 0.08
    assert abs(area(part) / solid.area - 1) < 0.015
    surface, normals = sample(part, 2000, rng)
    world = surface @ part.rotation.T + np.asarray(part.center)
    outward = normals @ part.rotation.T
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-9
    assert occupancy(toy_of(part), world - 1e-5 * outward).mean() > 0.999
    assert occupancy(toy_of(part), world + 1e-5 * outward).mean() < 0.001


def test_occupancy_is_the_union_of_what_the_meshes_enclose():
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.7, 0.7, (300, 3))
    for prompt in ("a red chair", "a blue mug", "a green house"):
        toy = toy_from_prompt(prompt, rng)
        inside = np.zeros(len(points), bool)
        for part in toy.parts:
            inside |= winding_number(as_trimesh(toy_of(part), 32), points) > 0.5
        assert (occupancy(toy, points) != inside).mean() < 0.01
        assert (occupancy(toy, points[:, ::-1]) != inside).mean() > 0.05


@pytest.mark.parametrize("category", CATEGORIES)
def test_meshes_of_all_categories_are_closed_part_by_part(category):
    toy = sample_toy(np.random.default_rng(11), category=category, material_rate=1.0)
    shown = mesh(toy, 16)
    assert shown.face_labels is not None
    assert shown.colors is not None
    assert set(shown.face_labels) == set(range(len(toy.parts)))
    assert as_trimesh(toy, 16).is_watertight
    assert as_trimesh(toy, 16).volume > 0
    assert shown.colors.min() >= 0
    assert shown.colors.max() <= 1
    if toy.material == "plain":
        assert len(np.unique(shown.colors, axis=0)) == len({p.color for p in toy.parts})
    else:
        assert len(np.unique(shown.colors, axis=0)) > len({p.color for p in toy.parts})


def test_surface_samples_lie_on_the_outside_of_the_part_they_name():
    rng = np.random.default_rng(3)
    for _ in range(10):
        toy = sample_toy(rng)
        points, normals, colors, labels = surface_samples(toy, 500, rng)
        assert points.shape == normals.shape == colors.shape == (500, 3)
        assert labels.shape == (500,)
        assert occupancy(toy, points + 2e-4 * normals).mean() < 0.02
        assert occupancy(toy, points - 2e-4 * normals).mean() > 0.98
        assert np.linalg.norm(points, axis=1).max() <= 0.9 + 1e-6


def test_hidden_surface_is_not_sampled():
    outer, inner = Part("outer", "box", (0.5, 0.5, 0.5)), Part("inner", "ellipsoid", (0.4, 0.4, 0.4))
    rng = np.random.default_rng(0)
    assert set(surface_samples(toy_of(outer, inner), 300, rng)[3]) == {0}
    assert set(surface_samples(toy_of(outer, Part("bump", "ellipsoid", (0.6, 0.6, 0.6))), 300, rng)[3]) == {0, 1}


def test_the_later_part_names_a_point_that_two_share():
    parts = Part("body", "box", (0.5, 0.5, 0.5)), Part("detail", "box", (0.1, 0.1, 0.1), (0.5, 0.0, 0.0))
    found = part_labels(toy_of(*parts), np.array([[0.45, 0, 0], [0.0, 0, 0], [0.59, 0, 0], [0.7, 0, 0]]))
    assert found.tolist() == [1, 0, 1, -1]


def iou_after_turn(toy: Toy, angle: float) -> float:
    """Volume that a toy shares with itself turned about z, over their union, on 32^3 voxels."""
    axis = (np.arange(32) + 0.5) / 16 - 1
    grid = 0.9 * np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    a, b = occupancy(toy, grid), occupancy(toy, grid @ about_z(angle).T)
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_turn_changes_the_shape_exactly_where_the_category_says(category):
    kind = CATEGORIES[category]
    toy = sample_toy(np.random.default_rng(5), category=category, material="plain")
    half_turn = iou_after_turn(toy, np.pi)
    if kind.asymmetric:
        assert half_turn < 0.97
    elif kind.symmetry != 1:
        assert half_turn > 0.97
        if kind.symmetry in (0, 4):
            assert iou_after_turn(toy, np.pi / 2) > 0.95
    if category in ("box", "table"):
        assert iou_after_turn(toy, np.pi / 2) < 0.95


def test_a_cube_is_no_solid_of_revolution_and_a_cylinder_is():
    rng = np.random.default_rng(0)
    assert iou_after_turn(sample_toy(rng, category="cube"), np.pi / 4) < 0.9
    assert iou_after_turn(sample_toy(rng, category="cylinder"), np.pi / 4) > 0.95
