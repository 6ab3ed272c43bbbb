"""The command line that trainings share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from distill3d.core.errors import UserError
from distill3d.core.threads import use_threads
from distill3d.diffusion.aliases import TOYBOX
from distill3d.toybox.averaged_training import Budget


def training_parser(
    verb: str, description: str | None, defaults: Budget, what: str = "pictures"
) -> argparse.ArgumentParser:
    """`distill3d toybox VERB` with the options of every training that is fed batches.

    Args:
        what: is trained on, for the help.
    """
    parser = argparse.ArgumentParser(f"distill3d toybox {verb}", description=description)
    out = Path("outputs") / verb.replace("train", "toybox")
    parser.add_argument("--out", type=Path, default=out, help=f"folder for the training (default: {out})")
    parser.add_argument("--pictures", type=int, default=defaults.pictures, help=f"how many {what} to train on")
    parser.add_argument("--batch", type=int, default=defaults.batch, help=f"{what} of a step")
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 is its own choice")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default=TOYBOX, help="the prior: toybox, or a folder that `toybox train` made")
    parser.add_argument("--save-minutes", type=float, default=5.0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    return parser


def parsed(parser: argparse.ArgumentParser, argv: list[str] | None, positive: Sequence[str] = ()) -> argparse.Namespace:
    """The options, checked; torch takes the threads that are asked for.

    Args:
        positive: names of options that have to be, besides those that every training has.
    Raises:
        UserError: a number is out of its range.
    """
    args = parser.parse_args(argv)
    for name in ("pictures", "batch", "save_minutes", "lr", *positive):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be positive (got {getattr(args, name):g})")
    if args.pictures < args.batch:
        raise UserError(f"--pictures is at least a batch of {args.batch} (got {args.pictures})")
    if args.threads:
        use_threads(args.threads)
    return args
