"""The tables of guidances: every cell is a config that is there, and the numbers say what the runs say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from distill3d.core.errors import UserError
from distill3d.run.config import load
from distill3d.toybox.verdict import asked

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import guidance_matrix

    return guidance_matrix


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import guidance_scale

    return guidance_scale


def test_every_cell_is_a_config(matrix, tmp_path):
    path = tmp_path / "cell.yaml"
    for guidance in matrix.ROWS:
        for renderer in matrix.RENDERERS:
            path.write_text(yaml.safe_dump(matrix.config_of(guidance, renderer), sort_keys=False))
            config = load(path, prompt=matrix.PROMPTS[0]).config
            assert config.renderer["kind"] == renderer
    wrong = matrix.config_of("sds", "nerf")
    wrong["guidance"][0]["cfg_scal"] = 1
    path.write_text(yaml.safe_dump(wrong, sort_keys=False))
    with pytest.raises(UserError, match="cfg_scal"):
        load(path, prompt="a red cube")


def test_the_judge_knows_every_prompt(matrix):
    assert len({(asked(prompt).color, asked(prompt).category) for prompt in matrix.PROMPTS}) == 6


def test_the_worst_cell_is_the_figure(matrix):
    good = matrix.Run(
        "sds", "nerf", "a red mushroom", right=True, told="red mushroom", iou=0.9, seconds=40, peak_mib=800
    )
    runs = [replace(good, guidance=name) for name in matrix.MUST]
    assert all(figure.verdict == "reached" for figure in matrix.figures(runs))
    runs[1] = replace(runs[1], right=False)
    assert {figure.name: figure.value for figure in matrix.figures(runs)}["guidance_matrix_worst_nerf"] == 0
    runs[2] = replace(runs[2], problem="empty")
    assert matrix.figures(runs)[0].verdict == "short"
    shown = matrix.table(runs, ["sds", "csd"], ["nerf", "mesh"]).splitlines()
    assert "1/1" in shown[1]
    assert shown[1].endswith("-")  # nothing was run with a mesh
    assert "0/1" in shown[2]


def test_a_finished_run_is_not_made_again(matrix, tmp_path, monkeypatch):
    made = []

    def alone(config, prompt, folder):
        made.append(prompt)
        return 1.0, 2.0, "it broke"

    monkeypatch.setattr(matrix, "run_alone", alone)
    folder = matrix.folder_of("sds", "mesh", "a red mushroom", tmp_path)
    for _ in range(2):
        assert matrix.made("sds", "mesh", "a red mushroom", folder, None).problem == "it broke"
    assert len(made) == 1
    monkeypatch.setitem(matrix.STEPS, "mesh", 7)  # another config
    matrix.made("sds", "mesh", "a red mushroom", folder, None)
    assert len(made) == 2


def test_saturation_is_of_the_object_alone(scale):
    rgb = torch.tensor([[[[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.0, 1.0, 0.0]]]])
    alpha = torch.tensor([[[[1.0], [1.0], [0.0]]]])
    mean, strong = scale.saturation_of(rgb, alpha)
    assert mean == pytest.approx(0.5)
    assert strong == pytest.approx(0.5)
    assert math.isnan(scale.saturation_of(rgb, 0 * alpha)[0])


def test_diversity_is_between_seeds(scale):
    def cell(seed, *features):
        return scale.Cell("sds", 1.0, "a red cube", seed, 1.0, 0.5, 0.1, 0.3, 1.0, [list(features)])

    assert scale.diversity([cell(0, 1.0, 0.0), cell(1, 1.0, 0.0)]) == pytest.approx(0, abs=1e-6)
    assert scale.diversity([cell(0, 1.0, 0.0), cell(1, 0.0, 1.0)]) == pytest.approx(1)
    assert math.isnan(scale.diversity([cell(0, 1.0, 0.0)]))


def test_the_plot_leaves_out_what_one_seed_cannot_say(scale, tmp_path):
    def drawn(apart):
        rows = {
            (method, s): {"judged": 0.1 * s, "saturation": 0.5 + 0.1 * k, "diversity": apart * s}
            for k, method in enumerate(("sds", "vsd"))
            for s in (1.0, 2.0)
        }
        scale.write_plot(tmp_path / "scales.svg", rows)
        return (tmp_path / "scales.svg").read_text()

    alone, several = drawn(math.nan), drawn(0.3)
    assert "nan" not in alone
    assert "diversity" not in alone
    assert alone.count("<polyline") == 4
    assert "diversity" in several  # control
    assert several.count("<polyline") == 6
