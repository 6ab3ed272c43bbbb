import contextlib
import math

import pytest
import torch
from fit_image import FitImage
from PIL import Image

from distill3d.core.errors import UserError
from distill3d.run import loop
from distill3d.run.config import load
from distill3d.run.folder import RunFolder
from distill3d.run.interrupt import Interrupt
from distill3d.run.loop import make_optimizer, optimise
from distill3d.run.metrics import MetricsLog, read_lines
from distill3d.run.progress import Progress


def take(fit, out, **values):
    resolved = load(fit, prompt="a", **values)
    torch.manual_seed(0)
    system = FitImage(resolved.config, torch.device("cpu"), torch.Generator().manual_seed(0))
    folder = RunFolder.create(resolved.to_yaml(), "fit", "a", out)
    optimizer = make_optimizer(system, resolved.config.optimizer)
    progress = Progress(quiet=True)
    with MetricsLog(folder) as metrics, Interrupt(progress) as interrupt:
        optimise(system, optimizer, 0, folder, metrics, progress, interrupt)
    return system, optimizer, folder


def test_it_learns_and_writes_a_line_every_so_many_steps(fit, tmp_path):
    _, _, folder = take(fit, tmp_path / "run")
    lines = read_lines(folder)
    assert [line["step"] for line in lines] == [*range(0, 40, 4), 39]
    assert lines[-1]["loss/fit"] < 0.3 * lines[0]["loss/fit"]
    assert {"seconds", "lr_scale", "loss/smooth", "error"} <= lines[0].keys()
    assert sorted(p.name for p in folder.previews.iterdir()) == [f"{n:06d}-view.png" for n in (0, 20, 39)]
    assert Image.open(folder.previews / "000020-view.png").size == (8, 8)
    assert sorted(p.name for p in folder.checkpoints.iterdir()) == ["step-000035", "step-000040"]


def test_the_seed_alone_decides(fit, tmp_path):
    one, two = (take(fit, tmp_path / name)[0].renderer.pixels for name in "ab")
    other = take(fit, tmp_path / "c", seed=1)[0].renderer.pixels
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_looking_at_a_run_does_not_change_it(fit, tmp_path):
    often = take(fit, tmp_path / "a", preview_every=1, log_every=1, checkpoint_every=1)[0].renderer.pixels
    never = take(fit, tmp_path / "b", preview_every=0, log_every=1000, checkpoint_every="60s")[0].renderer.pixels
    assert torch.equal(often, never)
    assert not (tmp_path / "b" / "previews").exists()


def test_without_that_guard_it_would(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "untouched_generators", lambda system: contextlib.nullcontext())
    often = take(fit, tmp_path / "a", preview_every=1)[0].renderer.pixels
    never = take(fit, tmp_path / "b", preview_every=0)[0].renderer.pixels
    assert not torch.equal(often, never)


def test_the_learning_rate_follows_the_ramp(fit, tmp_path):
    _, optimizer, _ = take(fit, tmp_path / "a", lr_scale={0: 1.0, 39: 0.25}, **{"renderer.lr": 0.04})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    frozen, _, _ = take(fit, tmp_path / "b", lr_scale=0.0)
    assert frozen.renderer.pixels.abs().max() == 0  # and a rate of zero moves nothing


def test_a_gradient_that_is_not_a_number_names_its_loss(fit, tmp_path):
    with pytest.raises(UserError) as error:
        take(fit, tmp_path / "run", nan_at=16)
    message = str(error.value)
    assert "step 16: the gradient of loss 'smooth' is not finite" in message
    assert "step-000014" in message
    assert "'fit'" not in message
    assert "\n" not in message


def test_a_loss_that_is_not_a_number_names_itself(fit, tmp_path, monkeypatch):
    losses = FitImage.losses

    def with_infinity(self, step):
        return losses(self, step) | ({"odd": torch.tensor(math.inf)} if step == 3 else {})

    monkeypatch.setattr(FitImage, "losses", with_infinity)
    with pytest.raises(UserError, match=r"step 3: loss 'odd' is inf; there is no checkpoint yet"):
        take(fit, tmp_path / "run")


def test_large_finite_gradients_are_finite():
    huge = torch.full((10,), 3e38)
    assert math.isinf(huge.sum())
    assert loop.is_finite(huge)
    assert not loop.is_finite(torch.tensor([1.0, math.nan]))
    assert not loop.is_finite(torch.tensor([math.inf, -math.inf]))


def test_checkpoints_by_the_clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    due = loop.CheckpointClock("30s")
    answers = []
    for now[0] in (10.0, 29.0, 31.0, 40.0, 62.0):
        answers.append(due(1))
    assert answers == [False, False, True, False, True]


def test_a_full_disk_keeps_the_checkpoint_before(fit, tmp_path, monkeypatch):
    import errno

    from distill3d.run import checkpoint

    write = checkpoint.Path.write_bytes

    def full_from_step_20(path, data):
        if "step-000021" in str(path):
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(checkpoint.Path, "write_bytes", full_from_step_20)
    with pytest.raises(UserError, match=r"step-000021 cannot be written .No space left"):
        take(fit, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["step-000007", "step-000014"]
