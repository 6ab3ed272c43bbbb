"""`distill3d image`: its verbs and their options. A first word that is no verb is a prompt for `generate`."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any

from distill3d.core.errors import UserError

VERBS = ("generate", "edit", "inpaint", "invert", "control")


def with_verb(words: Sequence[str]) -> list[str]:
    """`image "a cat"` as `image generate "a cat"`.

    Raises:
        UserError: `image genrate "a cat"`, which is no prompt.
    """
    if list(words[:1]) != ["image"] or {*words[1:2]} & {*VERBS, "-h", "--help"}:
        return list(words)
    first, second = [*words[1:3], "-", "-"][:2]
    if not first.startswith("-") and not second.startswith("-") and difflib.get_close_matches(first, VERBS):
        raise UserError(f"unknown verb {first!r}; did you mean {difflib.get_close_matches(first, VERBS)[0]!r}?")
    return ["image", "generate", *words[1:]]


def add_verbs(image: Any, add: Callable[..., Any]) -> None:
    """Puts the verbs under `image`; `add` makes a parser that knows its function."""
    verbs = image.add_subparsers(title="verbs", metavar="VERB", required=True)

    made = _common(add(verbs, "generate", generate, "pictures from a sentence"), 3.0)
    made.add_argument("prompt")
    made.add_argument("--sampler", default="ddim", help="ddim, ddpm, ddpm-large, renoise, heun, dpm++ or flow")
    made.add_argument("--n", type=int, default=1, help="how many pictures")

    changed = _common(add(verbs, "edit", edit, "a picture made to fit a sentence (SDEdit)"), 3.0)
    changed.add_argument("picture")
    changed.add_argument("prompt")
    changed.add_argument("--strength", type=float, default=0.6, help="0 keeps the picture, 1 forgets it")
    changed.add_argument("--mask", default=None, metavar="FILE", help="white where the picture may change")
    changed.add_argument("--repeats", type=int, default=1, help="how often, each time from the last result")
    changed.add_argument("--n", type=int, default=1, help="how many pictures")

    filled = _common(add(verbs, "inpaint", inpaint, "a part of a picture made anew (RePaint)"), 3.0)
    filled.add_argument("picture")
    filled.add_argument("prompt")
    filled.add_argument("--mask", required=True, metavar="FILE", help="white where the picture is made anew")
    filled.add_argument("--jump", type=int, default=5, help="steps that the walk goes back up")
    filled.add_argument(
        "--resample", "--repeats", dest="repeats", type=int, default=5, metavar="K",
        help="how often it comes down; 1 never goes back up",
    )  # fmt: skip
    filled.add_argument("--n", type=int, default=1, help="how many pictures")

    turned = _common(add(verbs, "invert", invert, "the noise of a picture, and back (DDIM inversion)"), 1.0)
    turned.add_argument("picture")
    turned.add_argument("prompt", help="what the picture shows")
    turned.add_argument("--to", default=None, metavar="PROMPT", help="another sentence to follow from the same noise")
    turned.add_argument("--iterations", type=int, default=3, help="of the fixed point in a step; 1 is plain inversion")
    turned.add_argument("--noise", default=None, metavar="FILE", help="a .safetensors file for the noise")

    followed = _common(add(verbs, "control", control, "pictures that follow another one (ControlNet)"), 3.0)
    followed.add_argument("prompt")
    followed.add_argument("--control", required=True, metavar="FOLDER", help="a ControlNet, or a hub id")
    followed.add_argument("--hint", required=True, metavar="FILE", help="depth, edges ... as the ControlNet knows them")
    followed.add_argument("--scale", type=float, default=1.0, help="how strongly it counts")
    followed.add_argument("--n", type=int, default=1, help="how many pictures")


def _common(verb: Any, cfg_scale: float) -> Any:
    verb.add_argument("--view", default=None, help="front, back, left, right, top, or AZIMUTH,ELEVATION in degrees")
    verb.add_argument("--out", default="image.png", metavar="FILE", help="a PNG; several pictures become a grid")
    verb.add_argument("--steps", type=int, default=50, help="of the sampler")
    verb.add_argument("--cfg", type=float, default=cfg_scale, help="guidance scale s (1 is none)")
    verb.add_argument("--negative", default="", metavar="PROMPT", help="what not to show")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--model", default="toybox", help="a prior: toybox, toybox-latent, sd15, a folder ...")
    verb.add_argument("--quiet", action="store_true", help="no progress, only where the result is")
    return verb


def _asked(args: argparse.Namespace, **more: Any) -> Any:
    from distill3d.run.image import Asked

    return Asked(
        args.prompt, args.negative, args.view, getattr(args, "n", 1), args.steps, args.cfg, args.seed, args.model,
        **more,
    )  # fmt: skip


def _progress(args: argparse.Namespace) -> Any:
    """Shows that something goes on while torch is imported, which takes seconds."""
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress, progress.spinner("starting"):
        import distill3d.run.image  # noqa: F401
    return progress


def generate(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image

    print(image.generate(_asked(args), args.out, args.sampler, progress))


def edit(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image_edit

    options = {"strength": args.strength, "mask": args.mask, "repeats": args.repeats}
    print(image_edit.edit(args.picture, _asked(args), args.out, **options, progress=progress))


def inpaint(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image_edit

    options = {"mask": args.mask, "jump": args.jump, "repeats": args.repeats}
    print(image_edit.inpaint(args.picture, _asked(args), args.out, **options, progress=progress))


def invert(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image_invert

    options = {"to": args.to, "iterations": args.iterations, "noise": args.noise}
    made = image_invert.invert(args.picture, _asked(args), args.out, **options, progress=progress)
    print(f"{made.path}  (from its noise and back: {made.psnr:.1f} dB)")


def control(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image_control

    networks = [{"model": args.control, "weight": args.scale}]
    print(image_control.control(args.hint, _asked(args, control=networks), args.out, progress))
