"""Regions by words: what else a sentence could say, where the embedded prior finds a colour, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial import cKDTree

from distill3d import cli
from distill3d.core.errors import UserError
from distill3d.diffusion.prior import DiffusionPrior
from distill3d.files.ply import write_ply
from distill3d.geometry.region import Region
from distill3d.renderers import MeshRenderer
from distill3d.run import word_region
from distill3d.run.edit import edit
from distill3d.run.progress import Progress
from distill3d.run.word_contrast import bare, contrasts
from distill3d.toybox.part_mesh import part_mesh
from distill3d.toybox.world import toy_from_prompt

TOY = toy_from_prompt("a red mushroom", np.random.default_rng(3))
QUICK = ["threads=1", "cameras.views=2", "export.turntable_frames=0", "preview_every=0", "steps=2", "export.formats=[]"]


@pytest.fixture(scope="module")
def mushroom(tmp_path_factory):
    """A mushroom of the toybox with a red cap, in a file."""
    mesh, _ = part_mesh(TOY)
    path = tmp_path_factory.mktemp("toys") / "mushroom.ply"
    write_ply(mesh, path)
    return path


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(word_region, "TIMES", (0.8,))
    monkeypatch.setattr(word_region, "NOISES", 2)
    monkeypatch.setattr(word_region, "RINGS", ((4, 0.25, 0.3), (2, 0.95, 0.0)))


@pytest.mark.parametrize(
    ("sentence", "words", "same"),
    [
        ("a red mushroom", "red", "a {} mushroom"),
        ("a red mushroom", "the Mushroom", "a {} mushroom"),
        ("a red hat on top of a blue cube", "cube", "a red hat on top of a {} cube"),
        ("a red hat, on a blue cube", "a red hat", "a {} hat, on a blue cube"),
    ],
)
def test_a_colour_becomes_others(sentence, words, same):
    found = contrasts(sentence, words)
    assert len(set(found)) == 3
    before, _, after = same.partition("{}")
    named = [text.removeprefix(before).removesuffix(after) for text in found]
    assert all(name.isalpha() and name not in sentence for name in named)


def test_other_words_are_left_out():
    assert contrasts("a dog with a hat", "the hat") == ["a dog with"]
    assert contrasts("a striped mug", "striped") == ["mug"]
    assert bare(" The  red hat ") == "red hat"
    for words, says in (("scarf", "does not say"), ("a dog with a hat", "nothing else"), ("the", "does not say")):
        with pytest.raises(UserError, match=says):
            contrasts("a dog with a hat", words)


def test_the_embedded_prior_finds_the_red_part_by_difference_alone(mushroom, quickly):
    """Its attention, the control, does not tell cap from stem as well (see docs/editing.md)."""
    prior = DiffusionPrior.build({"kind": "diffusion"}, "prior", device=torch.device("cpu"))
    assert word_region.usual_way(prior) == "difference"
    mesh, labels = part_mesh(TOY)
    mesh = mesh.in_unit_ball()
    renderer = MeshRenderer.from_mesh(mesh)
    overlap = {}
    for by in word_region.BY:
        found = word_region.word_scores(renderer, prior, "a red mushroom", "red", by, word_region.all_around(), 0.06)
        nearest = cKDTree(mesh.vertices).query((found.cells.numpy() + 0.5) * 0.06)[1]
        cap = torch.from_numpy(labels[nearest] == 1)
        overlap[by] = float((found.chosen & cap).sum() / (found.chosen | cap).sum())
    assert overlap["difference"] > 0.8
    assert overlap["attention"] < overlap["difference"] - 0.1


def test_an_edit_is_held_to_where_the_words_are(mushroom, quickly, tmp_path):
    told: list[str] = []

    class Listening(Progress):
        def __call__(self, line: str) -> None:
            told.append(line)

    edit(mushroom, "a red mushroom", "a blue mushroom", region="the red", up="z", out=tmp_path / "run",
         overrides=QUICK, progress=Listening(quiet=True))  # fmt: skip
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    region = Region.parse(config["region"])
    mesh, labels = part_mesh(TOY)
    held = region.contains(torch.from_numpy(mesh.vertices)).numpy()
    assert held[labels == 1].mean() > 0.7 > 0.3 > held[labels == 0].mean()  # the cap, and not the stem
    assert (tmp_path / "run" / "region.png").is_file()
    assert any(line.startswith("region 'the red' by difference holds") for line in told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--region", "the hat"], "does not say this"),
        (["--region", "the"], "does not say this"),
        (["--region", "the red", "--region-by", "tea"], "unknown way 'tea'"),
        (["--region", "sphere:0,0,0,0.3", "--region-by", "attention"], "belongs to a region in words"),
        (["--region", "the red", "--region-view", "front"], "belongs to --region mask=FILE"),
        (["--region", "the red", "prior.model=nowhere-at-all"], "nowhere-at-all"),
    ],
)
def test_what_the_user_can_put_right_is_one_line(mushroom, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["edit", str(mushroom), "a red mushroom", "a blue mushroom", "--up", "z", *words]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert says in err
    assert not list(tmp_path.iterdir())


def test_words_that_the_prior_never_met_and_instructions_are_refused(mushroom, tmp_path, capsys):
    words = ["edit", str(mushroom), "a mushroom with a zyxwvq", "a blue mushroom", "--up", "z"]
    assert cli.main([*words, "--region", "zyxwvq", "--out", str(tmp_path / "run")]) == 2
    assert "the prior does not know 'zyxwvq'" in capsys.readouterr().err
    words = ["edit", str(mushroom), "make it blue", "--method", "in2n", "--region", "blue", "--up", "z"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "cannot be located" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
