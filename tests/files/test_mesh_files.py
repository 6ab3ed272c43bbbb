import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh
from distill3d.files.glb import glb, write_glb, y_up
from distill3d.files.obj import write_obj
from distill3d.files.ply import write_ply

NORMALS = trimesh.creation.icosphere(subdivisions=2).vertices


def textured():
    """A ball whose texture is red in its upper half of rows and blue below; u follows x, v follows z."""
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    texture = np.zeros((32, 32, 3), np.float32)
    texture[:16], texture[16:] = (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)
    uv = (sphere.vertices[:, [0, 2]] + 0.5).astype(np.float32)
    return Mesh(sphere.vertices, sphere.faces, uv=uv, texture=texture, name="a red ball")


def colored():
    mesh = textured()
    return Mesh(mesh.vertices, mesh.faces, np.where(mesh.vertices[:, 2:] > 0, (0.8, 0.2, 0.2), (0.2, 0.2, 0.8)))


def color_at_place(loaded, direction):
    """The colour that trimesh sees at the vertex furthest in `direction`."""
    corner = int((np.asarray(loaded.vertices) @ direction).argmax())
    visual = loaded.visual
    colors = visual.to_color().vertex_colors if visual.kind == "texture" else visual.vertex_colors
    return np.asarray(colors)[corner, :3] / 255


def test_y_up_is_a_rotation_that_takes_up_to_y_and_front_to_z():
    axes = y_up(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[2].tolist() == [0, 1, 0]
    assert axes[0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_textured_files_reopen_with_faces_and_colours(tmp_path, kind):
    mesh = textured()
    path = tmp_path / f"asset.{kind}"
    (write_glb if kind == "glb" else write_obj)(mesh, path, NORMALS)
    loaded = trimesh.load(path, force="mesh", process=False)
    assert len(loaded.faces) == len(mesh.faces)
    assert loaded.volume == pytest.approx(trimesh.Trimesh(mesh.vertices, mesh.faces).volume, rel=1e-4)  # outwards too
    assert color_at_place(loaded, [0, 1, 0]) == pytest.approx([0.8, 0.2, 0.2], abs=0.01)  # up is y
    assert color_at_place(loaded, [0, -1, 0]) == pytest.approx([0.2, 0.2, 0.8], abs=0.01)


def test_ply_reopens_with_faces_colours_and_the_projects_axes(tmp_path):
    mesh = colored()
    write_ply(mesh, tmp_path / "asset.ply")
    loaded = trimesh.load(tmp_path / "asset.ply", process=False)
    assert np.array_equal(loaded.faces, mesh.faces)
    assert np.array_equal(loaded.vertices.astype(np.float32), mesh.vertices)
    assert color_at_place(loaded, [0, 0, 1]) == pytest.approx([0.8, 0.2, 0.2], abs=0.01)
    assert color_at_place(loaded, [0, 0, -1]) == pytest.approx([0.2, 0.2, 0.8], abs=0.01)


def test_obj_without_texture_has_vertex_colours(tmp_path):
    assert write_obj(colored(), tmp_path / "asset.obj") == [tmp_path / "asset.obj"]
    loaded = trimesh.load(tmp_path / "asset.obj", process=False)
    assert color_at_place(loaded, [0, 1, 0]) == pytest.approx([0.8, 0.2, 0.2], abs=0.01)


def test_obj_refuses_a_name_that_its_material_could_not_follow(tmp_path):
    with pytest.raises(UserError, match="spaces"):
        write_obj(textured(), tmp_path / "my asset.obj")


def header_of(data):
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + length])


def test_glb_says_what_it_is_and_is_the_same_every_time():
    data = glb(textured(), NORMALS)
    assert data == glb(textured(), NORMALS)
    header = header_of(data)
    assert header["nodes"][0]["name"] == "a red ball"
    material = header["materials"][0]
    assert material["doubleSided"] is False
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1.0
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert header["images"][0]["mimeType"] == "image/png"
    with pytest.raises(ValueError, match="without faces"):
        glb(Mesh(np.zeros((3, 3)), np.zeros((0, 3))))


def validator():
    """Where Khronos' validator is installed: GLTF_VALIDATOR names a folder with node_modules, or the current one."""
    if shutil.which("node") is None:
        return None
    folder = Path(os.environ.get("GLTF_VALIDATOR", "."))
    return folder.resolve() if (folder / "node_modules" / "gltf-validator").is_dir() else None


@pytest.mark.skipif(validator() is None, reason="needs node and the npm package gltf-validator (see GLTF_VALIDATOR)")
def test_glb_passes_the_khronos_validator():
    script = (
        "const chunks=[];process.stdin.on('data',c=>chunks.push(c)).on('end',()=>require('gltf-validator')"
        ".validateBytes(new Uint8Array(Buffer.concat(chunks))).then(r=>console.log(JSON.stringify(r.issues))))"
    )

    def issues(data):
        done = subprocess.run(["node", "-e", script], input=data, cwd=validator(), capture_output=True, check=True)
        return json.loads(done.stdout)

    for data in (glb(textured(), NORMALS), glb(textured()), glb(colored(), NORMALS)):
        found = issues(data)
        assert (found["numErrors"], found["numWarnings"]) == (0, 0), found["messages"]
    assert issues(glb(textured(), NORMALS * 2))["numErrors"] > 0  # negative control: normals that are not unit


@pytest.mark.parametrize("kind", ["glb", "obj", "ply"])
@pytest.mark.parametrize("moment", ["write_bytes", "replace"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, kind, moment):
    write = {"glb": write_glb, "obj": write_obj, "ply": write_ply}[kind]
    path = tmp_path / f"asset.{kind}"
    path.write_bytes(b"what was there before")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    def half(self, data):
        with open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        full()

    with monkeypatch.context() as broken:
        if moment == "write_bytes":
            broken.setattr(Path, "write_bytes", half)
        else:
            broken.setattr(os, "replace", full)
        with pytest.raises(UserError, match="No space left"):
            write(textured(), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"what was there before"
    write(textured(), path)  # negative control
    assert len(path.read_bytes()) > 1000
