"""Materials, tints, repeats and several pictures: what each triangle looks like after all became one mesh."""

import json

import numpy as np
import pytest

from distill3d.files.meshes import read_mesh
from distill3d.files.meshes.joining import join
from distill3d.files.meshes.parts import Material, Part, Parts, linear, stored
from distill3d.renderers.mesh_picture import sample_texture
from tests.files.meshes.good_files import chunked, encoded, picture, quad, write_all

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def square(at=0.0, uv=None, colors=None, material=None):
    return Part(SQUARE + np.array([at, 0, 0]), FACES, uv, colors, material or Material())


def colour_at(part, triangle, weights):
    """What a picture of the joined part shows in a triangle, 0..255."""
    uv = (part.uv[part.faces[triangle]] * np.asarray(weights)[:, None]).sum(0, keepdims=True)
    return sample_texture(part.material.picture.astype(np.float32), uv)[0]


def flat(color, size=8):
    return np.full((size, size, 3), color, np.uint8)


def test_two_pictures_and_a_plain_colour_become_one_picture():
    uv = SQUARE[:, :2]
    found = Parts(
        [
            square(0, uv, material=Material(picture=flat((200, 0, 0), 32))),
            square(2, uv, material=Material(picture=picture(16))),
            square(4, material=Material(linear(np.array([0.1, 0.5, 0.9])))),
        ]
    )
    joined = join(found)
    assert joined.uv.min() >= 0
    assert joined.uv.max() <= 1
    third = [1 / 3] * 3
    for triangle in (0, 1):
        assert colour_at(joined, triangle, third).tolist() == [200, 0, 0]
    for triangle in (4, 5):
        assert colour_at(joined, triangle, third).tolist() == pytest.approx([0.1 * 255, 0.5 * 255, 0.9 * 255], abs=1)
    # the corners of the second square see its picture's corners: red grows along u, green downwards
    assert colour_at(joined, 2, [1, 0, 0]).tolist() == pytest.approx([0, 255, 128], abs=9)
    assert colour_at(joined, 2, [0, 0, 1]).tolist() == pytest.approx([255, 0, 128], abs=9)


def test_a_tint_works_in_linear_light():
    tint = np.array([0.5, 1.0, 0.0])
    joined = join(Parts([square(0, SQUARE[:, :2], material=Material(tint, flat((200, 100, 50))))]))
    expected = 255 * stored(linear(np.array([200, 100, 50]) / 255) * tint)
    assert colour_at(joined, 0, [1 / 3] * 3).tolist() == pytest.approx(expected.tolist(), abs=1)
    assert abs(expected[0] - 100) > 30  # negative control: halving the stored number is something else


def test_without_pictures_colours_go_to_the_vertices():
    colors = np.eye(3)[[0, 1, 2, 0]]
    joined = join(Parts([square(0, colors=colors), square(2, material=Material(linear(np.array([0.2, 0.2, 0.2]))))]))
    assert joined.uv is None
    assert joined.colors[:4].tolist() == colors.tolist()
    assert np.allclose(joined.colors[4:], 0.2)
    assert join(Parts([square()])).colors is None


def test_a_picture_that_repeats_over_whole_triangles_is_not_enlarged():
    uv = SQUARE[:, :2] + [3.0, -2.0]
    joined = join(Parts([square(0, uv, material=Material(picture=picture()))]))
    assert joined.material.picture.shape == (16, 16, 3)
    assert np.allclose(joined.uv[joined.faces], SQUARE[FACES][..., :2])


def test_a_triangle_over_a_border_gets_a_picture_with_repeats():
    uv = SQUARE[:, :2] * [2.5, 1.0]
    joined = join(Parts([square(0, uv, material=Material(picture=picture()))]))
    assert joined.material.picture.shape == (16, 48, 3)
    # at half of the width the coordinate is 1.25: a quarter into the second repeat
    seen = colour_at(joined, 0, [0.5, 0.5, 0.0])
    assert seen[0] == pytest.approx(0.25 * 255, abs=12)


def test_a_mirrored_picture():
    uv = SQUARE[:, :2] * [2.0, 1.0]
    material = Material(picture=picture(), wrap=("mirror", "mirror"))
    joined = join(Parts([square(0, uv, material=material)]))
    assert colour_at(joined, 0, [1, 0, 0])[0] == pytest.approx(0, abs=9)
    assert colour_at(joined, 0, [0.5, 0.5, 0])[0] == pytest.approx(255, abs=9)  # u = 1
    assert colour_at(joined, 0, [0, 1, 0])[0] == pytest.approx(0, abs=9)  # u = 2: back at the start
    up = join(Parts([square(0, SQUARE[:, :2] * [1.0, 2.0], material=material)]))
    assert colour_at(up, 0, [1, 0, 0])[1] == pytest.approx(255, abs=9)
    assert colour_at(up, 1, [0.5, 0, 0.5])[1] == pytest.approx(0, abs=9)  # v = 1: the top of the first
    assert colour_at(up, 1, [0, 0, 1])[1] == pytest.approx(255, abs=9)  # v = 2


@pytest.mark.parametrize("repeats", [(50_000, 50_000), (1, 50_000), (300, 1)])
def test_repeats_without_end_take_no_memory(repeats):
    plain = square(2, material=Material(np.array([0.0, 0.5, 1.0])))
    found = Parts([square(0, SQUARE[:, :2] * repeats, material=Material(picture=picture(256))), plain])
    joined = join(found)
    assert joined.material.picture.size <= 3 * 8200 * 8200
    assert any("reduced" in line for line in found.notices)


def test_many_large_pictures_are_reduced():
    parts = [square(k, SQUARE[:, :2], material=Material(picture=flat((k, 0, 0), 2048))) for k in range(8)]
    found = Parts(parts)
    joined = join(found)
    assert joined.material.picture.size <= 3 * (1 << 24) * 1.3
    assert [colour_at(joined, 2 * k, [1 / 3] * 3)[0] for k in range(8)] == list(range(8))
    assert any("reduced" in line for line in found.notices)


def test_the_obj_with_a_picture_and_a_plain_material(tmp_path):
    mesh = read_mesh(write_all(tmp_path)["cube.obj"]).mesh
    assert mesh.texture is not None
    center = mesh.uv[mesh.faces].mean(1)
    colors = sample_texture(mesh.texture, center)
    normal = np.cross(*np.diff(mesh.vertices[mesh.faces], axis=1).transpose(1, 0, 2))
    plain = np.abs(normal[:, 1]) < 1e-6  # y of the world is x of the file: the painted sides face z of the file
    assert colors[np.abs(normal[:, 0]) < 1e-6] == pytest.approx(np.tile([0.2, 0.4, 0.6], (8, 1)), abs=0.01)
    assert plain.any()


def test_pictures_of_16_bits_palettes_and_transparency(tmp_path):
    from PIL import Image

    document, binary = quad()
    document = json.loads(json.dumps(document))
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for name, image in (
        ("16 bits", Image.fromarray(ramp)),
        ("palette", Image.fromarray(picture(8)).convert("P")),
        ("transparent", Image.fromarray(np.dstack([picture(8), np.zeros((8, 8), np.uint8)]))),
    ):
        image.save(tmp_path / "skin.png")
        document["images"] = [{"uri": "skin.png"}]
        (tmp_path / "a.glb").write_bytes(chunked(document, binary))
        texture = read_mesh(tmp_path / "a.glb").mesh.texture
        assert texture.shape == (8, 8, 3), name
        if name == "16 bits":
            assert texture[..., 0] == pytest.approx(ramp / 65535, abs=1 / 255)
        if name == "transparent":
            assert np.array_equal(np.round(texture * 255), picture(8))
    assert encoded(picture(8), "JPEG")[:2] == b"\xff\xd8"
