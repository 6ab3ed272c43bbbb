"""What a person calls the parts of shapes, and which parts an attribute is about."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = (
    *("arm", "back", "body", "engine", "fin", "foot", "leg", "pedestal", "seat"),
    *("shade", "shelf", "tail", "top", "wheel", "wing"),
)
_SMALLER = {
    "arm post": "arm",
    "back post": "back",
    "back rail": "back",
    "slat": "back",
    "spoke": "wheel",
    "panel": "leg",
    "stem": "pedestal",
    "base": "foot",
}
# Kind to attribute to the words of its parts; a table's top is what all else of it stands under.
ABOUT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chair": {"arms": ("arm",), "legs": ("leg", "pedestal", "foot", "wheel"), "back": ("back",)},
    "table": {"legs": ("leg", "pedestal", "foot"), "shelf": ("shelf",)},
    "lamp": {"shade": ("shade",), "base": ("foot", "pedestal")},
    "plane": {"wings": ("wing",), "engines": ("engine",), "tail": ("tail", "fin")},
}


def word_of(name: str) -> str:
    """One of `NAMES` for the name of a toybox part: a slat is "back"."""
    return _SMALLER.get(name, name)
