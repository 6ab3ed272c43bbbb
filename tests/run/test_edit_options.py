"""`distill3d edit --geometry`, `--strength`, and the film of before and after."""

from __future__ import annotations

import json
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill3d import cli
from distill3d.core.errors import UserError
from distill3d.renderers import Renderer
from distill3d.run.config import load
from distill3d.run.edit import edit, section_of
from distill3d.run.edit_geometry import GENTLE, check_geometry, geometry_values
from distill3d.run.edit_strength import weakened
from distill3d.run.progress import Progress
from distill3d.run.splats import write_scene
from distill3d.run.turntable import write_before_after

QUICK = ["threads=1", "cameras.views=1", "export.formats=[]", "export.turntable_frames=0", "preview_every=0"]


def splat_scene(seed=0, count=300):
    section = {"kind": "gaussians", "start": {"count": count, "radius": 0.5, "opacity": 0.5}}
    return Renderer.build(section, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def splats(tmp_path_factory):
    path = tmp_path_factory.mktemp("splats") / "ball.ply"
    write_scene(splat_scene(), path)
    return path


def moved(source, out, steps=1, **more):
    """How far the middles and the colours of the Gaussians went, on average."""
    overrides = [*QUICK, f"steps={steps}"]
    edit(source, "a red sphere", "a blue sphere", out=out, overrides=overrides, progress=Progress(quiet=True), **more)
    newest = sorted((Path(out) / "checkpoints").iterdir())[-1]
    after = load_file(newest / "tensors.safetensors")
    pairs = ((after[f"system.renderer.{name}"], after[f"system.source.{name}"]) for name in ("means", "sh_constant"))
    return [float((a - b).abs().mean()) for a, b in pairs]


def test_the_shape_is_as_free_as_it_was_asked_to_be(splats, tmp_path):
    far = {g: moved(splats, tmp_path / g, geometry=g) for g in ("free", "gentle", "frozen")}
    assert far["free"][0] > 0
    assert far["gentle"][0] == pytest.approx(GENTLE * far["free"][0], rel=0.05)  # one step of Adam
    assert far["frozen"][0] == 0
    assert min(colors for _, colors in far.values()) == pytest.approx(far["free"][1], rel=1e-3)


@pytest.mark.parametrize("kind", ["nerf", "gaussians", "mesh", "tetrahedra"])
def test_every_kind_of_scene_has_the_three(kind):
    renderer = Renderer.build({"kind": kind}, generator=torch.Generator().manual_seed(0))
    every = {g: geometry_values(renderer, section_of(renderer), g) for g in ("free", "gentle", "frozen")}
    assert set(every["free"]) == {"renderer"}
    section = every["gentle"]["renderer"]
    groups = {g["name"] for g in Renderer.build(section).parameter_groups()}
    assert set(every["gentle"]["rates"]) <= groups
    frozen = {g["name"] for g in Renderer.build(every["frozen"]["renderer"]).parameter_groups()}
    left = set(every["frozen"].get("moves", frozen))
    assert left
    assert left.isdisjoint(every["gentle"]["rates"])


def test_a_nerf_that_was_held_is_let_go_again():
    still = Renderer.build({"kind": "nerf", "shape": "still"})
    assert geometry_values(still, section_of(still), "free")["renderer"]["shape"] == "apart"
    with pytest.raises(UserError, match="its shape or a region"):
        geometry_values(still, {**section_of(still), "region": "sphere:0,0,0,1"}, "free")


def values(method):
    sentences = {"source": "x", "source_prompt": "a red sphere", "prompt": "a blue sphere"}
    return load(f"edit-{method}", **sentences)


@pytest.mark.parametrize("method", ["pds", "dds", "sds"])
def test_strength_is_how_high_the_noise_goes(method):
    whole, half = values(method), weakened(values(method), 0.5)
    assert weakened(whole, 1.0).plain == whole.plain
    (low, high), (less, least) = (c.plain["guidance"][0]["timesteps"] for c in (whole, half))
    assert (less, least) == (min(low, 0.5 * high), 0.5 * high)
    if method == "pds":
        assert half.plain["guidance"][0]["identity"] == 2 * whole.plain["guidance"][0]["identity"]
    for wrong in (0, 1.5, -1):
        with pytest.raises(UserError, match="--strength"):
            weakened(whole, wrong)


def test_a_weak_edit_keeps_more(splats, tmp_path):
    kept = []
    for strength in (0.25, 1.0):
        moved(splats, tmp_path / str(strength), steps=6, strength=strength, geometry="frozen")
        kept.append(json.loads((tmp_path / str(strength) / "findings.json").read_text())["psnr_to_source"])
    assert kept[0] > kept[1]


def test_before_and_after_turn_side_by_side(tmp_path):
    small, other = splat_scene(), splat_scene(1, 50)
    path = write_before_after(small.train(), other, tmp_path / "film.mp4", frames=3, size=32)
    frames = imageio_ffmpeg.read_frames(str(path))
    assert next(frames)["size"] == (64, 32)
    pictures = [np.frombuffer(frame, np.uint8).reshape(32, 64, 3).astype(float) for frame in frames]
    assert len(pictures) == 3
    assert np.abs(pictures[0][:, :32] - pictures[0][:, 32:]).mean() > 2
    assert small.training  # as it was


def test_an_edit_leaves_its_film_and_a_run_has_none(splats, tmp_path):
    overrides = [*QUICK[:3], "export.turntable_frames=2", "preview_every=0", "steps=1"]
    made = edit(
        splats, "a red sphere", "a red sphere", out=tmp_path / "a", overrides=overrides, progress=Progress(quiet=True)
    )
    assert made.paths["before_after"] == tmp_path / "a" / "before-after.mp4"
    assert made.paths["before_after"].is_file()
    assert "Before the edit, and after it." in (tmp_path / "a" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--geometry", "gentel"], "did you mean 'gentle'"),
        (["--geometry", "free", "--colors-only"], "--colors-only is --geometry frozen"),
        (["--strength", "0"], "--strength is above 0"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(splats, tmp_path, capsys, options, words):
    command = ["edit", str(splats), "a red sphere", "a blue sphere", "--out", str(tmp_path / "a"), *options]
    assert cli.main(command) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told
    assert list(tmp_path.iterdir()) == []
    assert check_geometry(None, True) == "frozen"
