"""How far an edit may change the shape: `distill3d edit --geometry free|gentle|frozen`."""

from __future__ import annotations

from typing import Any, Literal, get_args

from distill3d.core.component import nearest
from distill3d.core.errors import UserError
from distill3d.renderers import NerfRenderer, Renderer

Geometry = Literal["free", "gentle", "frozen"]
CHOICES: tuple[str, ...] = get_args(Geometry)
GENTLE = 0.1  # of the learning rates of shape
GEOMETRY = {  # parameter groups that hold shape, by renderer; a NeRF's do where its shape is apart
    "gaussians": ("means", "quats", "log_scales", "logits"),
    "mesh": ("vertices",),
    "tetrahedra": ("distance", "offset"),
    "nerf": ("shape_grid", "shape_network"),
}


def check_geometry(geometry: str | None, colors_only: bool) -> str:
    """The choice, where `colors_only` is another word for frozen.

    Raises:
        UserError: no such choice, or two that differ.
    """
    chosen = geometry or ("frozen" if colors_only else "free")
    if chosen not in CHOICES:
        raise UserError(f"unknown --geometry {chosen!r}{nearest(chosen, CHOICES)}")
    if colors_only and chosen != "frozen":
        raise UserError(f"--colors-only is --geometry frozen, and not {chosen}")
    return chosen


def geometry_values(renderer: Renderer, section: dict[str, Any], geometry: str) -> dict[str, Any]:
    """The values of an edit's config with which its shape is as free as that.

    gentle multiplies the learning rates of shape by `GENTLE`; frozen lets nothing of it move. In both Gaussians are
    neither added nor removed, and a NeRF's density gets a field of its own (`renderers.nerf_apart`).

    Args:
        section: of the config, which builds the renderer.
    Raises:
        UserError: a kind whose shape cannot be told from its colour; or a NeRF that is held to a region as well.
    """
    kind, section = renderer.kind, dict(section)
    if kind not in GEOMETRY and geometry == "free":
        return {"renderer": section}
    if kind not in GEOMETRY:
        raise UserError(f"the shape and the colour of a {kind} are the same parameters; export it, and edit the mesh")
    if isinstance(renderer, NerfRenderer):
        shared = renderer.config.shape == "shared"
        if section.get("region") is not None:
            if geometry == "free" and shared:
                return {"renderer": section}
            raise UserError("a NeRF holds its shape or a region, not both; export it first, and edit the mesh")
        section["shape"] = {"free": "shared" if shared else "apart", "gentle": "apart", "frozen": "still"}[geometry]
        held = {"rates": dict.fromkeys(GEOMETRY[kind], GENTLE)} if geometry == "gentle" else {}
        return {"renderer": section, **held}
    if geometry == "free":
        return {"renderer": section}
    if isinstance(section.get("density"), dict):
        section["density"] = {**section["density"], "kind": "none"}
    if geometry == "gentle":
        return {"renderer": section, "rates": dict.fromkeys(GEOMETRY[kind], GENTLE)}
    return {"renderer": section, "moves": colors_of(renderer)}


def colors_of(renderer: Renderer) -> list[str]:
    """The parameter groups of a renderer that hold no shape."""
    return [str(g["name"]) for g in renderer.parameter_groups() if g["name"] not in GEOMETRY[renderer.kind]]
