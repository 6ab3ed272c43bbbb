"""A toy photographed from all around, in the layout that NeRF programs read. `distill3d toybox capture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill3d.files.captures.writing import spiral, write_frames
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import toy_from_prompt


def write_capture(
    prompt: str, out: str | Path, views: int = 60, size: int = 256, seed: int = 0, held_out: int = 0, light: float = 1.0
) -> Path:
    """Pictures of a fresh toy that is what `prompt` says, with camera poses: `files.captures.writing.write_frames`.

    Args:
        out: folder; missing ones are made, what it holds of an earlier capture is replaced.
        views: how many pictures; size: pixels along a side.
        held_out: how many views are kept for testing, spread evenly.
        light: strength of the light at the camera; 0 shows plain colours.
    Returns:
        The path of transforms.json.
    Raises:
        UserError: an unknown prompt, numbers that make no capture, or a folder that cannot be written.
    """
    cameras = spiral(views, size, held_out)
    toy = toy_from_prompt(prompt, np.random.default_rng(seed))
    packed = pack(toy)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    pictures = (picture(packed, poses[i], lenses[i], size, light, factor=3) for i in range(views))
    return write_frames(Path(out), pictures, cameras, toy.captions[0], held_out)
