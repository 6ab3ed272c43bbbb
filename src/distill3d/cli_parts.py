"""`distill3d parts`: its verbs and their options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distill3d.core.errors import UserError

if TYPE_CHECKING:
    from distill3d.run.parts_folder import Written

SHAPE = "a .safetensors that a verb of `parts` wrote, or a mesh: GLB, glTF, OBJ, PLY, STL"
CHOICE = "numbers (0,3), words (leg), or box:x0,y0,z0,x1,y1,z1"
TRIPLE = "X,Y,Z"


def add_verbs(parts: Any, add: Callable[..., Any]) -> None:
    """Puts the verbs under `parts`; `add` makes a parser that knows its function."""
    verbs = parts.add_subparsers(title="verbs", metavar="VERB", required=True)

    made = _sampled(add(verbs, "generate", generate, "shapes from a sentence"), 1)
    made.add_argument("sentence", help='for example "a chair with round arms and wheels"')

    filled = _sampled(add(verbs, "complete", complete, "some parts made anew, the others kept to the bit"), 1)
    filled.add_argument("shape", help=SHAPE)
    filled.add_argument("--parts", required=True, metavar="PARTS", help=f"which are made anew: {CHOICE}")
    filled.add_argument("--sentence", default=None, help="what the whole is to be")
    _tried(filled)

    mixed = _sampled(add(verbs, "mix", mix, "parts of two shapes as one, made to fit"), 1)
    mixed.add_argument("first", help=SHAPE)
    mixed.add_argument("second", help="another")
    mixed.add_argument("--from-a", required=True, metavar="PARTS", help=f"of the first, kept to the bit: {CHOICE}")
    mixed.add_argument("--from-b", required=True, metavar="PARTS", help="of the second, which come to fit")
    mixed.add_argument("--strength", type=float, default=0.15, help="0 keeps the second's parts, 1 forgets them")

    changed = _sampled(add(verbs, "edit", edit, "some parts changed by a sentence"), 1)
    changed.add_argument("shape", help=SHAPE)
    changed.add_argument("sentence", help='for example "the one with gaps in the back"')
    changed.add_argument("--parts", required=True, metavar="PARTS", help=f"which may change: {CHOICE}")
    _tried(changed)

    between = _common(add(verbs, "interpolate", interpolate, "shapes from one to another"))
    between.add_argument("first", help=SHAPE)
    between.add_argument("second", help="another")
    between.add_argument("--n", type=int, default=5, help="how many, both ends included")

    moved = _common(add(verbs, "move", move, "parts shifted, turned, scaled; the shape follows"))
    moved.add_argument("shape", help=SHAPE)
    moved.add_argument("--parts", required=True, metavar="PARTS", help=f"which: {CHOICE}")
    moved.add_argument("--translate", default=None, metavar=TRIPLE, help="world units; write --translate=-0.1,0,0")
    moved.add_argument("--rotate", default=None, metavar="AXIS:DEGREES", help="about their middle, e.g. z:30")
    moved.add_argument("--scale", type=float, default=1.0, help="about their middle")

    shown = _common(add(verbs, "show", show, "the parts of a shape: a table, a picture, a GLB"))
    shown.add_argument("shape", help=SHAPE)


def _common(verb: Any) -> Any:
    verb.add_argument("--out", default=None, metavar="FOLDER", help="a new folder (default: under outputs/parts)")
    verb.add_argument("--resolution", type=int, default=128, help="grid points along a side of the surfaces")
    verb.add_argument("--model", default="toybox", metavar="FOLDER", help="part models (default: the embedded ones)")
    verb.add_argument("--up", choices=("y", "z"), default=None, help="the axis that points up in a mesh file")
    verb.add_argument("--quiet", action="store_true", help="no progress, only where the results are")
    return verb


def _sampled(verb: Any, count: int) -> Any:
    _common(verb)
    verb.add_argument("--n", type=int, default=count, help="how many shapes")
    guidance = "guidance by the sentence: 1 is none and the default of complete, else 3"
    verb.add_argument("--cfg-scale", type=float, default=None, metavar="S", help=guidance)
    verb.add_argument("--steps", type=int, default=100, help="of each of the two phases")
    verb.add_argument("--seed", type=int, default=0)
    return verb


def _tried(verb: Any) -> None:
    verb.add_argument("--tries", type=int, default=4, help="versions, of which the first in one piece is taken")


def generate(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    _said(parts.generate(args.sentence, _asked(args), progress))


def complete(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    _said(parts.complete(args.shape, args.parts, _asked(args), progress, args.sentence))


def mix(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    of_both = (args.from_a, args.from_b)
    _said(parts.mix(args.first, args.second, *of_both, _asked(args), progress, args.strength))


def edit(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    _said(parts.edit(args.shape, args.sentence, args.parts, _asked(args), progress))


def interpolate(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    _said(parts.interpolate(args.first, args.second, _asked(args), progress))


def move(args: argparse.Namespace) -> None:
    shift, turned = translation(args.translate), rotation(args.rotate)
    if args.translate is None and args.rotate is None and args.scale == 1:
        raise UserError("nothing moves: give --translate, --rotate or --scale")
    progress = _progress(args)
    from distill3d.run import parts

    _said(parts.move(args.shape, args.parts, _asked(args), progress, shift, turned, args.scale))


def show(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import parts

    written, lines = parts.show(args.shape, _asked(args), progress)
    print("\n".join(lines))
    _said(written)


def translation(text: str | None) -> tuple[float, float, float]:
    """`x,y,z` in world units.

    Raises:
        UserError: not three finite numbers.
    """
    if text is None:
        return (0.0, 0.0, 0.0)
    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError:
        x = y = z = math.nan
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise UserError(f"--translate {text!r} is not three numbers with commas between them")
    return (x, y, z)


def rotation(text: str | None) -> tuple[str, float]:
    """`axis:degrees`.

    Raises:
        UserError: not x, y or z and a finite number.
    """
    axis, _, number = ("z:0" if text is None else text).partition(":")
    try:
        degrees = float(number)
    except ValueError:
        degrees = math.nan
    if axis not in ("x", "y", "z") or not math.isfinite(degrees):
        raise UserError(f"--rotate {text!r} is not an axis and degrees, such as z:30")
    return axis, degrees


def _asked(args: argparse.Namespace) -> Any:
    from distill3d.run.parts import Asked

    own = {"count": "n", "cfg_scale": "cfg_scale", "steps": "steps", "seed": "seed", "tries": "tries"}
    sampling = {name: getattr(args, option) for name, option in own.items() if hasattr(args, option)}
    return Asked(args.out, args.model, resolution=args.resolution, up=args.up, **sampling)


def _progress(args: argparse.Namespace) -> Any:
    """Shows that something goes on while torch is imported, which takes seconds."""
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress, progress.spinner("starting"):
        import distill3d.run.parts  # noqa: F401
    return progress


def _said(written: Written) -> None:
    print(f"{written.folder}  (shape-N.glb, shape-N.safetensors, sheet.png)")
