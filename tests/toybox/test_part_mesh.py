"""A toy's triangles lie on its parts, in their colours."""

import numpy as np

from distill3d.toybox.part_mesh import part_mesh
from distill3d.toybox.solids import contains
from distill3d.toybox.world import toy_from_prompt


def test_every_vertex_lies_on_the_part_that_it_is_told_to():
    toy = toy_from_prompt("a red mushroom", np.random.default_rng(3))
    mesh, labels = part_mesh(toy)
    assert set(labels) == set(range(len(toy.parts)))
    assert mesh.faces.max() < len(mesh.vertices) == len(labels)
    for position, part in enumerate(toy.parts):
        own = mesh.vertices[labels == position].astype(float)
        assert np.allclose(mesh.colors[labels == position], part.color, atol=1e-6)
        inward = part.center + 0.98 * (own - part.center)
        outward = part.center + 1.03 * (own - part.center)
        assert contains(part, inward).mean() > 0.95
        assert not contains(part, outward).any()
    other = mesh.vertices[labels == 1].astype(float)
    assert contains(toy.parts[0], other).mean() < 0.5  # negative control: not on another part
