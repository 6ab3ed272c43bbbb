"""Sound files of every kind: read as trimesh reads them where it can, and as their formats say where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.glb import write_glb
from distill3d.files.meshes import read_mesh
from distill3d.files.obj import write_obj
from distill3d.files.ply import write_ply
from distill3d.geometry.iso_surface import signed_volume
from tests.files.meshes.good_files import chunked, encoded, parts_of, picture, quad, write_all

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "meshes"
TO_WORLD = [2, 0, 1]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("good"))


def corner_places(vertices, faces):
    """[F, 9], every triangle's corners from the smallest on, triangles sorted: however vertices are shared."""
    corners = np.round(np.asarray(vertices, np.float64)[faces], 4) + 0.0
    rows = []
    for triangle in corners:
        k = min(range(3), key=lambda i: tuple(triangle[i]))
        rows.append(np.roll(triangle, -k, axis=0).reshape(-1))
    return np.array(sorted(map(tuple, rows)))


@pytest.mark.parametrize(
    "name",
    [
        "cube.obj",
        "colored.obj",
        "ball.glb",
        "square.glb",
        "inside.gltf",
        "text.ply",
        "ball.ply",
        "ball.stl",
        "text.stl",
    ],
)
def test_triangles_are_those_that_trimesh_finds(good, name):
    path = good[name]
    loaded = read_mesh(path)
    judge = trimesh.load(path, force="mesh", process=False)
    vertices = np.asarray(judge.vertices)
    if path.suffix not in (".ply", ".stl"):
        vertices = vertices[:, TO_WORLD]
    assert np.array_equal(corner_places(loaded.mesh.vertices, loaded.mesh.faces), corner_places(vertices, judge.faces))
    wrong = corner_places(loaded.mesh.vertices, loaded.mesh.faces[:, ::-1])
    assert not np.array_equal(wrong, corner_places(vertices, judge.faces))  # negative control: sides count


@pytest.mark.parametrize(
    "name", ["spot/spot_triangulated.obj", "stanford-bunny.obj", "teapot.obj", "rocker-arm.obj", "fandisk.obj"]
)
@pytest.mark.skipif(not REAL.is_dir(), reason="the shared meshes are not here")
def test_real_meshes(name):
    loaded = read_mesh(REAL / name)
    judge = trimesh.load(REAL / name, force="mesh", process=False)
    ours = trimesh.Trimesh(loaded.mesh.vertices, loaded.mesh.faces, process=False)
    assert len(ours.faces) == len(judge.faces)
    assert ours.area == pytest.approx(judge.area, rel=1e-5)
    assert ours.bounds == pytest.approx(judge.bounds[:, TO_WORLD], rel=1e-5, abs=1e-6)
    judge.merge_vertices(merge_tex=True, merge_norm=True)
    assert any("not closed" in line for line in loaded.notices) == (not judge.is_watertight)
    if judge.is_watertight:
        assert signed_volume(loaded.mesh) == pytest.approx(judge.volume, rel=1e-4)
    if "spot" in name:
        assert loaded.mesh.texture.shape == (2048, 2048, 3)
        assert any("spot_texture.png beside it" in line for line in loaded.notices)


def test_the_three_plys_are_one(good):
    text, little, big = (read_mesh(good[name]).mesh for name in ("text.ply", "mixed.ply", "big_endian.ply"))
    for other in (little, big):
        assert np.array_equal(text.vertices, other.vertices)
        assert np.array_equal(text.faces, other.faces)
        assert np.array_equal(text.colors, other.colors)
    assert text.colors[0].tolist() == [1, 0, 0]
    assert len(text.faces) == 4  # the quad became two
    assert len(read_mesh(good["mixed.ply"]).notices) == 1  # it is open


def test_gltf_with_its_buffer_beside_or_inside_is_the_glb(good):
    glb, beside, inside = (read_mesh(good[name]).mesh for name in ("square.glb", "square.gltf", "inside.gltf"))
    for other in (beside, inside):
        assert np.array_equal(glb.vertices, other.vertices)
        assert np.array_equal(glb.texture, other.texture)
    # x, y, z of the file are y, z, x here; scaled by 2, then moved by 2 along its z
    assert glb.vertices.min(0).tolist() == [2, 0, 0]
    assert glb.vertices.max(0).tolist() == [2, 2, 2]
    assert glb.name == "square"


def test_the_axis_that_points_up_can_be_said(good):
    as_written, other = read_mesh(good["ball.ply"]).mesh, read_mesh(good["ball.ply"], up="y").mesh
    assert np.array_equal(other.vertices, as_written.vertices[:, TO_WORLD])
    as_written, other = read_mesh(good["cube.obj"], up="z").mesh, read_mesh(good["cube.obj"]).mesh
    assert np.array_equal(other.vertices, as_written.vertices[:, TO_WORLD])


def sampled(mesh, direction):
    """The texture's colour at the vertex furthest in `direction`."""
    corner = int((mesh.vertices @ direction).argmax())
    height, width = mesh.texture.shape[:2]
    column, row = mesh.uv[corner] * [width - 1, -(height - 1)] + [0, height - 1]
    return mesh.texture[round(float(row)), round(float(column))]


def test_a_picture_lies_the_right_way_up(good):
    mesh = read_mesh(good["square.glb"]).mesh
    assert np.array_equal(np.round(mesh.texture * 255).astype(np.uint8), picture())
    # y of the world is x of the file, along which red grows; green grows downwards
    assert sampled(mesh, [0, 1, -0.1]).tolist() == pytest.approx([1, 1, 128 / 255], abs=1e-6)
    assert sampled(mesh, [0, -0.1, 1]).tolist() == pytest.approx([0, 0, 128 / 255], abs=1e-6)


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
def test_what_is_written_is_read_back(tmp_path, kind):
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    rng = np.random.default_rng(0)
    uv = rng.random((len(sphere.vertices), 2))
    mesh = Mesh(
        sphere.vertices, sphere.faces, uv=uv.astype(np.float32), texture=rng.random((32, 32, 3)).astype(np.float32)
    )
    if kind == "ply":
        mesh = Mesh(mesh.vertices, mesh.faces, rng.random((len(mesh.vertices), 3)).astype(np.float32))
    path = tmp_path / f"asset.{kind}"
    {"glb": write_glb, "obj": write_obj, "ply": write_ply}[kind](mesh, path)
    again = read_mesh(path).mesh
    tolerance = 0 if kind != "obj" else 1e-6
    assert np.abs(again.vertices[again.faces] - mesh.vertices[mesh.faces]).max() <= tolerance
    if kind == "ply":
        assert np.abs(again.colors - mesh.colors).max() <= 0.5 / 255 + 1e-6
    else:
        assert np.abs(again.texture - mesh.texture).max() <= 0.5 / 255 + 1e-6
        assert np.abs(again.uv[again.faces] - mesh.uv[mesh.faces]).max() < 2e-6


def test_dark_vertex_colours_survive_a_glb(tmp_path):
    """In linear light and bytes, as trimesh holds them, the darkest colours would become one."""
    sphere = trimesh.creation.icosphere(subdivisions=2)
    colors = np.repeat(np.linspace(0, 0.06, len(sphere.vertices), dtype=np.float32)[:, None], 3, 1)
    write_glb(Mesh(sphere.vertices, sphere.faces, colors), tmp_path / "dark.glb")
    assert np.abs(read_mesh(tmp_path / "dark.glb").mesh.colors - colors).max() < 1e-5
    by_trimesh = trimesh.load(tmp_path / "dark.glb", force="mesh", process=False, skip_materials=True)
    assert len(np.unique(by_trimesh.visual.vertex_colors[:, 0])) < 5


def test_relative_indices_count_from_the_face_on(tmp_path):
    """Two triangles, each right after its own corners: trimesh would give both the last three."""
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 5 5\nv 6 5 5\nv 5 6 5\nf -3 -2 -1\n")
    mesh = read_mesh(tmp_path / "a.obj", up="z").mesh
    assert mesh.vertices[mesh.faces[0]].max() == 1
    assert mesh.vertices[mesh.faces[1]].min() == 5


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_continuations_tabs_and_comments(tmp_path, newline):
    text = "v 0 0 0 # the origin\nv\t1 0 0\nv 0 1 \\\n0\nf 1 2 \\\n3 # done\n".replace("\n", newline)
    (tmp_path / "a.obj").write_bytes(text.encode())
    assert read_mesh(tmp_path / "a.obj").mesh.vertices.shape == (3, 3)


def edit(change, **changes):
    document, binary = quad(**changes)
    document = json.loads(json.dumps(document))
    change(document)
    return document, binary


def test_accessors_that_are_sparse_normalised_or_strided(tmp_path):
    document, binary = quad()
    uv = np.array([[0, 65535], [65535, 65535], [65535, 0], [0, 0]], np.uint16)  # as fractions
    lifted = np.array([[0, 0, 7]], np.float32)
    interleaved = np.zeros((4, 20), np.uint8)
    interleaved[:, :12] = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32).view(np.uint8)
    blocks = [uv.tobytes(), np.array([3], np.uint16).tobytes() + b"\0\0", lifted.tobytes(), interleaved.tobytes()]
    for block in blocks:
        document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(block)})
        binary += block
    document["bufferViews"][-1]["byteStride"] = 20
    document["buffers"][0]["byteLength"] = len(binary)
    document["accessors"][0] = {"bufferView": 7, "componentType": 5126, "count": 4, "type": "VEC3"}
    document["accessors"][0]["sparse"] = {
        "count": 1, "indices": {"bufferView": 5, "componentType": 5123}, "values": {"bufferView": 6},
    }  # fmt: skip
    document["accessors"][1] = {"bufferView": 4, "componentType": 5123, "count": 4, "type": "VEC2", "normalized": True}
    (tmp_path / "a.glb").write_bytes(chunked(document, binary))
    mesh = read_mesh(tmp_path / "a.glb").mesh
    assert mesh.vertices[mesh.faces[0]].max(0).tolist() == [2, 2, 2]  # strided
    assert mesh.vertices[:, 0].max() == 2 + 2 * 7  # the replaced corner
    assert mesh.uv.min() == 0
    assert mesh.uv.max() == 1


def test_mirrored_nodes_keep_their_outside(tmp_path):
    sphere = trimesh.creation.icosphere(subdivisions=1)
    document, binary = parts_of(sphere.export(file_type="glb"))
    document["nodes"] = [{"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}]
    document["scenes"] = [{"nodes": [0]}]
    (tmp_path / "a.glb").write_bytes(chunked(document, binary))
    assert signed_volume(read_mesh(tmp_path / "a.glb").mesh) > 3


def test_a_scene_of_nested_nodes_agrees_with_trimesh(tmp_path):
    scene = trimesh.Scene()
    rng = np.random.default_rng(1)
    turned = trimesh.transformations.rotation_matrix(1.0, [1, 2, 3])
    moved = trimesh.transformations.translation_matrix(rng.random(3))
    scene.add_geometry(trimesh.creation.box(), node_name="a", transform=turned)
    scene.add_geometry(trimesh.creation.cone(1, 2), node_name="b", parent_node_name="a", transform=moved)
    (tmp_path / "scene.glb").write_bytes(scene.export(file_type="glb"))
    ours = read_mesh(tmp_path / "scene.glb").mesh
    judge = trimesh.load(tmp_path / "scene.glb", force="mesh", process=False)
    expected = corner_places(np.asarray(judge.vertices)[:, TO_WORLD], judge.faces)
    found = corner_places(ours.vertices, ours.faces)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-4


@pytest.mark.parametrize("mode", [5, 6])
def test_strips_and_fans(tmp_path, mode):
    document, binary = edit(lambda d: d["meshes"][0]["primitives"][0].update(mode=mode, indices=3))
    corners = np.array([0, 1, 3, 2] if mode == 5 else [0, 1, 2, 3], np.uint16).tobytes()
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(corners)})
    document["accessors"].append({"bufferView": 4, "componentType": 5123, "count": 4, "type": "SCALAR"})
    document["buffers"][0]["byteLength"] += len(corners)
    (tmp_path / "a.glb").write_bytes(chunked(document, binary + corners))
    ours, square = read_mesh(tmp_path / "a.glb").mesh, None
    (tmp_path / "b.glb").write_bytes(chunked(*quad()))
    square = read_mesh(tmp_path / "b.glb").mesh
    normal = np.cross(*np.diff(ours.vertices[ours.faces], axis=1).transpose(1, 0, 2))
    expected = np.cross(*np.diff(square.vertices[square.faces], axis=1).transpose(1, 0, 2))
    assert len(ours.faces) == 2
    assert np.allclose(normal, expected)  # both triangles turned the same way, the same area


def test_stanford_strips(tmp_path):
    header = "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    rows = "0 0 0\n1 0 0\n0 1 0\n1 1 0\n2 2 0\n8 0 1 2 3 -1 1 4 3\n"
    (tmp_path / "a.ply").write_text(header + rows)
    assert read_mesh(tmp_path / "a.ply").mesh.faces.tolist() == [[0, 1, 2], [2, 1, 3], [1, 4, 3]]


def test_meshlabs_texture_coordinates_at_the_corners(tmp_path):
    (tmp_path / "skin.png").write_bytes(encoded(picture()))
    header = (
        "ply\nformat ascii 1.0\ncomment TextureFile skin.png\nelement vertex 3\nproperty float x\nproperty float y\n"
    )
    header += "property float z\nelement face 1\nproperty list uchar int vertex_indices\n"
    header += "property list uchar float texcoord\nend_header\n"
    (tmp_path / "a.ply").write_text(header + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2 6 0 0 1 0 0 1\n")
    mesh = read_mesh(tmp_path / "a.ply").mesh
    assert mesh.uv[mesh.faces[0]].tolist() == [[0, 0], [1, 0], [0, 1]]
    assert mesh.texture.shape == (16, 16, 3)


def test_in_unit_ball():
    mesh = Mesh(np.array([[10, 0, 0], [14, 0, 0], [10, 3, 0]]), [[0, 1, 2]]).in_unit_ball()
    assert np.linalg.norm(mesh.vertices, axis=-1).max() == pytest.approx(1)
    assert (mesh.vertices.min(0) + mesh.vertices.max(0)).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_reading_is_the_same_every_time(good):
    for path in good.values():
        one, two = read_mesh(path), read_mesh(path)
        assert one.notices == two.notices
        assert np.array_equal(one.mesh.vertices, two.mesh.vertices)
        assert np.array_equal(one.mesh.faces, two.mesh.faces)


def test_a_name_says_what_is_read():
    with pytest.raises(UserError, match=r"ends in one of: glb, gltf, obj, ply, stl"):
        read_mesh("chair.fbx")
