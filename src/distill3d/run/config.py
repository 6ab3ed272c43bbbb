"""From a config's name and a few overrides to a checked configuration, before any work is done."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from distill3d.core.component import Component, nearest, validated
from distill3d.core.errors import UserError
from distill3d.run import catalogue
from distill3d.run.strict_yaml import parse_yaml, read_yaml
from distill3d.systems.base import System, SystemConfig

REQUIRED = "???"  # the value of a key that must be given on the command line


@dataclass(frozen=True)
class ResolvedConfig:
    """A configuration in which every key is known, typed and filled in.

    Args:
        name: what the run is called after: the config's name, or the stem of its file.
        system: the class to build.
        config: its checked `Config`; sections that name components are dicts with every default filled in.
    """

    name: str
    system: type[System]
    config: SystemConfig
    kind: str

    @property
    def plain(self) -> dict[str, Any]:
        """Dicts, lists, strings and numbers; loading them again gives an equal configuration."""
        return {"system": self.kind, **plain(self.config)}

    def to_yaml(self) -> str:
        return f"# {self.name}\n" + yaml.safe_dump(self.plain, sort_keys=False, allow_unicode=True, width=100)


def load(name_or_path: str | Path, overrides: list[str] | tuple[str, ...] = (), **values: Any) -> ResolvedConfig:
    """The configuration called `name_or_path`, changed by overrides, checked to the last key.

    Args:
        name_or_path: a packaged config's name, or a path to a YAML file (anything with a slash or .yaml).
        overrides: "dotted.key=VALUE", the value in YAML; items of lists by index, as in `guidance.0.cfg_scale=20`.
            An override of a section's `kind` also drops the settings of the former kind, and brings in what the file
            says under `variants` for the new one: `{"renderer.kind=gaussians": {...}}`, merged into the file's tree.
        values: the same as Python objects; dotted keys go in by `**{"renderer.kind": "nerf"}`.
    Raises:
        UserError: anything unknown, misspelt, missing or of the wrong type.
    """
    catalogue.register()
    path = _find(name_or_path)
    tree = read_yaml(path)
    kind = dict(_split(item) for item in overrides).get("system", values.get("system", tree.get("system")))
    if kind is None:
        raise UserError(f"{path}: needs a system, one of {', '.join(sorted(System.members))}")
    system = System.find(kind)
    changes = [(key, _value(system, key, text)) for key, text in map(_split, overrides)] + list(values.items())
    variants = _variants(tree.pop("variants", {}), path)
    kinds = [change for change in changes if change[0].endswith(".kind")]  # first: they drop only what the file said
    for key, value in kinds:
        _override(tree, key, value)
    for key, value in dict(kinds).items():
        tree = _merged(tree, variants.get(f"{key}={value}", {}))
    for key, value in changes:
        _override(tree, key, value)
    return resolve(tree, path.stem)


def resolve(tree: dict[str, Any], name: str) -> ResolvedConfig:
    """Checks a plain configuration and fills in the defaults of the system and of every section."""
    system = System.find(tree["system"])
    values = {key: value for key, value in tree.items() if key != "system"}
    for key in values:  # before what is missing: it may be missing because it is misspelt
        if key not in system.Config.model_fields:
            raise UserError(f"unknown key {key}{nearest(key, system.Config.model_fields)}")
    missing = _unfilled(values)
    if missing:
        raise UserError(f'{missing}: must be given, for example {missing}="..."')
    for key, family in system.sections.items():
        field = system.Config.model_fields[key]
        if key in values or not field.is_required():
            section = values.get(key, field.get_default(call_default_factory=True))
            values[key] = _resolve_section(section, family, key)
    config = validated(system.Config, values, "")
    return ResolvedConfig(name, system, config, tree["system"])


def plain(value: Any) -> Any:
    """A checked model, or what is in one, as dicts, lists, strings and numbers."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(text)
        if not path.is_file():
            raise UserError(f"no config file {text}")
        return path
    known = catalogue.config_paths()
    if text not in known:
        raise UserError(f"unknown config {text!r}{nearest(text, known)}")
    return known[text]


def _split(override: str) -> tuple[str, str]:
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise UserError(f"override {override!r}: write key=value, for example steps=800 or guidance.0.cfg_scale=20")
    return key, text


def _value(system: type[System], key: str, text: str) -> Any:
    field = system.Config.model_fields.get(key)
    if field is not None and (field.annotation is str or str in get_args(field.annotation)):
        words_only = set(get_args(field.annotation) or (str,)) <= {str, type(None)}
        if words_only and text not in ("null", "~"):  # a prompt is words, whatever YAML would make of them
            return text
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"override {key}={text}: the value is not YAML ({error})") from error


def _override(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    node: Any = tree
    for depth, part in enumerate(parents):
        where = ".".join(parents[: depth + 1])
        if isinstance(node, dict):
            node = node.setdefault(part, {})
        elif isinstance(node, list):
            node = node[_index(node, part, where)]
        if not isinstance(node, (dict, list)):
            raise UserError(f"{dotted}: {where} is {node!r}, which has no keys")
    if isinstance(node, list):
        node[_index(node, last, dotted)] = value
    else:
        if last == "kind" and node.get("kind") not in (None, value):
            node.clear()
        node[last] = value


def _variants(found: Any, path: Path) -> dict[str, dict[str, Any]]:
    """What a config file changes with the kind of a section."""
    if not isinstance(found, dict) or not all(isinstance(tree, dict) for tree in found.values()):
        raise UserError(f'{path}: variants are sections by what calls for them, such as "renderer.kind=gaussians"')
    for key in found:
        if not re.fullmatch(r"\w+(\.\w+)*\.kind=\w+", key):
            raise UserError(f"{path}: variants: {key!r} is not a kind, such as renderer.kind=gaussians")
    return found


def _merged(tree: Any, changes: Any) -> Any:
    """`changes` over `tree`, key by key; anything but two sections is replaced, a ramp over steps as a whole."""
    if not (isinstance(tree, dict) and isinstance(changes, dict) and all(isinstance(key, str) for key in changes)):
        return changes
    return {**tree, **{key: _merged(tree.get(key), value) for key, value in changes.items()}}


def _index(items: list[Any], part: str, where: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise UserError(f"{where}: an index of this list is 0 to {len(items) - 1}")
    return int(part)


def _resolve_section(section: Any, family: type[Component] | dict[str, Any], where: str) -> Any:
    if isinstance(section, list):
        return [_resolve_section(item, family, f"{where}.{i}") for i, item in enumerate(section)]
    if isinstance(family, dict):  # a section that is no component, but holds some
        inside = section if isinstance(section, dict) else {}
        found = {key: _resolve_section(inside[key], family[key], f"{where}.{key}") for key in family if key in inside}
        return {**section, **found} if found else section
    _, config = family.parse(section, where)
    return {"kind": section["kind"], **plain(config)}


def _unfilled(tree: Any, where: str = "") -> str | None:
    """The dotted path of the first value that is still `???`."""
    if tree == REQUIRED:
        return where
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return next((found for key, value in items if (found := _unfilled(value, f"{where}.{key}".strip(".")))), None)
