"""Films and pictures of runs and files: what is in them, and what is refused before any work."""

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.core.rendering import Rendering
from distill3d.files.splats import Splats, write_splats
from distill3d.run.color_map import colored, table
from distill3d.run.progress import Progress
from distill3d.run.render import FURTHEST, NEAREST, beside, chosen_background, chosen_parts, counted, render
from tests.files.meshes.good_files import ball, write_all
from tests.run.test_scene import blob  # noqa: F401  a fixture


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image) / 255


def frames(path, size):
    reader = imageio_ffmpeg.read_frames(str(path))
    next(reader)
    return np.stack([np.frombuffer(frame, np.uint8).reshape(*size, 3) for frame in reader]) / 255


def test_a_view_of_a_mesh_with_depth_and_normals(tmp_path):
    ball().export(tmp_path / "ball.stl")
    made = render(tmp_path / "ball.stl", tmp_path / "a.png", show="rgb,depth,normal", view="0,0", size=64)
    assert made.depth_range == (NEAREST, FURTHEST)
    rgb, depth, normal = np.split(pixels(made.path), 3, axis=1)
    assert rgb.shape == (64, 64, 3)
    # the middle of the ball is nearest: the bright end of the map; seen from +x its normal is +x
    assert np.abs(depth[32, 32] - table()[-1] / 255).max() < 0.03
    assert normal[32, 32].tolist() == pytest.approx([1, 0.5, 0.5], abs=0.08)
    assert depth[32, 32].sum() > depth[32, 52].sum() > 0
    assert normal[32, 54, 1] > 0.8  # to the right of the picture lies +y
    assert normal[10, 32, 2] > 0.8  # up is +z


def test_a_mesh_is_fitted_into_the_picture_whatever_its_size(tmp_path):
    pictures = []
    for size in (0.001, 1.0, 5000.0):
        mesh = ball()
        mesh.apply_scale(size)
        mesh.apply_translation([3 * size, 0, size])
        mesh.export(tmp_path / "ball.stl")
        pictures.append(pixels(render(tmp_path / "ball.stl", tmp_path / "a.png", view="30,20", size=48).path))
    assert np.abs(pictures[0] - pictures[1]).max() < 0.02
    assert np.abs(pictures[2] - pictures[1]).max() < 0.02


def test_a_film_is_one_turn(tmp_path):
    good = write_all(tmp_path)
    made = render(good["cube.obj"], tmp_path / "a.mp4", show="rgb,normal", frames=8, size=32, background="white")
    film = frames(made.path, (32, 64))
    assert film.shape == (8, 32, 64, 3)
    assert film[:, 0, 0].mean() > 0.97  # white, but for the film's own noise
    normals = film[:, :, 32:]
    assert np.abs(normals[0] - normals[4]).mean() > 0.05  # from the front and from behind
    assert made.depth_range is None


def test_a_run_from_its_folder(blob, tmp_path):  # noqa: F811
    made = render(blob.folder, tmp_path / "a.png", show="rgb,depth,normal", view="front", size=32, background="0,1,0")
    rgb, depth, normal = np.split(pixels(made.path), 3, axis=1)
    for picture in (rgb, depth, normal):
        assert picture[0, 0].tolist() == [0, 1, 0]
        assert picture[16, 16].tolist() != [0, 1, 0]
    assert normal[16, 16, 0] > 0.8


def test_without_a_name_nothing_is_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ball().export("ball.stl")
    names = [render("ball.stl", view="front", size=16).path.name for _ in range(2)]
    names += [render("ball.stl", frames=1, size=16).path.name for _ in range(2)]
    assert names == ["front.png", "front-2.png", "orbit.mp4", "orbit-2.mp4"]


def test_a_file_that_is_replaced_is_named(tmp_path, capsys):
    ball().export(tmp_path / "ball.stl")
    out = tmp_path / "a.png"
    lines = []

    class Telling(Progress):
        def __call__(self, message):
            lines.append(message)

    for _ in range(2):
        render(tmp_path / "ball.stl", out, view="front", size=16, progress=Telling(quiet=True))
    assert sum("is there already, and will be replaced" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"show": "rgb,dept"}, "did you mean 'depth'"),
        ({"show": ""}, "--show wants some of"),
        ({"show": "rgb,rgb"}, "each once"),
        ({"path": "orbitt"}, "did you mean 'orbit'"),
        ({"path": "orbit", "view": "front"}, "give one of them"),
        ({"view": "frnt"}, "did you mean 'front'"),
        ({"out": "a.png"}, "one picture is drawn with --view"),
        ({"out": "a.mp4", "view": "front"}, "one view is a PNG"),
        ({"frames": 0}, "--frames is 1 to 3600"),
        ({"size": 4}, "--size is 16 to 2048"),
        ({"elevation": 95}, "--elevation is -89 to 89"),
        ({"background": "whit"}, "did you mean 'white'"),
        ({"background": "0,0,2"}, "red, green and blue are 0 to 1"),
        ({"light": 2}, "--light is 0 to 1"),
        ({"out": "no.txt/a.mp4"}, "cannot be written"),
        ({}, "no such file or folder"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no.txt").write_text("a file")
    with pytest.raises(UserError, match=says):
        render("missing.glb", **arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["no.txt"]


def test_a_renderer_without_normals_says_so():
    ones = torch.ones(1, 4, 4, 1)
    rendering = Rendering(ones.expand(-1, -1, -1, 3), ones, ones)
    assert beside(rendering, ["rgb", "depth"], (0, 0, 0)).shape == (4, 8, 3)
    with pytest.raises(UserError, match="has no normals"):
        beside(rendering, ["normal"], (0, 0, 0))
    assert chosen_parts("depth, rgb") == ["depth", "rgb"]
    assert chosen_background("0.1,0.2,0.3") == (0.1, 0.2, 0.3)


def test_lightness_of_the_map_grows_evenly():
    light = (table() / 255) ** 2.2 @ [0.2126, 0.7152, 0.0722]  # about linear luminance
    lightness = np.cbrt(light)
    assert (np.diff(lightness) > 0).all()
    steps = np.diff(lightness[::16])
    assert steps.max() < 2 * steps.min()
    assert colored(np.array([-1.0, 0.0, 1.0, 2.0, np.nan])).tolist()[0] == (table()[0] / np.float32(255)).tolist()
    assert colored(np.zeros((2, 3))).shape == (2, 3, 3)


def test_time_left_is_said_where_there_is_no_terminal(monkeypatch):
    lines = []

    class Telling(Progress):
        def __call__(self, message):
            lines.append(message)

    times = iter([0.0, 2.0, 8.0, 9.0])
    monkeypatch.setattr("distill3d.run.render.time.monotonic", lambda: next(times))
    assert len(list(counted(iter([np.zeros(1)] * 3), 3, Telling(quiet=True)))) == 3
    assert lines == ["2 of 3, 0:04 left"]


def test_a_splat_file_is_fitted_into_the_picture(tmp_path):
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2000, 3))
    means = 6.0 * directions / np.linalg.norm(directions, axis=-1, keepdims=True) + [20, 0, 5]
    sh = np.zeros((2000, 1, 3), np.float32)
    sh[:, 0] = [1.5, -1.5, -1.5]
    quats = np.tile([1.0, 0, 0, 0], (2000, 1))
    splats = Splats(means.astype(np.float32), quats, np.full((2000, 3), np.log(0.4)), np.full(2000, 4.0), sh)
    write_splats(splats, tmp_path / "ball.ply")
    out = tmp_path / "a.png"
    made = render(tmp_path / "ball.ply", out, view="front", size=48, show="rgb,depth", background="black")
    rgb, depth = np.split(pixels(made.path), 2, axis=1)
    assert rgb[24, 24].tolist() == pytest.approx([0.92, 0.08, 0.08], abs=0.1)
    assert rgb[0, 0].tolist() == [0, 0, 0]
    assert depth[24, 24].sum() > depth[24, 36].sum() > 0
    assert any("fit into the unit ball" in line for line in made.notices)
