import json
import re

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.files.pictures import write_png
from distill3d.run import report as report_module
from distill3d.run.curves import curve_svg, thin, trend
from distill3d.run.report import write_report

PROMPT = "a <b>red</b> mushroom & friends"
ASSET = {
    "level": 3.0,
    "rule": "density 3, because",
    "floaters": 2,
    "cavities": 0,
    "faces_before": 50000,
    "faces": 40000,
}
ASSET |= {"seconds": {"density": 1.5, "baking": 2.0}, "color_difference": 0.0123, "silhouette_iou": 0.987, "paths": {}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(f"# dreamfusion\nsystem: text_to_3d\nprompt: {json.dumps(PROMPT)}\nseed: 3\n")
    lines = [{"step": k, "seconds": k / 10, "loss/sds": 1 / (k + 1), "constant": 1.0} for k in range(0, 500, 5)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "asset.json").write_text(json.dumps(ASSET))
    for name in ("views.png", "poster.png", *(f"previews/{k:06d}-views.png" for k in range(0, 500, 25))):
        write_png(np.random.default_rng(0).random((8, 8, 3)), tmp_path / name)
    (tmp_path / "turntable.mp4").write_bytes(b"film" * 100)
    return tmp_path


def test_page_holds_everything_and_needs_nothing(folder):
    page = write_report(folder).read_text()
    assert "a &lt;b&gt;red&lt;/b&gt; mushroom &amp; friends" in page
    assert "<b>red</b>" not in page
    assert "data:video/mp4;base64," in page
    assert page.count("data:image/png;base64,") == 1 + report_module.PREVIEWS  # views and previews
    assert "step 475, views" in page
    for number in ("40,000", "1.2 %", "98.7 %", "3.5", "density 3, because"):
        assert number in page
    assert "loss/sds" in page
    assert "<b>constant</b>" not in page
    assert "<script" not in page
    assert not re.search(r"https?://|src='(?!data:)", page)


def test_large_film_is_linked(folder, monkeypatch):
    monkeypatch.setattr(report_module, "LARGEST_FILM", 100)
    page = write_report(folder).read_text()
    assert "src='turntable.mp4'" in page
    assert "data:video" not in page


def test_bare_folder_still_gives_a_page(tmp_path):
    page = write_report(tmp_path).read_text()
    assert "Curves" not in page
    assert "<h1>" in page


def test_report_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.html" / "x").touch()
    with pytest.raises(UserError, match=r"report\.html cannot be written"):
        write_report(tmp_path)


def test_curve_falls_on_the_page_where_values_fall():
    def heights(values):
        svg = curve_svg("loss", np.arange(len(values)), np.array(values, float))
        points = re.search(r'class="raw" points="([^"]*)"', svg).group(1).split()
        return [float(p.split(",")[1]) for p in points]

    assert heights([3, 2, 1]) == sorted(heights([3, 2, 1]))  # y grows downwards
    assert heights([1, 2, 3]) == sorted(heights([1, 2, 3]), reverse=True)
    assert curve_svg("loss", np.arange(2), np.array([np.nan, np.nan])) == ""
    assert "circle" in curve_svg("loss", np.arange(1), np.ones(1))


def test_thinning_keeps_means_and_leaves_short_curves_alone():
    steps, values = thin(np.arange(1000.0), np.arange(1000.0), 100)
    assert len(steps) == 100
    assert np.allclose(steps, values)
    assert values.mean() == pytest.approx(499.5)
    few = np.array([1.0, np.nan, 3.0])
    assert thin(np.arange(3.0), few)[1].tolist() == [1.0, 3.0]
    assert trend(np.array([0.0, 3.0, 6.0]), 1).tolist() == [1.5, 3.0, 4.5]
