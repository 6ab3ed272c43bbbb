"""Several scenes that share a guidance: one is what a single scene is, several differ, and a run of them goes on."""

from __future__ import annotations

import imageio_ffmpeg
import numpy as np
import pytest
import torch

import distill3d
from distill3d.core.errors import UserError
from distill3d.run import checkpoint
from distill3d.run.api import build
from distill3d.run.config import load, resolve
from distill3d.run.folder import RunFolder
from distill3d.run.loop import make_optimizer, scale_learning_rates
from distill3d.run.progress import Progress
from distill3d.run.turntable import BACKDROP, in_rows
from tests.diffusion.folders import embedded_folder

CPU = torch.device("cpu")
SMALL = {
    "renderer": {
        "kind": "gaussians", "start": {"count": 150, "radius": 0.6, "opacity": 0.8}, "lr_means": {0: 0.01, 2: 0.001},
        "lr_scales": 0.02, "lr_opacity": 0.05, "lr_color": 0.03, "lr_quats": 0.01,
    },
    "cameras": {"views": 1, "size": 16},
    "steps": 4,
    "preview_every": 2,
    "export": {"resolution": 24, "texture_size": 64, "formats": ["glb"], "turntable_frames": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return embedded_folder(tmp_path_factory.mktemp("prior") / "prior", size=32)


def resolved(folder, **values):
    return load("prolificdreamer", **{"prompt": "a red mushroom", "prior.model": str(folder), **SMALL, **values})


def single(folder):
    """The same config of the system that knows no particles."""
    values = {key: value for key, value in resolved(folder).plain.items() if key not in ("particles", "system")}
    return resolve({"system": "text_to_3d", **values}, "single")


def stepped(system, steps=3):
    """The optimizer after some steps of the system."""
    optimizer = make_optimizer(system, system.config.optimizer)
    for step in range(steps):
        scale_learning_rates(optimizer, 1.0)
        system.advance(step, optimizer)
        losses = system.losses(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    return optimizer


def checkpoint_of(config, path):
    system = build(config, CPU)
    made = checkpoint.save(RunFolder(path), 3, system, stepped(system))
    return {file.name: file.read_bytes() for file in sorted(made.iterdir())}


def test_one_particle_is_a_single_scene_to_the_byte(folder, tmp_path):
    alone = checkpoint_of(single(folder), tmp_path / "alone")
    assert checkpoint_of(resolved(folder, particles=1), tmp_path / "one") == alone
    assert checkpoint_of(resolved(folder, particles=2), tmp_path / "two") != alone  # the comparison can fail


def test_every_particle_learns_and_they_differ(folder):
    system = build(resolved(folder, particles=3), CPU)
    scenes = [system.renderer, *system.others]
    before = [scene.means.detach().clone() for scene in scenes]
    stepped(system, 1)
    after = [scene.means.detach() for scene in scenes]
    assert all((a - b).abs().max() > 0 for a, b in zip(after, before, strict=True))
    assert not torch.equal(after[0], after[1])
    assert not torch.equal(after[1], after[2])
    assert {"vsd", "particle-2/vsd", "particle-3/vsd"} == set(system.losses(1))
    assert "particle-2/vsd/grad_norm" in system.metrics()
    assert system.preview(1)["views"].shape == (3 * 128, 4 * 128, 3)


def test_the_lora_learns_from_all_of_them(folder):
    """Its gradient is the sum of what each particle's views teach it, so that any of them left out changes it."""
    system = build(resolved(folder, particles=2), CPU)
    lora = [p for p in system.guidance[0].adapters.parameters() if p.requires_grad]

    def lesson(names):
        system.generator.manual_seed(5)
        losses = system.losses(0)
        grads = torch.autograd.grad(sum(losses[name] for name in names), lora, allow_unused=True)
        return torch.cat([g.flatten() for g in grads if g is not None])

    both, first, second = (lesson(names) for names in (("vsd", "particle-2/vsd"), ("vsd",), ("particle-2/vsd",)))
    assert torch.allclose(both, first + second, rtol=1e-3, atol=1e-4 * float(both.abs().max()))
    assert second.abs().max() > 0
    assert not torch.allclose(both, first, rtol=1e-3, atol=1e-4 * float(both.abs().max()))


def test_each_particle_lowers_the_rate_of_its_own_gaussians(folder):
    """Groups of all particles lie in one optimizer: a ramp acts once on each, not on all of them for each."""
    system = build(resolved(folder, particles=3), CPU)
    optimizer = stepped(system)  # the third step is the ramp's end, a tenth of its start
    rates = {g["name"]: g["lr"] for g in optimizer.param_groups if g["name"].endswith("means")}
    assert set(rates) == {"means", "particle-2/means", "particle-3/means"}
    assert list(rates.values()) == pytest.approx([0.001] * 3)


def test_a_run_leaves_every_particle_and_goes_on_with_the_same_bytes(folder, tmp_path):
    config = tmp_path / "two.yaml"
    config.write_text(resolved(folder, particles=2).to_yaml())
    made = distill3d.run(config, out=tmp_path / "whole", progress=Progress(quiet=True))
    for name in ("asset.glb", "views.png", "particle-2/asset.glb", "particle-2/turntable.mp4", "particles.mp4"):
        assert (tmp_path / "whole" / name).is_file(), name
    assert (tmp_path / "whole" / "asset.glb").read_bytes() != made.paths["particle-2/glb"].read_bytes()
    assert next(imageio_ffmpeg.read_frames(str(made.paths["particles"])))["size"] == (320, 160)
    assert "All particles" in (tmp_path / "whole" / "report.html").read_text()

    bare = {"export": {"formats": [], "turntable_frames": 0}, "progress": Progress(quiet=True)}
    distill3d.run(config, steps=2, out=tmp_path / "halves", **bare)
    distill3d.run(config, steps=2, seed=1, preview_every=0, out=tmp_path / "other", **bare)
    assert tensors(tmp_path / "halves", 2) != tensors(tmp_path / "other", 2)  # the comparison can fail
    distill3d.run(resume=tmp_path / "halves", steps=4, progress=Progress(quiet=True))
    assert tensors(tmp_path / "halves", 4) == tensors(tmp_path / "whole", 4)


def tensors(folder, step):
    return (folder / "checkpoints" / f"step-{step:06d}" / "tensors.safetensors").read_bytes()


def test_rows_of_pictures_are_filled_up_with_the_backdrop():
    pictures = [np.full((2, 3, 3), i, np.uint8) for i in range(3)]
    rows = in_rows(pictures, 2)
    assert rows.shape == (4, 6, 3)
    assert rows[0, 0, 0] == 0
    assert rows[0, 3, 0] == 1
    assert rows[2, 0, 0] == 2
    assert np.allclose(rows[2:, 3:] / 255, BACKDROP, atol=0.01)
    assert in_rows(pictures, 4).shape == (2, 9, 3)


def test_no_particles_are_refused(folder):
    with pytest.raises(UserError, match="particles"):
        resolved(folder, particles=0)
