"""Everything that a config can name, found by importing the rooms that register it."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.resources import files
from pathlib import Path

from distill3d.core.component import Component
from distill3d.diffusion.aliases import EMBEDDED

FAMILIES = {
    "renderers": "distill3d.renderers.base:Renderer",
    "guidances": "distill3d.guidance.base:Guidance",
    "priors": "distill3d.diffusion.prior:Prior",
    "systems": "distill3d.systems.base:System",
}


@functools.cache
def register() -> dict[str, type[Component]]:
    """Imports every module that lies in renderers, guidance, diffusion or systems, so that their kinds are known; rooms
    within them, such as diffusion/networks, register nothing and wait.

    Returns:
        The families by plural name: renderers, guidances, priors, systems.
    """
    families = {}
    for name, where in FAMILIES.items():
        module, _, family = where.partition(":")
        package = module.rpartition(".")[0]
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, package + "."):
            importlib.import_module(found.name)
        families[name] = getattr(importlib.import_module(module), family)
    return families


def config_paths() -> dict[str, Path]:
    """The packaged configs by name."""
    return {path.stem: path for path in sorted(Path(str(files("distill3d"))).glob("configs/*.yaml"))}


def summary(path: Path) -> str:
    """The comment on the first line of a config, or the heading of a card."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def listing() -> dict[str, dict[str, str]]:
    """One line on each config, renderer, guidance, prior and system, and on each embedded model, by group and name."""
    embedded = Path(str(files("distill3d"))) / "toybox"
    found = {"configs": {name: summary(path) for name, path in config_paths().items()}}
    for group, family in register().items():
        members = sorted(family.members.items())
        found[group] = {kind: (inspect.getdoc(member) or "").partition("\n")[0] for kind, member in members}
    found["embedded models"] = {name: summary(embedded / folder / "README.md") for name, folder in EMBEDDED.items()}
    return found
