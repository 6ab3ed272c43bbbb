import json

import pytest
import torch
from fit_image import FitImage

from distill3d.core.errors import UserError
from distill3d.run import checkpoint
from distill3d.run.config import load
from distill3d.run.folder import RunFolder
from distill3d.run.loop import make_optimizer


def make(fit, tmp_path, **values):
    resolved = load(fit, prompt="a", **values)
    system = FitImage(resolved.config, torch.device("cpu"), torch.Generator().manual_seed(0))
    folder = RunFolder.create(resolved.to_yaml(), "fit", "a", tmp_path / "run")
    return system, make_optimizer(system, resolved.config.optimizer), folder


def take_steps(system, optimizer, first, last):
    for step in range(first, last):
        system.advance(step, optimizer)
        optimizer.zero_grad()
        sum(system.losses(step).values()).backward()
        optimizer.step()


def state_bytes(system, optimizer, folder, step):
    path = checkpoint.save(folder, step, system, optimizer, keep=99)
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_restored_state_goes_on_with_the_same_bits(fit, tmp_path, kind):
    one, optimizer, folder = make(fit, tmp_path, **{"optimizer.kind": kind, "optimizer.weight_decay": 0.01})
    take_steps(one, optimizer, 0, 5)
    path = checkpoint.save(folder, 5, one, optimizer)
    take_steps(one, optimizer, 5, 9)
    never_stopped = state_bytes(one, optimizer, folder, 9)

    torch.manual_seed(77)  # torch's own generator is restored too
    two, _, other = make(fit, tmp_path, **{"optimizer.kind": kind, "optimizer.weight_decay": 0.01})
    done, state = checkpoint.restore(path, two)
    optimizer = make_optimizer(two, two.config.optimizer)
    optimizer.load_state_dict(state)
    take_steps(two, optimizer, done, 9)
    assert done == 5
    assert state_bytes(two, optimizer, other, 9) == never_stopped


@pytest.mark.parametrize("part", ["extra", "optimizer", "generators"])
def test_every_part_of_the_state_is_needed(fit, tmp_path, part, monkeypatch):
    """The negative control of the test above: without any one part the bits differ."""
    one, optimizer, folder = make(fit, tmp_path)
    take_steps(one, optimizer, 0, 5)
    path = checkpoint.save(folder, 5, one, optimizer)
    take_steps(one, optimizer, 5, 9)

    two, fresh, _ = make(fit, tmp_path)
    if part == "extra":
        monkeypatch.setattr(two, "load_extra_state", lambda state: None)
    if part == "generators":
        monkeypatch.setattr(checkpoint, "set_generator_states", lambda system, states: None)
    _, state = checkpoint.restore(path, two)
    if part != "optimizer":
        fresh.load_state_dict(state)
    take_steps(two, fresh, 5, 9)
    assert not torch.equal(two.renderer.pixels, one.renderer.pixels)


def test_a_checkpoint_that_is_not_whole_is_never_read(fit, tmp_path):
    system, optimizer, folder = make(fit, tmp_path)
    take_steps(system, optimizer, 0, 1)
    good = checkpoint.save(folder, 1, system, optimizer, keep=99)
    for step, damage in enumerate((truncate, flip, drop_tensors, drop_state, break_json, change_step), 2):
        path = checkpoint.save(folder, step, system, optimizer, keep=99)
        assert checkpoint.latest(folder) == path
        damage(path)
        assert checkpoint.latest(folder) == good, damage.__name__
        assert not path.exists()


def truncate(path):
    data = (path / "tensors.safetensors").read_bytes()
    (path / "tensors.safetensors").write_bytes(data[:-8])


def flip(path):
    data = bytearray((path / "tensors.safetensors").read_bytes())
    data[-3] ^= 1
    (path / "tensors.safetensors").write_bytes(data)


def drop_tensors(path):
    (path / "tensors.safetensors").unlink()


def drop_state(path):
    (path / "state.json").unlink()


def break_json(path):
    (path / "state.json").write_text((path / "state.json").read_text()[:-20])


def change_step(path):
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**state, "step": 3000}))


def test_only_the_newest_are_kept(fit, tmp_path):
    system, optimizer, folder = make(fit, tmp_path)
    for step in (5, 10, 1_000_000, 1_000_005):
        checkpoint.save(folder, step, system, optimizer, keep=2)
    assert sorted(p.name for p in folder.checkpoints.iterdir()) == ["step-1000000", "step-1000005"]
    assert checkpoint.latest(folder).name == "step-1000005"


def test_a_checkpoint_of_another_system_is_refused(fit, tmp_path):
    system, optimizer, folder = make(fit, tmp_path)
    path = checkpoint.save(folder, 1, system, optimizer)
    other, _, _ = make(fit, tmp_path, **{"renderer.size": 9})
    with pytest.raises(UserError, match=r"does not fit") as error:
        checkpoint.restore(path, other)
    assert "\n" not in str(error.value)


def test_trees_survive_flattening():
    tree = {"a": (1, 2.5, None, True), 3: [torch.arange(3), {"x": "y"}], "inf": float("inf")}
    tensors = {}
    flat = json.loads(json.dumps(checkpoint.flatten(tree, "t", tensors)))
    again = checkpoint.unflatten(flat, tensors)
    assert again["a"] == (1, 2.5, None, True)
    assert again["inf"] == float("inf")
    assert torch.equal(again[3][0], torch.arange(3))
    assert again[3][1] == {"x": "y"}
    with pytest.raises(TypeError, match=r"set at t.s"):
        checkpoint.flatten({"s": {1}}, "t", {})


def test_weights_of_a_prior_are_not_saved(fit, tmp_path):
    from distill3d.diffusion.prior import Prior

    class Frozen(Prior):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1000))

    system, optimizer, folder = make(fit, tmp_path)
    system.prior = Frozen()
    assert "prior.weight" in system.state_dict()
    assert "prior.weight" not in system.own_state()
    done, _ = checkpoint.restore(checkpoint.save(folder, 1, system, optimizer), system)
    assert done == 1
