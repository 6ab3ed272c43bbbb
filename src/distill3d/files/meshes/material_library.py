"""Wavefront MTL: the colour and the picture of each material (Alias|Wavefront, "The Advanced Visualizer", 1995)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distill3d.files.meshes.limits import BadMesh
from distill3d.files.meshes.parts import Material, linear

# How many words each option of `map_Kd` takes; -s, -o and -t take one to three numbers.
OPTIONS = {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-mm": 2, "-texres": 1, "-bm": 1, "-boost": 1}
OPTIONS |= {"-imfchan": 1, "-type": 1}
VECTORS = ("-s", "-o", "-t")


@dataclass
class MtlEntry:
    """One material as its file says it: `color` as pictures store colours, `picture` a file's name."""

    color: tuple[float, float, float] | None = None
    picture: str | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False

    def material(self, picture: np.ndarray | None) -> Material:
        """With a picture the colour is left out: many programs write 0 or 0.8 there and do not mean it."""
        wrap = "clamp" if self.clamp else "repeat"
        tint = np.ones(3) if picture is not None or self.color is None else linear(np.array(self.color))
        return Material(tint, picture, (wrap, wrap))  # type: ignore[arg-type]


def parse_mtl(text: str, name: str) -> dict[str, MtlEntry]:
    """The materials of a library by name.

    Statements about anything but `Kd` and `map_Kd` do not change what is read.

    Raises:
        BadMesh: a colour that is no number, or a statement before the first material.
    """
    entries: dict[str, MtlEntry] = {}
    entry: MtlEntry | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        key = words[0].lower() if words else ""
        if key == "newmtl":
            entry = entries.setdefault(" ".join(words[1:]), MtlEntry())
        elif key in ("kd", "map_kd"):
            where = f"material file {name}, line {number}"
            if entry is None:
                raise BadMesh(f"{where}: {words[0]} stands before the first newmtl")
            if key == "kd":
                entry.color = _color(words[1:], where)
            else:
                _picture(line.strip()[len(words[0]) :].strip(), entry, where)
    return entries


def _color(words: list[str], where: str) -> tuple[float, float, float] | None:
    if words[:1] in (["spectral"], ["xyz"]):  # other ways to say a colour, which nobody writes
        return None
    try:
        values = [float(word) for word in words[:3]]
    except ValueError:
        values = []
    if len(values) == 1:  # "if only r is given, g and b are equal to r"
        values *= 3
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise BadMesh(f"{where}: Kd wants three numbers")
    return values[0], values[1], values[2]


def _picture(rest: str, entry: MtlEntry, where: str) -> None:
    """What stands after `map_Kd`: options, then a file's name, which may hold spaces."""
    words = rest.split()
    while words and (words[0].lower() in OPTIONS or words[0].lower() in VECTORS):
        option = words.pop(0).lower()
        if option in VECTORS:
            numbers: list[float] = []
            while words and len(numbers) < 3 and _is_number(words[0]):
                numbers.append(float(words.pop(0)))
            if not numbers:
                raise BadMesh(f"{where}: {option} wants numbers")
            pair = (numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] if option == "-s" else 0.0)
            if option == "-s":
                entry.scale = pair
            elif option == "-o":
                entry.offset = pair
        else:
            if option == "-clamp":
                entry.clamp = words[:1] == ["on"]
            del words[: OPTIONS[option]]
    if not words:
        raise BadMesh(f"{where}: map_Kd names no picture")
    entry.picture = rest.split(None, len(rest.split()) - len(words))[-1].strip()


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
