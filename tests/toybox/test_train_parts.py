"""Training part Gaussians and SALAD, tiny: they learn, resume to the same bytes, and write folders that open."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from distill3d.cli import main
from distill3d.parts.model import load_network, load_part_model
from distill3d.parts.naming import PartNamer
from distill3d.parts.network import PartNetwork, PartSizes
from distill3d.toybox import train_parts, train_salad
from distill3d.toybox.shapes.captions import vocabulary
from distill3d.toybox.shapes.part_sets import read_sets
from distill3d.toybox.shapes.part_words import NAMES
from distill3d.toybox.train_parts import PartSettings, PartTrainer
from distill3d.toybox.train_salad import SaladSettings, SaladTrainer
from distill3d.toybox.training_state import FILE

SIZES = PartSizes(parts=6, latent=32, intrinsics=8, width=32, depth=1, heads=2, pair=16, nearest=3)
SETTINGS = PartSettings(shapes=48, batch=4, points=64, inside=64, warmup=2, gaussians_first=4)
SALAD = SaladSettings(shapes=24, examples=160, batch=16, warmup=2)


def _bytes(folder):
    return (folder / FILE).read_bytes()


def test_the_mixture_comes_to_fit_shapes_that_it_has_not_seen():
    trainer = PartTrainer(SIZES, replace(SETTINGS, shapes=4000, gaussians_first=1000, batch=8))
    losses = [float(trainer.advance()["mixture"]) for _ in range(60)]
    still = PartTrainer(SIZES, replace(SETTINGS, shapes=4000, gaussians_first=1000, batch=8, lr=1e-9))
    first = sum(float(still.advance()["mixture"]) for _ in range(10))
    still.step = 50  # which draws the shapes that the other learnt from last
    last = sum(float(still.advance()["mixture"]) for _ in range(10))
    assert sum(losses[-10:]) < sum(losses[:10]) - 2.0
    assert abs(last - first) < 1.0  # control: the shapes themselves do not get easier


def test_occupancy_and_moves_are_learned_after_the_gaussians():
    trainer = PartTrainer(SIZES, SETTINGS)
    first = trainer.advance()
    assert set(first) == {"mixture", "latent"}
    untouched = trainer.network.occupancy.hidden.weight.clone()
    for _ in range(4):
        last = trainer.advance()
    assert {"occupancy", "moves", "right"} <= set(last)
    assert not torch.equal(trainer.network.occupancy.hidden.weight, untouched)


def test_parts_resume_to_the_bytes_of_never_stopping(tmp_path):
    whole = PartTrainer(SIZES, SETTINGS)
    train_parts.train_parts(whole, tmp_path / "whole", 60.0)
    half = PartTrainer(SIZES, SETTINGS)
    for _ in range(5):
        half.advance()
    half.save(tmp_path / "half")
    again = PartTrainer(SIZES, SETTINGS)
    again.load(tmp_path / "half")
    train_parts.train_parts(again, tmp_path / "half", 60.0)
    whole.seconds = again.seconds = 0.0
    whole.save(tmp_path / "whole"), again.save(tmp_path / "half")
    assert _bytes(tmp_path / "whole") == _bytes(tmp_path / "half")
    other = PartTrainer(SIZES, replace(SETTINGS, seed=1))  # control: another seed gives other bytes
    train_parts.train_parts(other, tmp_path / "other", 60.0)
    assert _bytes(tmp_path / "whole") != _bytes(tmp_path / "other")


@pytest.fixture(scope="module")
def sets():
    torch.manual_seed(0)
    return read_sets(PartNetwork(SIZES), PartNamer(NAMES, SIZES.intrinsics), SALAD.seed, 24)


@pytest.mark.parametrize("phase", train_salad.PHASES)
def test_every_phase_learns_its_set(sets, phase):
    trainer = SaladTrainer(phase, sets, replace(SALAD, examples=100_000))
    losses = [float(trainer.advance().mean()) for _ in range(60)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert 0.8 < losses[0] < 1.2  # of noise, predicted by nothing


def test_salad_resumes_to_the_bytes_of_never_stopping(sets, tmp_path):
    whole = SaladTrainer("extrinsics", sets, SALAD)
    train_salad.train_salad(whole, tmp_path / "whole", 60.0)
    half = SaladTrainer("extrinsics", sets, SALAD)
    for _ in range(4):
        half.advance()
    half.save(tmp_path / "half")
    again = SaladTrainer("extrinsics", sets, SALAD)
    again.load(tmp_path / "half")
    train_salad.train_salad(again, tmp_path / "half", 60.0)
    whole.seconds = again.seconds = 0.0
    whole.save(tmp_path / "whole"), again.save(tmp_path / "half")
    assert _bytes(tmp_path / "whole") == _bytes(tmp_path / "half")


def test_the_commands_make_folders_that_open(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_parts, "PartSizes", lambda: SIZES)
    parts, model = tmp_path / "parts", tmp_path / "parts" / "model"
    few = ["--shapes", "8", "--batch", "2", "--gaussians-first", "2"]
    assert main(["toybox", "train-parts", "--out", str(parts), *few]) == 0
    assert load_network(model).sizes == SIZES
    nameless = ["toybox", "train-salad", "extrinsics", "--parts", str(model), "--shapes", "4", "--examples", "16"]
    assert main([*nameless, "--batch", "8", "--out", str(tmp_path / "none")]) == 2
    assert "train-part-names first" in capsys.readouterr().err
    assert main(["toybox", "train-part-names", "--parts", str(model), "--out", str(model), "--steps", "1"]) == 0
    for phase in ("extrinsics", "intrinsics"):
        more = ["--out", str(tmp_path / phase), "--shapes", "4", "--examples", "16", "--batch", "8"]
        command = ["toybox", "train-salad", phase, "--parts", str(model), "--into", str(model)]
        assert main([*command, *more]) == 0
    more = ["--out", str(tmp_path / "more"), "--shapes", "4", "--examples", "8", "--batch", "8", "--start", str(model)]
    assert main([*command, *more]) == 0
    opened = load_part_model(model)
    assert opened.generator().vocabulary == vocabulary()
    assert opened.namer is not None
    assert opened.namer.names == NAMES
    assert main(["toybox", "train-parts", "--out", str(parts), "--shapes", "1"]) == 2
    assert "--shapes is at least a batch" in capsys.readouterr().err
