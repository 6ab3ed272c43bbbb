"""Reconstructions of photographs, edited in a region: seen from the photographs' cameras, what the region does not
touch is the same to the bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import distill3d
from distill3d.core.cameras import Cameras
from distill3d.core.errors import UserError
from distill3d.geometry.region import Region
from distill3d.renderers.gaussians import PARAMETERS
from distill3d.run import word_region
from distill3d.run.capture_views import capture_views, square_views
from distill3d.run.edit import edit
from distill3d.run.edit_views import own_views
from distill3d.run.progress import Progress
from distill3d.run.scene import open_scene
from distill3d.systems.cameras import spread
from distill3d.toybox.capture import write_capture

QUIET = {"progress": Progress(quiet=True)}
NOTHING = ["export.formats=[]", "export.turntable_frames=0", "threads=1", "preview_every=0"]
SIZE = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs of a red cube on a table, a NeRF and splats of them, and a mask for one of the photographs."""
    path = tmp_path_factory.mktemp("scans")
    write_capture("a red cube on top of a blue cylinder", path / "data", views=8, size=SIZE, seed=1)
    common = [f"data={path / 'data'}", "hold_out_every=0", *NOTHING]
    ball = ["renderer.space.kind=ball", "renderer.step=0.05", "batch.samples=16384"]
    grid = ["renderer.grid.levels=5", "renderer.grid.log2_table=12", "renderer.grid.finest=48"]
    distill3d.run("reconstruct", out=path / "nerf", overrides=[*common, *ball, *grid, "steps=60"], **QUIET)
    splats = ["renderer.kind=gaussians", "start_points=600", "steps=60"]
    distill3d.run("reconstruct", out=path / "splats", overrides=[*common, *splats], **QUIET)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:24, :22] = 255
    Image.fromarray(mask).save(path / "mask.png")
    return path


def edited(source, out, region, **options) -> Region:
    told = [*NOTHING, "steps=2", "cameras.views=2"]
    before, after = "a red cube on top of a blue cylinder", "a green cube on top of a blue cylinder"
    edit(source, before, after, region=region, out=out, overrides=told, **options, **QUIET)
    return Region.parse(yaml.safe_load((out / "config.yaml").read_text())["region"])


@torch.no_grad()
def pictures(renderer, cameras: Cameras):
    drawn = renderer.eval()(cameras, background=torch.ones(3))
    return torch.cat([drawn.rgb, drawn.alpha, drawn.depth], -1)


def some_of(splats, which):
    """The same renderer with some of its Gaussians alone."""
    part = copy.deepcopy(splats)
    for name in PARAMETERS:
        setattr(part, name, torch.nn.Parameter(getattr(splats, name).detach()[which]))
    return part


@pytest.mark.parametrize("kind", ["sphere", "box", "mask"])
def test_pixels_that_no_gaussian_of_the_region_touches_stay(folder, tmp_path, kind):
    old = open_scene(folder / "splats")
    middle = old.placing.undo(np.array([[0.3, 0.0, 0.3]]))[0]
    half = 0.35 / old.placing.scale
    corners = ",".join(f"{x:.4f}" for x in (*(middle - half), *(middle + half)))
    text = {
        "sphere": f"sphere:{','.join(f'{x:.4f}' for x in middle)},{half:.4f}",
        "box": f"box:{corners}",
        "mask": f"mask={folder / 'mask.png'}",
    }[kind]
    region = edited(folder / "splats", tmp_path / "run", text, **({"region_view": "3"} if kind == "mask" else {}))
    new = open_scene(tmp_path / "run").shape
    inside = region.seen_from(torch.from_numpy(old.placing.inverse.matrix)).contains(old.shape.means.detach())
    assert 5 < int(inside.sum()) < len(inside) - 5
    cameras = capture_views(folder / "splats", lens=False)
    touched = sum(pictures(some_of(scene, inside), cameras)[..., 3] for scene in (old.shape, new)) > 0
    before, after = pictures(old.shape, cameras), pictures(new, cameras)
    assert torch.equal(before[~touched], after[~touched])
    assert int((before[~touched][:, 3] > 0.5).sum()) > 100  # of the object, not of nothing
    assert not torch.equal(before[touched], after[touched])  # negative control


def test_rays_that_miss_where_the_words_are_stay(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(word_region, "TIMES", (0.8,))
    monkeypatch.setattr(word_region, "NOISES", 1)
    region = edited(folder / "nerf", tmp_path / "run", "the cube")
    old, new = open_scene(folder / "nerf"), open_scene(tmp_path / "run").shape
    cameras = capture_views(folder / "nerf", lens=True)[:3]
    origins, directions = cameras.rays()
    region = region.seen_from(torch.from_numpy(old.placing.inverse.matrix))
    meets = region.meets(origins.reshape(-1, 3), directions.reshape(-1, 3)).view(directions.shape[:-1])
    before, after = pictures(old.shape, cameras), pictures(new, cameras)
    assert torch.equal(before[~meets], after[~meets])
    assert int((before[~meets][:, 3] > 0.5).sum()) > 100
    assert not torch.equal(before[meets], after[meets])  # negative control


def test_square_views_see_the_middle_of_a_photograph():
    """A point in the middle third is at the same place of both, in units of the square's side."""
    lens = torch.tensor([[[50.0, 0, 31], [0, 52.0, 18], [0, 0, 1]]])
    cameras = Cameras(Cameras.orbit(0.4, 0.2, 3.0).camera_to_world, lens, 36, 64)
    square = square_views(cameras, [0], 90)
    assert (square.height, square.width) == (90, 90)
    wide, narrow = cameras.rays()[1][0], square.rays()[1][0]
    assert torch.allclose(wide[17, 31], narrow[int(17.5 * 2.5)][int((31.5 - 14) * 2.5)], atol=0.01)
    assert not torch.allclose(wide[17, 2], narrow[43, 43], atol=0.1)  # negative control
    assert spread(3, 8) == [0, 1, 2]


@pytest.mark.parametrize("method", ["pds", "sdedit"])
def test_an_edit_looks_from_where_the_photographs_were_taken(folder, tmp_path, method):
    told = [*NOTHING, "steps=2", "cameras.views=2"]
    told += ["frames=3", "at_once=2", "edits.sampler_steps=2"] * (method == "sdedit")
    sentences = "a red cube on top of a blue cylinder", "a green cube on top of a blue cylinder"
    for name, options in (("own", {"views": "capture"}), ("around", {})):
        edit(folder / "splats", *sentences, method=method, out=tmp_path / name, overrides=told, **options, **QUIET)
    state = load_file(tmp_path / "own" / "checkpoints" / "step-000002" / "tensors.safetensors")
    taken = capture_views(folder / "splats", lens=False).camera_to_world
    assert torch.equal(state["system.own_poses"], taken)
    if method == "sdedit":
        around = load_file(tmp_path / "around" / "checkpoints" / "step-000002" / "tensors.safetensors")
        for kept, own in ((state, True), (around, False)):  # negative control: the others stand elsewhere
            nearest = (kept["system.poses"][:, None] - taken[None]).abs().amax((2, 3)).amin(1)
            assert bool((nearest < 1e-6).all()) == own
    with pytest.raises(UserError, match="was not made from photographs"):
        own_views("capture", tmp_path / "nothing", None, None)


def test_a_capture_can_be_named_and_only_cameras_that_see_the_region_count(folder):
    placing = open_scene(folder / "splats").placing
    by_run = own_views("capture", folder / "splats", placing, None)
    by_name = own_views(str(folder / "data"), folder / "splats", placing, None)
    torch.testing.assert_close(by_run.cameras.camera_to_world, by_name.cameras.camera_to_world)
    assert len(own_views("capture", folder / "splats", placing, Region.parse("sphere:0,0,0,0.3")).cameras) == 8
    with pytest.raises(UserError, match="none of the 8 cameras"):
        own_views("capture", folder / "splats", placing, Region.parse("sphere:0,0,30,0.1"))
    with pytest.raises(UserError, match="no folder of that name"):
        own_views(str(folder / "nowhere"), folder / "splats", placing, None)
