"""A picture to 3D: the picture's own view is fitted, and the other views are judged by a prior that knows it."""

import numpy as np
import pytest
import torch
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.run.config import load
from tests.diffusion.zero123_folders import zero123_folder

SMALL = {
    "renderer": {"kind": "nerf", "grid": {"levels": 4, "finest": 32}, "occupancy": {"resolution": 16}},
    "cameras": {"views": 2, "size": 16, "fov": [20.0, 20.0], "reach": [1.05, 1.05]},
    "reference.size": 24,
    "steps": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return zero123_folder(tmp_path_factory.mktemp("prior") / "zero123")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    v, u = np.mgrid[:60, :80]
    picture = np.full((60, 80, 3), 255, np.uint8)
    picture[np.hypot(v - 25, u - 50) < 18] = (20, 60, 220)
    path = tmp_path_factory.mktemp("photo") / "ball.png"
    Image.fromarray(picture).save(path)
    return path


def build(folder, photo, **values):
    told = {"image": str(photo), "prior": {"kind": "zero123", "model": str(folder)}}
    resolved = load("zero123", **{**told, **SMALL, **values})
    return resolved.system(resolved.config, torch.device("cpu"), torch.Generator().manual_seed(0))


def test_guidance_and_picture_move_the_field_and_leave_the_prior_alone(folder, photo):
    system = build(folder, photo)
    system.advance(0, None)
    losses = system.losses(0)
    assert set(losses) == {"zero123", "reference_rgb", "reference_mask"}
    for name in losses:
        (gradient,) = torch.autograd.grad(losses[name], system.renderer.field.table, retain_graph=True)
        assert gradient.abs().sum() > 0, name
    assert all(p.grad is None for p in system.prior.parameters())
    assert not any("unet" in name for name in system.state_dict())


def test_the_picture_alone_paints_its_own_view(folder, photo):
    system = build(folder, photo)
    optimizer = torch.optim.Adam(system.parameter_groups(), betas=(0.9, 0.99))
    errors = []
    for step in range(60):
        system.advance(step, optimizer)
        found = system.reference_losses(step)
        errors.append(found["reference_rgb"].item())
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
    assert errors[-1] < 0.2 * errors[0]
    with torch.no_grad():
        rendering = system.renderer(system.camera, background=torch.zeros(3))
    middle = (rendering.extras["foreground"] / rendering.alpha.clamp(min=1e-3))[0, 12, 12]
    assert middle[2] > 0.6 > middle[0]  # blue, as the ball is


def test_the_first_preview_shows_what_was_cut_out(folder, photo):
    system = build(folder, photo)
    picture = system.preview(0)["picture"]
    assert picture.shape == (24, 24, 3)
    assert abs(picture[12, 12].astype(int) - [20, 60, 220]).max() <= 2
    assert abs(picture[0, 0].astype(int) - 128).max() <= 2
    assert "ball.png" in system.notices()[0]


def test_another_prior_is_refused(photo):
    with pytest.raises(UserError, match="needs a prior that turns pictures"):
        build(None, photo, prior={"kind": "diffusion", "model": "toybox"})


def test_what_is_no_picture_is_named(folder, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(UserError, match=r"a\.png"):
        build(folder, tmp_path / "a.png")
    with pytest.raises(UserError, match="no such file"):
        build(folder, tmp_path / "b.png")


def test_the_elevation_is_said_or_read_off_the_picture(folder, photo, monkeypatch):
    seen = []

    def read(pictures):
        seen.append(pictures)
        return torch.tensor([0.5])

    monkeypatch.setattr("distill3d.systems.image_to_3d.read_elevation", read)
    said = build(folder, photo, elevation=30)
    assert seen == []
    assert float(torch.rad2deg(said.camera.elevation)) == pytest.approx(30, abs=1e-3)
    assert len(said.notices()) == 1
    own = build(folder, photo, elevation="auto")
    assert torch.equal(seen[0][0], own.picture)
    assert float(torch.rad2deg(own.camera.elevation)) == pytest.approx(28.5, abs=1e-3)  # 0.5 radians, to half a degree
    assert "28 degrees" in own.notices()[1] or "29 degrees" in own.notices()[1]


@pytest.mark.parametrize("wrong", ["high", 90, -91])
def test_no_such_elevation(folder, photo, wrong):
    with pytest.raises(UserError, match="elevation"):
        build(folder, photo, elevation=wrong)
