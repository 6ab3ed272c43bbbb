"""The judge of assets is right about the ground truth itself, and sees what is wrong with what is wrong."""

from __future__ import annotations

import mcubes
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.glb import write_glb
from distill3d.files.obj import write_obj
from distill3d.files.ply import write_ply
from distill3d.toybox.alignment import Pose, chamfer, frame, iou, refine
from distill3d.toybox.asset_shape import asset_shape, read_asset
from distill3d.toybox.front import ONCE, facing, front_contrast
from distill3d.toybox.geometry import mesh as mesh_of
from distill3d.toybox.geometry import occupancy, surface_samples
from distill3d.toybox.parts import Toy
from distill3d.toybox.references import build_references, reference_toy, toy_shape
from distill3d.toybox.verdict import asked, judge
from distill3d.toybox.voxelize import solid_cells
from distill3d.toybox.world import toy_from_prompt

PROMPTS = ("a red mushroom", "a blue chair", "a cyan mug", "a green table")


@pytest.fixture(scope="module")
def references():
    return build_references(samples=3)


def toy(prompt: str, seed: int = 1) -> Toy:
    return toy_from_prompt(prompt, np.random.default_rng(seed))


def turned(mesh: Mesh, degrees: float) -> Mesh:
    return Mesh(mesh.vertices @ Pose(np.deg2rad(degrees)).rotation.T, mesh.faces, mesh.colors)


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts[:-1], strict=True)]),
        np.concatenate([mesh.colors for mesh in meshes]),
    )


def distilled(toy: Toy, rng: np.random.Generator, size: int = 64) -> Mesh:
    """Much like an asset of a run: blurred, bumpy, of one skin, with colours that bleed and waver."""
    line = np.linspace(-1, 1, size)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    filled = gaussian_filter(occupancy(toy, points).reshape(size, size, size).astype(np.float32), 1.0)
    filled += 0.2 * gaussian_filter(rng.standard_normal(filled.shape).astype(np.float32), 2)
    vertices, faces = mcubes.marching_cubes(np.pad(filled[1:-1, 1:-1, 1:-1], 1), 0.4)
    vertices = vertices / (size - 1) * 2 - 1
    places, _, colors, _ = surface_samples(toy, 4000, rng)
    near = cKDTree(places).query(vertices, k=6)[1]
    return Mesh(vertices, faces, np.clip(colors[near].mean(1) + rng.normal(0, 0.04, vertices.shape), 0, 1))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_truth_is_told_right_also_blurred_and_turned(prompt, references):
    truth = toy(prompt)
    for asset, yaw in (
        (mesh_of(truth), 0),
        (turned(distilled(truth, np.random.default_rng(0)), 70), 70),
    ):
        verdict = judge(asset, prompt, references)
        assert verdict.shape_right
        assert verdict.color_right
        if verdict.front_once is not None:
            assert verdict.front_once
            assert abs(verdict.yaw_error - yaw) < 12
        assert verdict.iou > 0.4
        assert verdict.chamfer < 0.08


def test_a_blob_is_no_chair_and_a_recoloured_chair_has_the_other_colour(references):
    assert not judge(mesh_of(toy("a blue sphere")), "a blue chair", references).shape_right
    verdict = judge(mesh_of(toy("a red chair")), "a blue chair", references)
    assert verdict.shape_right
    assert verdict.hue == "red"
    assert not verdict.color_right


@pytest.mark.parametrize("prompt", ["a blue chair", "an orange car"])
def test_a_second_front_is_seen(prompt):
    once = mesh_of(toy(prompt))
    truths = [toy_shape(asked(prompt).category, i, str(asked(prompt).color)) for i in range(2)]

    def contrast(asset: Mesh) -> float:
        shape = asset_shape(asset, np.random.default_rng(0))
        return front_contrast(shape, facing(shape, truths), truths)

    assert contrast(once) > 2 * ONCE
    assert contrast(together(once, turned(once, 180))) < ONCE
    assert contrast(together(once, turned(once, 120), turned(once, 240))) < ONCE


def test_what_has_no_front_has_no_verdict_about_it(references):
    verdict = judge(mesh_of(toy("a red mushroom")), "a red mushroom", references)
    assert verdict.front_once is None
    assert verdict.yaw_error is None


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_files_come_back_upright_and_with_their_colours(kind, tmp_path):
    made = mesh_of(toy("an orange car"))
    path = tmp_path / f"asset.{kind}"
    {"glb": write_glb, "obj": write_obj, "ply": write_ply}[kind](made, path)
    read = read_asset(path)
    corners, colors = read.vertices[read.faces], read.colors[read.faces]
    np.testing.assert_allclose(corners, made.vertices[made.faces], atol=1e-5)
    np.testing.assert_allclose(colors, made.colors[made.faces], atol=0.03)  # 8 bits, of linear light in GLB


@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_a_texture_is_read_the_right_way_up(kind, tmp_path):
    square = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    texture = np.zeros((8, 8, 3), np.float32)
    texture[:4, :, 0] = 1  # the upper half is red
    made = Mesh(square, np.array([[0, 1, 2], [0, 2, 3]]), uv=square[:, 1:].astype(np.float32), texture=texture)
    path = tmp_path / f"asset.{kind}"
    {"glb": write_glb, "obj": write_obj}[kind](made, path)
    read = read_asset(path)
    top = read.uv[np.isclose(read.vertices[:, 2], 1)]
    assert len(top) >= 2
    np.testing.assert_allclose(top[:, 1], 1, atol=1e-5)
    np.testing.assert_allclose(read.texture[0], texture[0], atol=0.01)


def test_the_solid_is_the_truths_even_with_a_hole_or_inside_out():
    truth = toy("a blue chair")
    shown = mesh_of(truth)
    corners = shown.vertices[shown.faces]
    line = (np.arange(64) + 0.5) / 32 - 1
    exact = occupancy(truth, np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3))
    for triangles in (corners, corners[:, ::-1]):
        found = solid_cells(triangles, 64).reshape(-1)
        assert (found & exact).sum() / (found | exact).sum() > 0.97
    torn = mesh_of(toy("a blue cube"))
    corners = torn.vertices[torn.faces]
    assert solid_cells(corners[1:], 64).sum() > 0.95 * solid_cells(corners, 64).sum()
    assert solid_cells(corners[:2], 64).sum() == 0  # two triangles alone hold nothing


def test_a_pose_is_found_back_and_only_the_right_one_overlaps():
    truth = toy_shape("truck", 0)
    asset = asset_shape(mesh_of(reference_toy("truck", 0)), np.random.default_rng(0))
    pose = refine(asset, Pose(0.3), truth, rounds=20)
    assert abs(pose.yaw) < 0.05
    assert iou(asset, pose, truth) > 0.8 > iou(asset, pose.turned(np.pi / 2), truth)
    assert chamfer(asset, pose, truth) < 0.04 < chamfer(asset, pose.turned(np.pi / 2), truth)


def test_the_frame_does_not_depend_on_yaw():
    points = mesh_of(toy("a cyan mug")).vertices
    center, radius = frame(points)
    moved = Pose(0.8, 2.0, (1.0, 2.0, 3.0))
    other, twice = frame(moved(points))
    np.testing.assert_allclose(other, moved(center[None])[0], atol=0.03)
    assert twice == pytest.approx(2 * radius, rel=0.02)


def test_what_cannot_be_judged_says_so(tmp_path, references):
    with pytest.raises(UserError, match="two objects"):
        judge(mesh_of(toy("a blue cube")), "a blue cube next to a red cone", references)
    with pytest.raises(UserError, match="no words"):
        judge(mesh_of(toy("a blue cube")), "a blue dragon", references)
    with pytest.raises(UserError, match="no such file"):
        read_asset(tmp_path / "asset.glb")
    (tmp_path / "broken.glb").write_bytes(b"glTF")
    with pytest.raises(UserError, match="cannot be read"):
        read_asset(tmp_path / "broken.glb")
    with pytest.raises(UserError, match="no volume"):
        judge(Mesh(np.eye(3), np.array([[0, 1, 2]])), "a blue cube", references)
