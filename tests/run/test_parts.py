"""The functions behind `distill3d parts`, on small random models: what is kept, moved, written and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_file, save_file

from distill3d.core.errors import UserError
from distill3d.parts.model import load_part_model
from distill3d.parts.part_file import FORMAT, read_parts, write_parts
from distill3d.parts.surface import part_meshes
from distill3d.run import parts
from distill3d.run.backend import reproducible
from distill3d.run.parts import Asked
from distill3d.run.parts_choice import chosen_parts, part_names
from distill3d.run.parts_folder import scene
from distill3d.run.parts_sheet import SIZE, ellipsoids, part_color, sheet
from tests.parts.tiny import NAMES, tiny_network, tiny_shape, write_tiny_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models, two shapes, and a ball."""
    made = tmp_path_factory.mktemp("parts")
    write_tiny_models(made / "model")
    write_tiny_models(made / "wordless", namer=False)
    for number in (0, 1):
        write_parts(tiny_shape(tiny_network(), number), made / f"{'ab'[number]}.safetensors")
    trimesh.creation.icosphere(1).export(made / "ball.ply")
    return made


@pytest.fixture
def asked(folder, tmp_path):
    return Asked(out=tmp_path / "out", model=folder / "model", steps=2, resolution=17)


def part(shape, number):
    return [*(v[number] for v in vars(shape.gaussians).values()), shape.intrinsics[number]]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_completion_keeps_the_others_to_the_bit_on_disk(folder, asked):
    done = parts.complete(folder / "a.safetensors", "1,4", replace(asked, count=2))
    before = read_parts(folder / "a.safetensors")
    for name in ("shape-0", "shape-1"):
        after = read_parts(done.folder / f"{name}.safetensors")
        assert [same(part(before, k), part(after, k)) for k in range(5)] == [True, False, True, True, False]


def test_an_edit_hears_its_sentence_and_keeps_the_others(folder, asked, tmp_path):
    made = {}
    for sentence in ("the one with wheels", "the one with gaps in the back"):
        out = tmp_path / sentence
        parts.edit(folder / "a.safetensors", sentence, "2", replace(asked, out=out))
        made[sentence] = read_parts(out / "shape-0.safetensors")
    before, (first, second) = read_parts(folder / "a.safetensors"), made.values()
    for after in (first, second):
        assert [same(part(before, k), part(after, k)) for k in range(5)] == [True, True, False, True, True]
    assert not same(part(first, 2), part(second, 2))


def test_a_mix_takes_its_parts_from_both(folder, asked):
    first, second = (read_parts(folder / f"{name}.safetensors") for name in "ab")
    done = parts.mix(folder / "a.safetensors", folder / "b.safetensors", "0,3", "1,2,4", asked, strength=0.0)
    mixed = read_parts(done.folder / "shape-0.safetensors")
    assert len(mixed) == 5
    assert same(part(mixed, 0), part(first, 0))
    assert same(part(mixed, 1), part(first, 3))
    for number, taken in ((2, 1), (3, 2), (4, 4)):  # scaled and scaled back
        assert torch.allclose(part(mixed, number)[0], part(second, taken)[0], atol=1e-5)
    refined = parts.mix(folder / "a.safetensors", folder / "b.safetensors", "0,3", "1,2,4", asked, strength=1.0)
    assert same(part(refined.shapes[0], 0), part(first, 0))
    assert not torch.allclose(part(refined.shapes[0], 3)[0], part(second, 2)[0], atol=1e-3)


def test_a_moved_part_is_moved_as_asked_and_the_surface_follows(folder, asked):
    source, up = folder / "a.safetensors", (0.0, 0.0, 0.2)
    done = parts.move(source, "3", asked, translate=up, rotate=("z", 90.0), scale=0.5)
    before, after = read_parts(source), read_parts(done.folder / "shape-0.safetensors")
    means, then = before.gaussians.means, after.gaussians.means
    assert torch.allclose(then[3], means[3] + torch.tensor(up), atol=1e-6)
    assert torch.allclose(after.gaussians.eigenvalues[3], 0.25 * before.gaussians.eigenvalues[3])
    assert [same(part(before, k), part(after, k)) for k in range(5)] == [True, True, True, False, True]
    still = parts.show(source, asked)[0]
    assert (done.folder / "shape-0.glb").read_bytes() != (still.folder / "shape-0.glb").read_bytes()


def test_an_interpolation_begins_and_ends_as_asked(folder, asked):
    done = parts.interpolate(folder / "a.safetensors", folder / "b.safetensors", replace(asked, count=3))
    first, second = (read_parts(folder / f"{name}.safetensors") for name in "ab")
    assert torch.allclose(done.shapes[0].intrinsics, first.intrinsics, atol=1e-5)
    away = done.shapes[2].intrinsics[:, None] - second.intrinsics
    assert float(away.norm(dim=-1).amin(1).max()) < 1e-4
    assert sorted(p.name for p in done.folder.glob("*.glb")) == ["shape-0.glb", "shape-1.glb", "shape-2.glb"]
    with pytest.raises(UserError, match="--n is 2 to 64"):
        parts.interpolate(folder / "a.safetensors", folder / "b.safetensors", asked)


def test_a_folder_has_the_same_bytes_for_the_same_seed_and_is_never_replaced(asked):
    folders = [parts.generate("a chair with wheels", replace(asked, seed=seed)).folder for seed in (3, 3, 4)]
    assert [folder.name for folder in folders] == ["out", "out-2", "out-3"]
    content = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]
    assert set(content[0]) == {"shape-0.safetensors", "shape-0.glb", "sheet.png"}
    assert content[0] == content[1]
    assert all(content[0][name] != content[2][name] for name in content[0])


def test_a_glb_holds_the_parts_as_named_objects(folder, asked):
    model, shape = load_part_model(asked.model), read_parts(folder / "a.safetensors")
    done, lines = parts.show(folder / "a.safetensors", asked)
    names = part_names(shape, model.namer)
    loaded = trimesh.load(done.folder / "shape-0.glb")
    with reproducible("auto"):  # as the verbs compute them: the last bit depends on the threads
        pieces = part_meshes(model.network, shape, asked.resolution)
    assert set(loaded.graph.nodes_geometry) == {names[number] for number in pieces}
    assert len(pieces) > 1
    for number, name in enumerate(names):
        assert name.split()[0] in NAMES
        assert name.endswith(f" {number}")
        assert lines[number + 1].split()[:2] == [str(number), name.split()[0]]
    for number, piece in pieces.items():
        matrix, geometry = loaded.graph[names[number]]
        x, y, z = shape.gaussians.means[number].tolist()
        assert np.allclose(matrix[:3, 3], (y, z, x), atol=1e-6)
        assert np.allclose(
            loaded.geometry[geometry].volume, trimesh.Trimesh(piece.vertices, piece.faces).volume, rtol=1e-3
        )
    assert scene(shape, pieces, names, "shape-0") == (done.folder / "shape-0.glb").read_bytes()


def test_a_mesh_is_read_as_parts(folder, asked):
    done, lines = parts.show(folder / "ball.ply", asked)
    assert len(lines) == 6
    assert len(read_parts(done.folder / "shape-0.safetensors")) == 5


def test_the_sheet_shows_surfaces_and_ellipsoids_in_the_colours_of_their_parts(folder):
    shape, network = read_parts(folder / "a.safetensors"), tiny_network()
    pieces = part_meshes(network, shape, 17)
    whole = sheet([(shape.gaussians, pieces)])
    assert whole.shape == (SIZE, 4 * SIZE, 3)
    two = sheet([(shape.gaussians, pieces), (shape.gaussians, {})])
    assert np.array_equal(two[:SIZE], whole)
    assert np.array_equal(two[SIZE:, 2 * SIZE :], whole[:, 2 * SIZE :])
    assert np.ptp(two[SIZE:, : 2 * SIZE], (0, 1)).max() == 0  # no surface: the backdrop alone
    one = shape.gaussians.only(torch.tensor([0]))
    seen = sheet([(one, {})])[:, 2 * SIZE :].astype(float)
    color = seen[np.abs(seen - seen[0, 0]).sum(-1) > 60].mean(0)
    assert np.argmax(color) == np.argmax(part_color(0))
    assert len({tuple(part_color(k).round(3)) for k in range(32)}) == 32


def test_ellipsoids_are_two_standard_deviations_wide_and_face_outwards(folder):
    gaussians = read_parts(folder / "a.safetensors").gaussians
    for some in (gaussians, gaussians.reflected()):
        for number, mesh in ellipsoids(some).items():
            local = some.local(torch.from_numpy(mesh.vertices))[:, number]
            assert torch.allclose(local.norm(dim=-1), torch.tensor(2.0), atol=1e-3)
            body = trimesh.Trimesh(mesh.vertices, mesh.faces)
            expected = 4 / 3 * np.pi * 8 * float(some.eigenvalues[number].sqrt().prod())
            assert body.is_watertight
            assert body.volume == pytest.approx(expected, rel=0.05)


def test_parts_are_chosen_by_number_word_and_box(folder):
    shape, model = read_parts(folder / "a.safetensors"), load_part_model(folder / "model")
    assert chosen_parts("0, 3", shape, None).tolist() == [True, False, False, True, False]
    names = model.namer.names_of(shape)
    word = names[2]
    assert chosen_parts(word + "s", shape, model.namer).tolist() == [name == word for name in names]
    assert chosen_parts(f"{word},0", shape, model.namer).tolist() == [n == word or i == 0 for i, n in enumerate(names)]
    x, y, z = shape.gaussians.means[4].tolist()
    box = f"box:{x - 0.01},{y - 0.01},{z - 0.01},{x + 0.01},{y + 0.01},{z + 0.01}"
    assert chosen_parts(box, shape, None).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no part is chosen"),
        (" , ", "no part is chosen"),
        ("5", "part 5 is not there: this shape has parts 0 to 4"),
        ("-1", "part -1 is not there"),
        ("wing", "no part is called 'wing'"),
        ("box:2,2,2,3,3,3", "the middle of no part lies in it"),
        ("box:1,1,1,0,0,0", "has no volume"),
        ("bx:1", "is not box:"),
    ],
)
def test_parts_that_are_not_there(folder, text, says):
    shape, model = read_parts(folder / "a.safetensors"), load_part_model(folder / "model")
    with pytest.raises(UserError, match=says) as caught:
        chosen_parts(text, shape, model.namer)
    assert "\n" not in str(caught.value)


def test_models_without_words_say_so(folder, asked):
    with pytest.raises(UserError, match="know no words for parts"):
        parts.complete(folder / "a.safetensors", "leg", replace(asked, model=folder / "wordless"))
    shape = read_parts(folder / "a.safetensors")
    assert part_names(shape, None)[3] == "part 3"


def test_what_is_refused_leaves_nothing_behind(folder, asked, tmp_path):
    (tmp_path / "file").write_text("mine")
    cut = trimesh.creation.box()
    trimesh.Trimesh(cut.vertices, cut.faces[1:], process=False).export(tmp_path / "open.ply")
    trimesh.Trimesh(cut.vertices, cut.faces[:, ::-1], process=False).export(tmp_path / "inverted.ply")
    other = read_parts(folder / "a.safetensors")
    write_parts(type(other)(other.gaussians, other.intrinsics[:, :4]), tmp_path / "other.safetensors")
    flat = load_file(folder / "a.safetensors")
    flat["eigenvalues"] *= 0.0
    save_file(flat, tmp_path / "flat.safetensors", FORMAT)
    good = folder / "a.safetensors"
    for refused, says in (
        (lambda: parts.generate("a boat", asked), r"'a boat' names no shape .* know chair \(no arms"),
        (lambda: parts.generate("", asked), "the sentence is empty"),
        (lambda: parts.generate("a chair and a table", asked), "one kind of shape at a time"),
        (lambda: parts.generate("a chair", replace(asked, count=0)), "--n is 1 to 64"),
        (lambda: parts.generate("a chair", replace(asked, steps=0)), "--steps is 1 to 1000"),
        (lambda: parts.generate("a chair", replace(asked, resolution=4)), "--resolution is 16 to 512"),
        (lambda: parts.generate("a chair", replace(asked, model="nowhere")), "nowhere: not 'toybox' and not a folder"),
        (lambda: parts.generate("a chair", replace(asked, out=tmp_path / "file")), "is a file: --out names"),
        (lambda: parts.complete(good, "7", asked), "part 7 is not there"),
        (lambda: parts.complete(folder / "none.safetensors", "1", asked), "there is no such file"),
        (lambda: parts.complete(folder, "1", asked), "is a folder: name a shape in it"),
        (lambda: parts.complete(folder / "model" / "config.json", "1", asked), "a shape of parts ends in"),
        (lambda: parts.complete(good, "1", replace(asked, up="y")), "--up is for mesh files"),
        (lambda: parts.edit(good, "it flies", "1", asked), "names nothing that these part models know"),
        (lambda: parts.mix(good, good, "0", "9", asked), "part 9 is not there"),
        (lambda: parts.mix(good, good, "0", "1", asked, strength=2.0), "--strength is 0 to 1"),
        (lambda: parts.move(good, "0", asked, translate=(9.0, 0.0, 0.0)), "part 0 would leave the world"),
        (lambda: parts.show(tmp_path / "open.ply", asked), "open.ply: .*is open"),
        (lambda: parts.show(tmp_path / "inverted.ply", asked), "inverted.ply: .*inside out"),
        (lambda: parts.show(tmp_path / "other.safetensors", asked), "hold 4 numbers and these part models' 6"),
        (lambda: parts.show(tmp_path / "flat.safetensors", asked), "part 0 is degenerate"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["file", "open.ply", "inverted.ply", "other.safetensors", "flat.safetensors"]
    )
    parts.show(good, asked)  # control: what is sound is written there
    with Image.open(tmp_path / "out" / "sheet.png") as picture:
        assert picture.size == (4 * SIZE, SIZE)
