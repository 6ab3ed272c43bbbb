"""Every page of `docs/` links to what is there, and names files that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:tests|benchmarks|docs|src|diffusion|guidance|renderers|kernels|toybox)/[\w/.-]+\.\w+)`")


def missing(text: str, page: Path) -> list[str]:
    links = [target for target in LINK.findall(text) if not (page.parent / target).exists()]
    roots = (ROOT, ROOT / "src" / "distill3d", ROOT / "tests")
    return links + [name for name in NAMED.findall(text) if not any((root / name).exists() for root in roots)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_is_there(page):
    assert missing(page.read_text(), page) == []


def test_a_wrong_pointer_is_found():
    text = "[a](nowhere.md) [b](figures.md) ![c](pictures/none.png) `diffusion/none.py` `diffusion/ddim.py`"
    assert missing(text, ROOT / "docs" / "x.md") == ["nowhere.md", "pictures/none.png", "diffusion/none.py"]
