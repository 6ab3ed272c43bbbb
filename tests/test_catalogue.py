"""`docs/catalogue.md` names modules, checks and configs: all of them are there."""

import re
from pathlib import Path

import pytest

from distill3d.run.catalogue import config_paths

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "docs" / "catalogue.md"


def named(text):
    """Paths of modules and checks, and names of configs, that a catalogue says are there."""
    words = re.findall(r"`([^`\n]+)`", text)
    paths = {w for w in words if re.fullmatch(r"(\w+/)+(\w+\.py)?", w) and w != "scheduler/" and "src/" not in w}
    edits = {f"edit-{w.split()[-1]}" for w in words if w.startswith("edit SOURCE") and "--method" in w}
    return paths - {"tests/", "benchmarks/"}, edits | {w.split()[1] for w in words if w.startswith("run ")}


def exists(path):
    return any((ROOT / folder / path).exists() for folder in ("src/distill3d", "tests", "."))


def test_what_the_catalogue_names_is_there():
    paths, configs = named(CATALOGUE.read_text())
    assert len(paths) > 60
    assert [path for path in sorted(paths) if not exists(path)] == []
    assert configs <= set(config_paths())
    assert set(config_paths()) <= configs  # every packaged config has its line


@pytest.mark.parametrize("wrong", ["`diffusion/nothing.py`", "`guidance/test_nothing.py`"])
def test_a_wrong_name_would_be_found(wrong):
    paths, _ = named(wrong)
    assert not any(exists(path) for path in paths)
    assert paths
