"""benchmarks/paper_tables/samples.py: what is kept is not made again, and what it costs is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

TABLES = Path(__file__).resolve().parents[2] / "benchmarks" / "paper_tables"


class Prior(torch.nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))


class Drawing:
    """Draws a picture that says which toy it shows, and keeps which were asked for; may stop like a person would."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.stop_at = stop_at

    def __call__(self, rows: slice) -> torch.Tensor:
        if rows.start == self.stop_at:
            raise KeyboardInterrupt
        self.asked += range(rows.start, rows.stop)
        return torch.arange(rows.start, rows.stop).view(-1, 1, 1, 1).expand(-1, 2, 2, 4).float()


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TABLES.parent))
    monkeypatch.syspath_prepend(str(TABLES))
    import samples

    return samples


def test_a_stopped_run_goes_on_where_it_was(samples, tmp_path, capsys):
    prior, size = Prior(1.0), samples.BATCH
    stopped, resumed = Drawing(stop_at=size), Drawing()
    with pytest.raises(KeyboardInterrupt):
        list(samples.made([samples.Cell("a", 2 * size, 3, stopped)], prior, tmp_path))
    [(name, pictures)] = samples.made([samples.Cell("a", 2 * size, 3, resumed)], prior, tmp_path)
    assert stopped.asked == [*range(size)]
    assert resumed.asked == [*range(size, 2 * size)]
    assert name == "a"
    assert pictures[:, 0, 0, 0].tolist() == [*range(2 * size)]
    assert f"cost: {6 * size} calls of the network for one picture, {3 * size} of them" in capsys.readouterr().out


def test_other_settings_and_no_folder_make_all_anew(samples, tmp_path):
    prior = Prior(1.0)
    for keep, settings, new in ((tmp_path, "x", 5), (tmp_path, "x", 0), (tmp_path, "y", 5), (None, "x", 5)):
        drawing = Drawing()
        list(samples.made([samples.Cell("a", 5, 1, drawing, settings)], prior, keep))
        assert len(drawing.asked) == new


def test_pictures_of_another_prior_are_refused(samples, tmp_path):
    list(samples.made([samples.Cell("a", 1, 1, Drawing())], Prior(1.0), tmp_path))
    with pytest.raises(samples.CannotRun, match="another prior"):
        list(samples.made([samples.Cell("a", 1, 1, Drawing())], Prior(2.0), tmp_path))


def test_the_first_toys_of_a_longer_list_are_those_of_a_shorter(samples):
    import toys

    long, short = toys.Toys.draw(70, 3), toys.Toys.draw(40, 3)
    assert long.first(40).texts == short.texts
    assert torch.equal(long.first(40).azimuth, short.azimuth)
    assert long.texts[40:] != short.texts[:30]
    assert toys.Toys.draw(40, 4).texts != short.texts


def test_a_distance_is_least_for_the_same_kind_and_its_difference_has_an_error(samples):
    import toys

    drawn = toys.Toys.draw(12, 3)
    ground = toys.Ground(drawn, 3)
    real = drawn.pictures()
    noisy = (real + 0.3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    more, error = ground.difference(noisy, real)
    assert more == pytest.approx(ground.distance(noisy) - ground.distance(real))
    assert more > 2 * error > 0
    assert ground.difference(real, real) == (0, 0)
