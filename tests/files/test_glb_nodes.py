"""A GLB of several objects: named, coloured, each about its own origin; read back by trimesh and by this package."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from distill3d.core.mesh import Mesh
from distill3d.files.glb import Node, linear, nodes_glb
from distill3d.files.meshes import read_mesh
from distill3d.geometry.normals import vertex_normals

PLACES = {"seat 0": (0.0, 0.0, 0.1), "leg 3": (0.4, -0.2, -0.5)}
COLORS = {"seat 0": (1.0, 0.5, 0.0), "leg 3": (0.1, 0.2, 0.9)}


def nodes(normals: bool = True) -> list[Node]:
    made = []
    for name, place in PLACES.items():
        box = trimesh.creation.box((0.2, 0.3, 0.4))
        mesh = Mesh(box.vertices + place, box.faces, name=name)
        smooth = vertex_normals(mesh.vertices, mesh.faces) if normals else None
        made.append(Node(mesh, np.array(COLORS[name]), np.array(place), smooth))
    return made


def test_trimesh_finds_the_objects_by_name(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(nodes_glb(nodes(), "thing"))
    scene = trimesh.load(path)
    assert set(scene.graph.nodes_geometry) == set(PLACES)
    for name, (x, y, z) in PLACES.items():
        matrix, geometry = scene.graph[name]
        box = scene.geometry[geometry]
        assert np.allclose(matrix[:3, 3], (y, z, x), atol=1e-6)  # y up
        assert np.allclose(box.bounds.mean(0), 0, atol=1e-6)  # about its own origin
        assert np.allclose(np.ptp(box.bounds, 0), (0.3, 0.4, 0.2), atol=1e-6)
        assert box.volume == pytest.approx(0.024, rel=1e-5)
        base = np.asarray(box.visual.material.baseColorFactor[:3]) / 255.0
        assert np.allclose(base, linear(np.array(COLORS[name])), atol=0.005)
    assert not np.allclose(linear(np.array(COLORS["seat 0"])), linear(np.array(COLORS["leg 3"])), atol=0.1)


def test_it_is_read_back_in_place(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(nodes_glb(nodes(normals=False), "thing"))
    read = read_mesh(path)
    assert read.notices == []
    expected = np.concatenate([node.mesh.vertices for node in nodes()])
    assert np.allclose(read.mesh.vertices.min(0), expected.min(0), atol=1e-6)
    assert np.allclose(read.mesh.vertices.max(0), expected.max(0), atol=1e-6)


def test_equal_nodes_give_equal_bytes():
    assert nodes_glb(nodes(), "thing") == nodes_glb(nodes(), "thing")
    assert nodes_glb(nodes(), "thing") != nodes_glb(nodes()[::-1], "thing")


def test_nothing_is_no_scene():
    with pytest.raises(ValueError, match="without nodes"):
        nodes_glb([], "thing")
    with pytest.raises(ValueError, match="without faces"):
        nodes_glb([Node(Mesh(np.zeros((3, 3)), np.zeros((0, 3), int)), np.zeros(3), np.zeros(3))], "thing")
