"""`distill3d image`: its verbs and their options. A first word that is no verb is a prompt for `generate`."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any

from distill3d.core.errors import UserError

INSTRUCTION_SCALE = 1.5  # s_T of `edit --instruct`; the published 7.5 is for Stable Diffusion
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
    made.add_argument(
        "--sampler", default="ddim", help="ddim, ddpm, ddpm-large, ddpm-learned, renoise, heun, dpm++, flow"
    )
    made.add_argument("--n", type=int, default=1, help="how many pictures")
    made.add_argument(
        "--classifier-scale", type=float, default=0.0, metavar="S",
        help="guidance by the toybox's classifier, beside --cfg; embedded prior only (0 is none)",
    )  # fmt: skip

    does = "a picture made to fit a sentence (SDEdit, DDS, PDS), or changed as told"
    changed = _common(add(verbs, "edit", edit, does), None, None)
    changed.set_defaults(model=None)  # another one with --instruct, see `_settled`
    changed.add_argument("picture")
    changed.add_argument("prompt", nargs="?", help="what it should show; not with --instruct")
    changed.add_argument(
        "--method", default="sdedit", help="sdedit; or dds, pds (distillation from one sentence to another), sds"
    )
    changed.add_argument("--from", dest="before", default=None, metavar="PROMPT", help="what the picture shows now")
    changed.add_argument(
        "--instruct", default=None, metavar="TEXT", help='what to change, such as "make it blue" (InstructPix2Pix)'
    )
    changed.add_argument(
        "--image-scale", type=float, default=None, help="how closely --instruct keeps to the picture (default: 1)"
    )
    changed.add_argument(
        "--strength", type=float, default=None,
        help="how far up the schedule it is noised: 0 keeps it, 1 forgets it (default 0.6 of sdedit, else 1)",
    )  # fmt: skip
    changed.add_argument("--mask", default=None, metavar="FILE", help="white where the picture may change")
    changed.add_argument("--repeats", type=int, default=1, help="of sdedit: how often, each time from the last result")
    changed.add_argument("--n", type=int, default=1, help="how many pictures")
    changed.add_argument("--sheet", default=None, metavar="FILE", help="also a PNG of before and after, side by side")

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
    followed.add_argument(
        "--control", required=True, metavar="NAME", help="toybox-depth, toybox-edge, a folder, or a hub id"
    )
    followed.add_argument("--hint", required=True, metavar="FILE", help="depth, edges ... as the ControlNet knows them")
    followed.add_argument("--scale", type=float, default=1.0, help="how strongly it counts")
    followed.add_argument("--mask", default=None, metavar="FILE", help="white where the hint counts")
    followed.add_argument("--canny", action="store_true", help="the hint is a picture; its edges are shown")
    followed.add_argument("--n", type=int, default=1, help="how many pictures")


def _common(verb: Any, cfg_scale: float | None, steps: int | None = 50) -> Any:
    verb.add_argument("--view", default=None, help="front, back, left, right, top, or AZIMUTH,ELEVATION in degrees")
    verb.add_argument("--out", default="image.png", metavar="FILE", help="a PNG; several pictures become a grid")
    descends = "" if steps else " (default 50), or of gradient descent (100)"
    suits = "" if cfg_scale else "; by default what suits method and prior"
    verb.add_argument("--steps", type=int, default=steps, help=f"of the sampler{descends}")
    verb.add_argument("--cfg", type=float, default=cfg_scale, help=f"guidance scale s (1 is none{suits})")
    verb.add_argument("--negative", default="", metavar="PROMPT", help="what not to show")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--model", default="toybox", help="a prior: toybox, toybox-latent, sd15, a folder ...")
    verb.add_argument("--quiet", action="store_true", help="no progress, only where the result is")
    return verb


def _asked(args: argparse.Namespace, steps: int = 50, **more: Any) -> Any:
    from distill3d.run.image import Asked

    steps, scale = steps if args.steps is None else args.steps, 3.0 if args.cfg is None else args.cfg
    return Asked(
        args.prompt, args.negative, args.view, getattr(args, "n", 1), steps, scale, args.seed, args.model, **more
    )


def _progress(args: argparse.Namespace) -> Any:
    """Shows that something goes on while torch is imported, which takes seconds."""
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress, progress.spinner("starting"):
        import distill3d.run.image  # noqa: F401
    return progress


def generate(args: argparse.Namespace) -> None:
    progress = _progress(args)
    from distill3d.run import image

    print(image.generate(_asked(args), args.out, args.sampler, progress, args.classifier_scale))


def edit(args: argparse.Namespace) -> None:
    _settled(args)
    progress = _progress(args)
    from distill3d.run import image_distillation, image_edit

    options: dict[str, Any] = {"mask": args.mask, "sheet": args.sheet, "progress": progress}
    if args.strength is not None:
        options["strength"] = args.strength
    if args.instruct is not None:
        if args.image_scale is not None:
            options["image_scale"] = args.image_scale
        print(image_edit.instruct(args.picture, _asked(args), args.out, **options))
    elif args.method == "sdedit":
        print(image_edit.edit(args.picture, _asked(args), args.out, **options, repeats=args.repeats))
    else:
        options |= {"method": args.method, "cfg_scale": args.cfg}
        asked = _asked(args, 100)
        print(image_distillation.edit(args.picture, args.before or args.prompt, asked, args.out, **options))


def _settled(args: argparse.Namespace) -> None:
    """What `image edit` takes by default, which is not the same for a prompt and for an instruction.

    Raises:
        UserError: both, neither, or an option of another method.
    """
    told = args.instruct is not None
    if told == (args.prompt is not None):
        raise UserError(
            'image edit takes a sentence that says what to show, or --instruct "make it blue", and not both'
        )
    if not told and args.image_scale is not None:
        raise UserError("--image-scale is for --instruct")
    if told and (args.repeats != 1 or args.method != "sdedit"):
        raise UserError("--repeats and --method are not for --instruct")
    if args.before is not None and args.method == "sdedit":
        raise UserError("--from says what dds and pds compare with; sdedit hears one sentence alone")
    if args.before is None and args.method in ("dds", "pds"):
        raise UserError(f'{args.method} compares two sentences: say what the picture shows now, --from "a red chair"')
    args.prompt = args.instruct if told else args.prompt
    args.model = args.model or ("toybox-instruct" if told else "toybox")
    args.cfg = INSTRUCTION_SCALE if told and args.cfg is None else args.cfg


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
    asked = _asked(args, control=networks)
    print(image_control.control(args.hint, asked, args.out, progress, args.mask, args.canny))
