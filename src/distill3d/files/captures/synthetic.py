"""The layout of the synthetic scenes of NeRF (Mildenhall et al. 2020): one file of frames a split."""

from __future__ import annotations

from pathlib import Path

from distill3d.files.captures.checks import json_object
from distill3d.files.captures.layout import Frame, Layout, is_file
from distill3d.files.captures.transforms import read_frames


def read_synthetic(folder: Path) -> Layout:
    """Frames of `transforms_train.json` to learn from, those of `transforms_test.json` (or `_val`) held out.

    Raises:
        UserError: names the file and the key that is wrong.
    """
    train = folder / "transforms_train.json"
    frames: list[Frame] = read_frames(train, json_object(train), held_out=False)
    tests = [folder / f"transforms_{name}.json" for name in ("test", "val")]
    test = next((path for path in tests if is_file(path)), None)
    if test is not None:
        frames += read_frames(test, json_object(test), held_out=True)
    return Layout(train, tuple(frames))
