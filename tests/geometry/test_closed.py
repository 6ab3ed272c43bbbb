"""Whether a surface encloses a solid."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from distill3d.core.mesh import Mesh
from distill3d.geometry.closed import loose_edges


def plain(thing) -> Mesh:
    return Mesh(np.asarray(thing.vertices), np.asarray(thing.faces))


@pytest.mark.parametrize(
    "thing", [trimesh.creation.box(), trimesh.creation.torus(1, 0.3), trimesh.creation.icosphere(2)]
)
def test_solids_are_closed_whichever_way_they_face_and_however_they_are_cut_up(thing):
    mesh = plain(thing)
    assert loose_edges(mesh) == 0
    assert loose_edges(Mesh(mesh.vertices, mesh.faces[:, ::-1])) == 0
    apart = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3))
    assert loose_edges(apart) == 0  # no two triangles share a vertex, as in an STL
    assert loose_edges(Mesh(mesh.vertices, mesh.faces[1:])) == 3


def test_pieces_that_touch_are_closed():
    one, other = trimesh.creation.box(), trimesh.creation.box()
    other.apply_translation([1, 0, 0])
    assert loose_edges(plain(trimesh.util.concatenate([one, other]))) == 0


def test_a_tube_without_ends_is_open():
    tube = trimesh.creation.cylinder(1, 2, sections=16)
    sides = np.abs(tube.face_normals[:, 2]) < 0.5
    assert loose_edges(Mesh(tube.vertices, tube.faces[sides])) == 32


def test_a_triangle_turned_round_is_found():
    mesh = plain(trimesh.creation.box())
    faces = mesh.faces.copy()
    faces[0] = faces[0, ::-1]
    assert loose_edges(Mesh(mesh.vertices, faces)) == 3
