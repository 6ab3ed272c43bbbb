"""The command line: thin verbs. Whatever is heavy is imported inside the verb that needs it."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from distill3d import cli_image, cli_parts
from distill3d.core.errors import UserError

if TYPE_CHECKING:
    from distill3d.run.api import RunResult

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns the exit code: 0, 2 on what the user can put right, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        args, rest = parser().parse_known_args(cli_image.with_verb(words))
        args.own_process = arguments is None  # ours to start again, where a setting is read at the start only
        return int(args.verb(args, rest) or 0)
    except UserError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `distill3d list | head`
        sys.stderr.close()
        return 1


class OneLineParser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    top = OneLineParser(prog="distill3d", description="3D assets from a sentence, on a bare CPU.", allow_abbrev=False)
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)

    make = _verb(
        verbs, "run", run, "make an asset, or go on with one", epilog='distill3d run dreamfusion prompt="a cat"'
    )
    make.add_argument("config", nargs="?", help="a config's name (see `distill3d list`) or a YAML file")
    make.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="e.g. steps=800 guidance.0.cfg_scale=20")
    make.add_argument("--out", metavar="FOLDER", help="the run folder (default: outputs/CONFIG/PROMPT)")
    make.add_argument("--resume", metavar="FOLDER", help="go on with this run folder")
    make.add_argument("--quiet", action="store_true", help="no progress, only where the results are")

    _verb(verbs, "list", list_, "configs, renderers, guidances and priors, a line each")
    _verb(verbs, "doctor", doctor, "what this machine will compute with, and why")

    picture = verbs.add_parser("image", help="pictures from the prior: generate, edit, inpaint, invert, control")
    cli_image.add_verbs(picture, lambda under, name, function, help: _verb(under, name, _plain(function), help))

    shapes = verbs.add_parser("parts", help="shapes of parts: generate, complete, mix, edit, interpolate, move, show")
    cli_parts.add_verbs(shapes, lambda under, name, function, help: _verb(under, name, _plain(function), help))

    out = _verb(verbs, "export", export, "a run, a mesh or a splat scene as GLB, OBJ, PLY or STL")
    out.add_argument("source", metavar="RUN_OR_FILE", help="a run folder; a GLB, glTF, OBJ, PLY or STL; a 3DGS .ply")
    out.add_argument("--format", default=None, metavar="KIND", help="glb, obj, ply or stl (default: as --out ends)")
    out.add_argument("--faces", type=int, default=None, help="the most triangles, e.g. 20000")
    out.add_argument("--texture", type=int, default=None, help="pixels along a side of the texture, e.g. 1024")
    out.add_argument("--resolution", type=int, default=None, help="grid points along a side, for the surface of a run")
    out.add_argument("--up", choices=("y", "z"), default=None, help="the axis that points up in a mesh file")
    out.add_argument("--out", default=None, metavar="FILE", help="(default: RUN/export.KIND or NAME.KIND, a free name)")
    out.add_argument("--quiet", action="store_true", help="no progress, only where the result is")

    draw = _verb(verbs, "render", render, "a film or a picture of a run, a mesh or a splat scene")
    draw.add_argument("source", metavar="RUN_OR_FILE", help="a run folder; a GLB, glTF, OBJ, PLY or STL; a 3DGS .ply")
    draw.add_argument("--path", default=None, help="orbit: one turn, as a film (the default)")
    draw.add_argument("--view", default=None, help="front, back, left, right, top, or AZIMUTH,ELEVATION: one PNG")
    draw.add_argument("--show", default="rgb", help="of rgb,depth,normal: side by side")
    draw.add_argument("--out", default=None, metavar="FILE", help="(default: orbit.mp4 or VIEW.png, a free name)")
    draw.add_argument("--frames", type=int, default=72, help="pictures in one turn")
    draw.add_argument("--size", type=int, default=256, help="pixels")
    draw.add_argument("--elevation", type=float, default=None, help="degrees above the horizon")
    draw.add_argument("--background", default="backdrop", help="backdrop, white, black, grey, or R,G,B in 0..1")
    draw.add_argument("--light", type=float, default=None, help="0 plain colours to 1 all shading")
    draw.add_argument("--fps", type=int, default=24, help="pictures a second")
    draw.add_argument("--up", choices=("y", "z"), default=None, help="the axis that points up in a mesh file")
    draw.add_argument("--quiet", action="store_true", help="no progress, only where the result is")

    change = _verb(verbs, "edit", edit, "change a run, a mesh or a splat scene with a sentence")
    a_scene = "a run folder; a GLB, glTF, OBJ, PLY or STL; a 3DGS .ply"
    change.add_argument("source", nargs="?", metavar="RUN_OR_FILE", help=a_scene)
    change.add_argument("before", nargs="?", help='what it is, such as "a red cube"; for in2n an instruction')
    change.add_argument("after", nargs="?", help='what it should become, such as "a blue cube"; not for in2n, refine')
    change.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of the method's config, e.g. steps=300")
    change.add_argument("--method", default="pds", help="pds, dds, sds, in2n, sdedit, controlnet or refine")
    change.add_argument("--resume", metavar="FOLDER", help="go on with this edit, and nothing else")
    change.add_argument("--geometry", default=None, help="of the shape: free (the default), gentle, or frozen")
    change.add_argument("--colors-only", action="store_true", help="the same as --geometry frozen")
    change.add_argument("--strength", type=float, default=1.0, help="how far it may go, above 0 and up to 1")
    change.add_argument(
        "--region",
        default=None,
        help='what may change: box:x0,y0,z0,x1,y1,z1, sphere:x,y,z,radius, mask=FILE, or words of BEFORE: "the hat"',
    )
    change.add_argument("--region-view", metavar="VIEW", help="of a mask: front, ..., AZIMUTH,ELEVATION, or photograph")
    change.add_argument(
        "--region-depth", type=float, metavar="LENGTH", help="how far a mask reaches behind its surface"
    )
    change.add_argument("--region-by", metavar="WAY", help="of words: attention or difference (default: as the prior)")
    change.add_argument("--region-radius", type=float, metavar="LENGTH", help="how far it reaches around it")
    change.add_argument(
        "--views",
        default=None,
        metavar="WHERE",
        help="to look from: around (the default), capture, or a capture's folder",
    )
    change.add_argument("--up", choices=("y", "z"), default=None, help="the axis that points up in a mesh file")
    change.add_argument("--out", metavar="FOLDER", help="the run folder (default: outputs/METHOD/AFTER)")
    change.add_argument("--quiet", action="store_true", help="no progress, only where the results are")

    shoot = _verb(verbs, "capture", capture, "a run, a mesh or a splat scene as pictures with camera poses")
    shoot.add_argument("source", metavar="RUN_OR_FILE", help="a run folder; a GLB, glTF, OBJ, PLY or STL; a 3DGS .ply")
    shoot.add_argument("--out", default="capture", metavar="FOLDER", help="a new folder")
    shoot.add_argument("--views", type=int, default=60)
    shoot.add_argument("--size", type=int, default=256, help="pixels")
    shoot.add_argument("--held-out", type=int, default=0, help="how many views are kept for testing")
    shoot.add_argument("--light", type=float, default=None, help="0 plain colours to 1 all shading")
    shoot.add_argument("--up", choices=("y", "z"), default=None, help="the axis that points up in a mesh file")
    shoot.add_argument("--quiet", action="store_true", help="no progress, only where the result is")

    toybox = verbs.add_parser("toybox", help="the embedded world: show, capture, train")
    worlds = toybox.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = _verb(worlds, "show", toybox_show, "a contact sheet of procedural objects")
    show.add_argument("--out", default="toybox.png", metavar="FILE")
    show.add_argument("--seed", type=int, default=0)
    toys = _verb(worlds, "capture", toybox_capture, "pictures with camera poses in the transforms.json layout")
    toys.add_argument("prompt", help='for example "a wooden chair"')
    toys.add_argument("--views", type=int, default=60)
    toys.add_argument("--size", type=int, default=256, help="pixels")
    toys.add_argument("--seed", type=int, default=0)
    toys.add_argument("--out", default="capture", metavar="FOLDER")
    for verb, what in (
        ("train", "train the embedded prior"),
        ("train-clip", "train the encoder of texts and pictures"),
        ("train-control", "train a ControlNet of the prior"),
        ("train-instruct", "train a model of instructions"),
        ("train-novel-view", "train a model that turns pictures"),
        ("train-multi-view", "train the views of the prior to see each other"),
        ("train-latent", "train a miniature of Stable Diffusion"),
        ("train-parts", "train the part Gaussians of attributed shapes"),
        ("train-salad", "train what generates part Gaussians"),
        ("train-part-names", "learn the words for part Gaussians"),
    ):
        _verb(worlds, verb, _training(verb.replace("-", "_")), f"{what} (options: --help)", add_help=False)
    return top


def _verb(verbs, name, function, help, epilog=None, add_help=True):  # type: ignore[no-untyped-def]
    verb = verbs.add_parser(name, help=help, epilog=epilog, allow_abbrev=False, add_help=add_help)
    verb.add_argument("--debug", action="store_true", help="the traceback with an error")
    verb.set_defaults(verb=function, prog=verb.prog)
    return verb


def _nothing_left(args: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise UserError(f"unknown argument {rest[0]!r}; see {args.prog} --help")


def run(args: argparse.Namespace, rest: list[str]) -> int:
    overrides = [*args.overrides, *(word for word in rest if not word.startswith("-"))]  # also those after an option
    _nothing_left(args, [word for word in rest if word.startswith("-")])
    if args.config is not None and "=" in args.config:
        overrides.insert(0, args.config)
        args.config = None
    _restart_quietly(args)
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress:
        with progress.spinner("starting"):  # torch takes seconds to import
            from distill3d.run.api import run
        result = run(args.config, out=args.out, resume=args.resume, overrides=overrides, progress=progress)
    return _said(result)


def edit(args: argparse.Namespace, rest: list[str]) -> int:
    overrides = [*args.overrides, *(word for word in rest if not word.startswith("-"))]
    if args.after is not None and re.fullmatch(
        r"\w+(\.\w+)*=.*", args.after
    ):  # after an instruction, which stands alone
        overrides, args.after = [args.after, *overrides], None
    _nothing_left(args, [word for word in rest if word.startswith("-")])
    if args.resume is not None:  # a run like any other: its config says the rest
        words = [word for word in (args.source, args.before, args.after) if word is not None]
        _nothing_left(args, [word for word in words if "=" not in word])
        args.config, args.overrides, args.out = None, [*words, *overrides], None
        return run(args, [])
    if args.source is None or args.before is None:
        raise UserError(f"say what to edit and in which words; see {args.prog} --help")
    _restart_quietly(args)
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress:
        with progress.spinner("starting"):
            from distill3d.run.edit import edit
        result = edit(
            args.source, args.before, args.after, method=args.method, out=args.out, colors_only=args.colors_only,
            geometry=args.geometry, strength=args.strength, region=args.region, region_view=args.region_view,
            region_depth=args.region_depth, region_radius=args.region_radius, region_by=args.region_by,
            views=args.views, up=args.up, overrides=overrides, progress=progress,
        )  # fmt: skip
    return _said(result)


def _said(result: RunResult) -> int:
    """Prints where the results of a run are; the exit status."""
    for name in ("glb", "splats", "turntable", "report"):
        if name in result.paths:
            print(f"{name:<10}{result.paths[name]}")
    if not result.finished:
        print(f"go on with: distill3d run --resume {result.folder}")
        return INTERRUPTED
    return 0


def _restart_quietly(args: argparse.Namespace) -> None:
    """Starts the process again where that makes it quicker, unless somebody else's program called `main`."""
    if args.own_process:
        from distill3d.kernels.allocator import restart_quietly

        restart_quietly()


def list_(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    from distill3d.run.catalogue import listing

    for group, members in listing().items():
        print(f"\n{group}" if group != "configs" else group)
        width = max((len(name) for name in members), default=0)
        for name, line in members.items():
            print(f"  {name:<{width}}  {line}")


def doctor(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    from distill3d.run.doctor import findings

    for finding in findings():
        print(f"{finding.name:<16} {finding.found:<34} {finding.means}".rstrip())


def _plain(function):  # type: ignore[no-untyped-def]
    def verb(args: argparse.Namespace, rest: list[str]) -> None:
        _nothing_left(args, rest)
        _restart_quietly(args)
        function(args)

    return verb


def export(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    _restart_quietly(args)
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress:
        with progress.spinner("starting"):
            from distill3d.run.export import export
        result = export(
            args.source, args.format, args.out, faces=args.faces, texture=args.texture, resolution=args.resolution,
            up=args.up, progress=progress,
        )  # fmt: skip
    for path in result.paths:
        print(path)


def render(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    _restart_quietly(args)
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress:
        with progress.spinner("starting"):
            from distill3d.run.render import render
        result = render(
            args.source, args.out, show=args.show, path=args.path, view=args.view, frames=args.frames, size=args.size,
            elevation=args.elevation, background=args.background, light=args.light, fps=args.fps, up=args.up,
            progress=progress,
        )  # fmt: skip
    print(result.path)


def capture(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    _restart_quietly(args)
    from distill3d.run.progress import Progress

    with Progress(args.quiet) as progress:
        with progress.spinner("starting"):
            from distill3d.run.capture import capture
        path = capture(
            args.source, args.out, views=args.views, size=args.size, held_out=args.held_out, light=args.light,
            up=args.up, progress=progress,
        )  # fmt: skip
    print(path)


def toybox_show(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    from distill3d.toybox.sheet import contact_sheet

    print(contact_sheet(args.out, seed=args.seed))


def toybox_capture(args: argparse.Namespace, rest: list[str]) -> None:
    _nothing_left(args, rest)
    from distill3d.toybox.capture import write_capture

    print(write_capture(args.prompt, args.out, views=args.views, size=args.size, seed=args.seed))


def _training(name: str) -> Callable[[argparse.Namespace, list[str]], None]:
    """A verb that hands its options to the `main` of `distill3d.toybox.NAME`, imported when it is called."""

    def train(args: argparse.Namespace, rest: list[str]) -> None:
        _restart_quietly(args)
        importlib.import_module(f"distill3d.toybox.{name}").main(rest)

    return train


if __name__ == "__main__":
    sys.exit(main())
