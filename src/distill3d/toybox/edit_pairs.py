"""Pictures of toys before and after an instruction, without end: batch `i` of seed `s` is always the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from distill3d.core.cameras import Cameras
from distill3d.diffusion.view import view_vector
from distill3d.toybox.batch_stream import batch_stream
from distill3d.toybox.dataset import random_cameras, random_lights, random_toy
from distill3d.toybox.instructions import Instruction, sample_instruction
from distill3d.toybox.pictures import over_grey, pack, picture


@dataclass(frozen=True)
class PairBatch:
    """Pictures of the same toys from the same cameras under the same light, before and after."""

    before: Tensor  # [B, H, W, 4], 0..1, colour over the codec's grey, and coverage
    after: Tensor  # the same
    views: Tensor  # [B, 16], see `diffusion.view`
    instructions: list[str]
    edits: list[Instruction]
    cameras: Cameras


def make_pairs(seed: int, index: int, count: int, size: int, split: str = "train", factor: int = 2) -> PairBatch:
    """Batch `index` of the stream `seed`: `count` toys and one change of each, a pair of pictures of `size` pixels."""
    rng = np.random.default_rng((seed, index))
    cameras, lights = random_cameras(rng, count, size), random_lights(rng, count)
    edits, said = [], []
    for _ in range(count):
        edit = sample_instruction(rng, random_toy(rng, split, None), split)
        plain = rng.random() < 0.4  # the first wording is the plainest, what people type
        edits.append(edit)
        said.append(edit.wordings[0 if plain else rng.integers(len(edit.wordings))])
    return draw_pairs(edits, said, cameras, lights, factor)


def draw_pairs(
    edits: list[Instruction], said: list[str], cameras: Cameras, lights: np.ndarray, factor: int = 2
) -> PairBatch:
    """The pictures of B changes from B cameras. `said`: the wording of each. `lights`: [B]."""
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    size = cameras.height
    pictures = np.empty((2, len(edits), size, size, 4), np.float32)
    for i, edit in enumerate(edits):
        for side, toy in enumerate((edit.before, edit.after)):
            pictures[side, i] = picture(pack(toy), poses[i], lenses[i], size, lights[i], factor)
    before, after = torch.from_numpy(over_grey(pictures))
    views = view_vector(cameras, torch.from_numpy(lights).float())
    return PairBatch(before, after, views, said, edits, cameras)


def pair_stream(seed: int, start: int, stop: int, count: int, size: int, workers: int) -> DataLoader:
    """The batches `start` to `stop` of a seed, see `make_pairs` and `batch_stream`."""
    return batch_stream(partial(_numbered, seed=seed, count=count, size=size), start, stop, workers)


def _numbered(index: int, seed: int, count: int, size: int) -> PairBatch:
    return make_pairs(seed, index, count, size)
