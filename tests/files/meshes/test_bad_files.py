"""Files that cannot be what they say: one line with the file's name and the fault, at once and without much memory."""

import json
import os
import struct
import time
import zlib

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.files.meshes import read_mesh
from tests.files.meshes.good_files import (
    CUBE,
    MATERIALS,
    PLY_TEXT,
    ball,
    chunked,
    encoded,
    mixed_ply,
    picture,
    quad,
    write_all,
)


@pytest.fixture
def refused(tmp_path):
    """Writes a file and gives the line that reading it ends with, less its name."""

    def read(name, data):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        start = time.process_time()
        with pytest.raises(UserError) as error:
            read_mesh(path)
        assert time.process_time() - start < 3
        message = str(error.value)
        assert "\n" not in message
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    return read


def png_of(width, height):
    """A PNG of a few bytes that declares so many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


HEADER = "ply\nformat binary_little_endian 1.0\n"
VERTEX = "property float x\nproperty float y\nproperty float z\n"
FACE = "property list uchar int vertex_indices\n"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.ply", "", "it is empty"),
        ("a.obj", "", "it is empty"),
        ("a.glb", "", "it is empty"),
        ("a.stl", "", "it is empty"),
        ("a.glb", PLY_TEXT, "its name says GLB, its content PLY; rename it"),
        ("a.obj", chunked(*quad()), "its name says OBJ, its content GLB"),
        ("a.stl", chunked(*quad()), "its name says STL, its content GLB"),
        ("a.ply", ball().export(file_type="stl"), "its name says PLY, its content STL"),
        ("a.fbx", "Kaydara", "ends in one of: glb, gltf, obj, ply, stl"),
        ("a.glb", "hello, this is a text and no GLB", 'does not begin with "glTF"'),
        ("a.obj", b"\x89PNG\0\0\0", "it is not a text file"),
        # no faces
        ("a.obj", "v 0 0 0\nv 1 0 0\n", "it holds no faces"),
        ("a.obj", "hello\n", "it holds no faces"),
        ("a.ply", PLY_TEXT.split("element face")[0] + "end_header\n" + "0 0 0 1 1 1 0\n" * 5, "it holds no faces"),
        ("a.stl", b"\0" * 84, "it holds no faces"),
        ("a.stl", "solid nothing\nendsolid\n", "it holds no faces"),
        # no area, not finite
        ("a.obj", "v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\nf 1 1 2\n", "none of its triangles has an area"),
        ("a.obj", "v 0 0 0\nv 1 nan 0\nv 0 1 0\nf 1 2 3\n", "1 of its 3 vertices are not finite numbers, such as ("),
        ("a.obj", "v 0 0 0\nv 1e300 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        # OBJ
        ("a.obj", CUBE.replace("v 1 -1 -1", "v 1 -1 one"), "line 5: 'one' is not a number"),
        ("a.obj", CUBE.replace("v 1 -1 -1", "v 1 -1"), "line 5: '1 -1': 3 numbers should stand here"),
        ("a.obj", CUBE.replace("f 2 3 7 6", "f 2 3 7 9"), "a face names vertex 9, of which there are 8"),
        ("a.obj", CUBE.replace("f 2 3 7 6", "f 2 3 0 6"), "no such index"),
        ("a.obj", CUBE.replace("f 2 3 7 6", "f 2 3"), "at least three corners"),
        ("a.obj", CUBE.replace("f 2 3 7 6", "f 2 3 x 6"), "'x' is not a corner of a face"),
        ("a.obj", CUBE.replace("f -8 -7", "f -9 -7"), "a face names vertex -9"),
        ("a.obj", CUBE.replace("5/1/1", "5/7/1"), "texture coordinate 7, of which there are 4"),
        ("a.obj", CUBE.replace("cube.mtl", "../cube.mtl"), "lies outside its folder"),
        ("a.obj", CUBE.replace("cube.mtl", "/etc/passwd"), "lies outside its folder"),
        ("a.obj", CUBE.replace("cube.mtl", "C:\\work\\cube.mtl"), "lies outside its folder"),
        ("a.obj", CUBE.replace("cube.mtl", "https://example.com/a.mtl"), "nothing is fetched"),
        # PLY
        ("a.ply", HEADER + f"element vertex 1000000000\n{VERTEX}end_header\n" + "x" * 999, "1,000,000,000 rows"),
        ("a.ply", PLY_TEXT.replace("vertex 5", "vertex 1000000000"), "declares 1,000,000,000 rows of vertex"),
        ("a.ply", PLY_TEXT.replace("vertex 5", "vertex 6"), "it ends in row 2 of face"),
        ("a.ply", PLY_TEXT.replace("face 3", "face 2"), "5 numbers follow its last row: its header declares too few"),
        ("a.ply", PLY_TEXT.replace("face 3", "face 4"), "it ends in row 3 of face"),
        ("a.ply", PLY_TEXT.replace("face 3", "face -3"), "an element wants a name and a number of rows"),
        ("a.ply", PLY_TEXT.replace("uchar flags", "flag flags"), "line 14: 'property flag flags': 'flag' is no type"),
        ("a.ply", PLY_TEXT.replace("float x\n", "float ex\n"), "its vertices have no property x"),
        ("a.ply", PLY_TEXT.replace("element vertex 5\n", ""), "a property before the first element"),
        ("a.ply", PLY_TEXT.replace("3 1 2 4 0", "3 1 2 5 0"), "face 2 names vertex 5, of which there are 5"),
        ("a.ply", PLY_TEXT.replace("3 1 2 4 0", "3 1 2 -1 0"), "face 2 names vertex -1"),
        ("a.ply", PLY_TEXT.replace("3 1 2 4 0", "3 1 2 four 0"), "'four' among its rows is not a number"),
        ("a.ply", PLY_TEXT.replace("end_header", "end_heade"), "no end_header"),
        ("a.ply", PLY_TEXT.replace("ascii 1.0", "gzip 1.0"), "a format is ascii, binary_little_endian"),
        ("a.ply", mixed_ply()[:-3], "row 2 of face declares a list of 3; the file has room for 2"),
        ("a.ply", mixed_ply() + b"more", "4 bytes follow its last row"),
        ("a.ply", mixed_ply().replace(b"vertex 5", b"vertex 4"), "bytes follow its last row"),
        ("a.ply", HEADER + f"element vertex 0\n{VERTEX}element face 1\n{FACE}end_header\n\xff", "declares a list"),
        ("a.ply", HEADER + "element vertex 0\n" + VERTEX + "property float opacity\nproperty float f_dc_0\n"
         "property float scale_0\nproperty float rot_0\nend_header\n", "it holds Gaussian splats"),
        # STL
        ("a.stl", b"\0" * 80 + struct.pack("<I", 10**9) + b"\0" * 500, "it declares 1,000,000,000 triangles"),
        ("a.stl", ball().export(file_type="stl")[:-1], "it declares 80 triangles"),
        ("a.stl", ball().export(file_type="stl_ascii")[:-20], "it breaks off"),
        ("a.stl", ball().export(file_type="stl_ascii").replace("vertex", "vertex 1", 1), "vertex wants three numbers"),
        # GLB
        ("a.glb", chunked(*quad())[:-4], "its header declares"),
        ("a.glb", chunked(*quad())[:11], "it breaks off in its header"),
        ("a.glb", chunked({}, b""), "asset: Field required"),
        ("a.glb", chunked({"asset": {"version": "1.0"}}, b""), "version 2 is read"),
        ("a.glb", chunked({"asset": {"version": "2.0"}}, b""), "it holds no faces"),
        ("a.gltf", '{"asset": ', "its JSON: Invalid JSON"),
        ("a.gltf", '{"asset": ' + "[" * 100_000, "its JSON: Invalid JSON"),
        ("a.gltf", "[1, 2]", "its JSON: Input should be an object"),
    ],
)  # fmt: skip
def test_one_line_names_the_fault(refused, name, data, says):
    assert says in refused(name, data)


def changed(place, value):
    """The textured square with one value of its JSON replaced."""
    document, binary = quad()
    document = json.loads(json.dumps(document))
    *above, key = place
    owner = document
    for step in above:
        owner = owner[step]
    owner[key] = value
    return chunked(document, binary)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (["accessors", 0, "count"], 5, "accessor 0 ends at byte 60 of buffer view 0, which has 48"),
        (["accessors", 0, "count"], 10**9, "more triangles than are read"),
        (["accessors", 0, "count"], -1, "accessors.0.count: Input should be greater than or equal to 0"),
        (["accessors", 0, "byteOffset"], 2**39, "ends at byte"),
        (["accessors", 0, "bufferView"], 9, "it names buffer view 9, of which there are 4"),
        (["accessors", 0, "type"], "VEC9", "accessors.0.type"),
        (["accessors", 0, "type"], "VEC2", "POSITION has 4 x 2 numbers"),
        (["accessors", 2, "count"], 5, "no multiple of 3"),
        (["accessors", 2, "componentType"], 5126, "ends at byte 24"),
        (["accessors", 0], {"componentType": 5126, "count": 2**30, "type": "VEC3"}, "more triangles than are read"),
        (["bufferViews", 0, "byteOffset"], 10**6, "buffer view 0 ends at byte 1,000,048 of a buffer of"),
        (["bufferViews", 0, "byteLength"], 2**39, "buffer view 0 ends at byte"),
        (["bufferViews", 0, "byteStride"], 0, "bufferViews.0.byteStride"),
        (["buffers", 0, "byteLength"], 2**39, "buffer 0 declares"),
        (["buffers", 0, "uri"], "../data.bin", "'../data.bin', which lies outside its folder"),
        (["buffers", 0, "uri"], "%2e%2e/data.bin", "lies outside its folder"),
        (["buffers", 0, "uri"], "file:///etc/passwd", "nothing is fetched"),
        (["buffers", 0, "uri"], "there.bin", "'there.bin', which is not there"),
        (["buffers", 0, "uri"], "data:application/octet-stream;base64,####", "base64 is damaged"),
        (["nodes", 0, "children"], [0], "node 0 stands in two places of its tree, or in a circle"),
        (["nodes", 0, "children"], [7], "it names node 7, of which there are 1"),
        (["nodes", 0, "rotation"], [0, 0, 0, 0], "the rotation of node 0 is no rotation"),
        (["nodes", 0, "translation"], [0, 0, 1e300], "not finite"),
        (["nodes", 0, "mesh"], 3, "it names mesh 3, of which there are 1"),
        (["meshes", 0, "primitives"], [{"attributes": {"POSITION": 0}, "mode": 1}], "it holds no faces"),
        (["meshes", 0, "primitives", 0, "material"], 8, "it names material 8"),
        (["textures", 0, "source"], 8, "it names image 8"),
        (["images", 0], {"bufferView": 0}, "picture 0 of its images is not a readable PNG"),
        (["images", 0], {"uri": "../skin.png"}, "lies outside its folder"),
        (["scene"], 4, "it names scene 4"),
        (["extensionsRequired"], ["KHR_draco_mesh_compression"], "KHR_draco_mesh_compression, which is not understood"),
    ],
)
def test_gltf_that_points_beyond_itself(refused, place, value, says):
    assert says in refused("a.glb", changed(place, value))


def test_one_mesh_in_a_million_places_is_refused_before_it_is_made(refused):
    document, binary = quad()
    document["nodes"] = [{"mesh": 0}] * 200_000
    document["scenes"] = [{"nodes": list(range(200_000))}]
    assert "all its instances together" in refused("a.glb", chunked(document, binary))
    document, binary = quad()
    document["meshes"][0]["primitives"] *= 2
    document["accessors"][2] = {"componentType": 5125, "count": 29_999_999, "type": "SCALAR"}  # no data: all 0
    assert "all its instances together" in refused("a.glb", chunked(document, binary))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (png_of(60_000, 60_000), "declares 3,600,000,000 pixels, more than the 64 Mi that are read"),
        (png_of(10_000, 9_000), "declares 10000 x 9000 pixels"),
        (encoded(picture(64))[:-40], "is truncated or damaged"),
        (b"GIF89a" + b"\0" * 100, "is not a readable PNG, JPEG, WebP, BMP or TGA"),
        (b"", "is empty"),
    ],
)
def test_pictures_that_are_bombs_or_broken(refused, tmp_path, image, says):
    (tmp_path / "cube.mtl").write_text(MATERIALS)
    (tmp_path / "my picture.png").write_bytes(image)
    assert says in refused("a.obj", CUBE)


def test_many_pictures_have_a_budget(refused, monkeypatch):
    monkeypatch.setattr("distill3d.files.meshes.texture_reading.MOST_IN_ALL", 3 << 20)
    document, binary = quad()
    black = encoded(np.zeros((1024, 1024), np.uint8))
    assert len(black) < 4000
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(black)})
    document["buffers"][0]["byteLength"] = len(binary) + len(black)
    document["images"] = [{"bufferView": 4}] * 4
    document["textures"] = [{"source": k} for k in range(4)]
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": k}}} for k in range(4)]
    primitive = document["meshes"][0]["primitives"][0]
    document["meshes"][0]["primitives"] = [{**primitive, "material": k} for k in range(4)]
    assert "more than 3 Mi pixels in all" in refused("a.glb", chunked(document, binary + black))


def test_links_that_lead_out_and_things_that_are_no_files(refused, tmp_path):
    secret = tmp_path.parent / f"{tmp_path.name}-secret.mtl"
    secret.write_text("newmtl painted\n")
    os.symlink(secret, tmp_path / "cube.mtl")
    assert "lies outside its folder" in refused("a.obj", CUBE)
    (tmp_path / "cube.mtl").unlink()
    os.mkfifo(tmp_path / "cube.mtl")  # reading it would never end
    assert "it is not a file" in refused("a.obj", CUBE)
    for name, says in (("pipe.ply", "it is not a file"), ("folder.ply", "it is a folder"), ("no.ply", "no such file")):
        if name == "pipe.ply":
            os.mkfifo(tmp_path / name)
        elif name == "folder.ply":
            (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=says):
            read_mesh(tmp_path / name)


def test_what_is_missing_beside_is_said_and_left_grey(tmp_path):
    path = write_all(tmp_path)["cube.obj"]
    (tmp_path / "my picture.png").unlink()
    loaded = read_mesh(path)
    assert loaded.mesh.texture is None
    assert loaded.mesh.colors is not None
    assert any("'my picture.png', which is not there" in line for line in loaded.notices)
    (tmp_path / "cube.mtl").unlink()
    loaded = read_mesh(path)
    assert loaded.mesh.colors is None
    assert any("'cube.mtl', which is not there" in line for line in loaded.notices)


def test_harmless_faults_are_put_right_and_said(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 9 9 9\nv nan 0 0\nv 1 1 0\nv 0 0 1\n"
    text += "f 1 2 3\nf 2 3 1\nf 1 1 2\nf 2 6 3\nf 2 3 1\nf 1 2 6\nf 2 3 7\n"
    (tmp_path / "a.obj").write_text(text)
    loaded = read_mesh(tmp_path / "a.obj")
    assert len(loaded.mesh.faces) == 4
    assert len(loaded.mesh.vertices) == 5
    notices = "\n".join(loaded.notices)
    for line in ("1 triangles without an area", "2 triangles that stand there twice", "not manifold", "not closed"):
        assert line in notices
    assert read_mesh(write_all(tmp_path / "good")["ball.glb"]).notices == []  # negative control


def test_nothing_is_read_beyond_the_limit(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("distill3d.files.meshes.reading.MOST_TEXT", 100)
    assert "more than the" in refused("a.obj", CUBE)
    monkeypatch.setattr("distill3d.files.meshes.limits.MOST_FACES", 10)
    assert "decimate it first" in refused("a.stl", ball().export(file_type="stl"))
