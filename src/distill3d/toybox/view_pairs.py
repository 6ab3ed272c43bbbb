"""Pictures of toys from two sides, without end: batch `i` of seed `s` is always the same.

The first picture is framed as a person's photograph is before an image becomes a scene (`files.cutout.recentred`): what
is seen of the toy lies in the middle and fills a given share. That picture makes the world: the second camera stands
where the first one's frame says, whatever size and place the toy has of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from distill3d.core.cameras import Cameras
from distill3d.toybox.dataset import random_cameras, random_lights, random_toy
from distill3d.toybox.parts import Toy
from distill3d.toybox.pictures import PackedToy, pack, picture

FILL = 0.75  # share of the first picture that the toy's longer side takes, as `reference.fill` has it
_PROBE = 48  # pixels of the pictures that find the frame
_SAME_LIGHT = 0.6  # share of pairs under one light


@dataclass(frozen=True)
class ViewPairs:
    """Pictures of the same toys from two cameras each; of colour over the codec's grey, and coverage."""

    given: Tensor  # [B, H, W, 4], 0..1
    asked: Tensor  # the same
    captions: list[str]
    lights: Tensor  # [B], of the picture that is asked for, see `diffusion.view`
    references: Cameras  # azimuths are counted from the toys' fronts
    cameras: Cameras
    toys: list[Toy]


def make_view_pairs(
    seed: int, index: int, count: int, size: int, split: str = "train", category: str | None = None, factor: int = 2
) -> ViewPairs:
    """Batch `index` of the stream `seed`: `count` toys, two pictures of `size` pixels each.

    Args:
        category: of all of them; by default as the prior's training has them. factor: samples a pixel, along one side.
    """
    rng = np.random.default_rng((seed, index))
    toys = [random_toy(rng, split, category) for _ in range(count)]
    references, cameras = reference_cameras(rng, count, size), random_cameras(rng, count, size)
    lights = random_lights(rng, count)
    others = np.where(rng.random(count) < _SAME_LIGHT, lights, random_lights(rng, count))
    fills = np.clip(rng.normal(FILL, 0.02, count), 0.65, 0.85)
    pictures = np.empty((2, count, size, size, 4), np.float32)
    for i, toy in enumerate(toys):
        packed = pack(toy)
        frame = find_frame(packed, references[i], float(fills[i]))
        for side, (eye, light) in enumerate(((references[i], others[i]), (cameras[i], lights[i]))):
            pictures[side, i] = seen_in_frame(packed, frame, eye, float(light), factor)
    pictures[..., :3] += 0.5 * (1 - pictures[..., 3:])
    given, asked = torch.from_numpy(pictures)
    plain = rng.random(count) < 0.4  # the first wording is the plainest, what people type
    said = [toy.captions[0 if p else rng.integers(len(toy.captions))] for p, toy in zip(plain, toys, strict=True)]
    return ViewPairs(given, asked, said, torch.from_numpy(lights).float(), references, cameras, toys)


def reference_cameras(rng: np.random.Generator, count: int, size: int) -> Cameras:
    """Cameras as people hold them: all around, 10 degrees below the horizon to 60 above it."""
    azimuth = rng.uniform(-math.pi, math.pi, count)
    elevation = np.arcsin(rng.uniform(math.sin(math.radians(-10)), math.sin(math.radians(60)), count))
    fov, reach = np.radians(rng.uniform(38, 52, count)), rng.uniform(1.05, 1.3, count)
    a, e, d, f = (torch.tensor(v, dtype=torch.float32) for v in (azimuth, elevation, reach / np.tan(0.5 * fov), fov))
    return Cameras.orbit(a, e, d, f, size)


@dataclass(frozen=True)
class Frame:
    """A world made by a picture: a point p of the toy's own world lies at scale (p - center) in it."""

    center: np.ndarray  # [3]
    scale: float


def find_frame(toy: PackedToy, reference: Cameras, fill: float = FILL, rounds: int = 3) -> Frame:
    """The frame in which a camera sees the toy in the middle, the longer side of it `fill` of the picture.

    Perspective makes that a matter of trying: each round looks, and moves and scales what it saw.
    """
    pose = reference.camera_to_world[0].double().numpy()
    distance, tangent = float(reference.distance[0]), math.tan(0.5 * float(reference.fov[0]))
    small = Cameras.orbit(0.0, 0.0, distance, float(reference.fov[0]), _PROBE)
    probe = Cameras(reference.camera_to_world, small.intrinsics, _PROBE, _PROBE)
    frame = Frame(np.zeros(3), 1.0)
    for _ in range(rounds):
        alpha = seen_in_frame(toy, frame, probe, 0.0, 1)[..., 3] > 0
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if not len(rows):
            raise ValueError("the camera sees nothing of the toy")
        span = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        right, down = (0.5 * (r[0] + r[-1] + 1) / (0.5 * _PROBE) - 1 for r in (columns, rows))
        shift = distance * tangent * (right * pose[:3, 0] - down * pose[:3, 1])  # in the new world
        frame = Frame(frame.center + shift / frame.scale, frame.scale * float(fill * _PROBE / span))
    return frame


def seen_in_frame(toy: PackedToy, frame: Frame, camera: Cameras, light: float, factor: int = 2) -> np.ndarray:
    """What one camera of the frame's world sees: [H, W, 4] float32, colour premultiplied by coverage, and coverage."""
    pose = camera.camera_to_world[0].double().numpy().copy()
    pose[:3, 3] = pose[:3, 3] / frame.scale + frame.center  # the toy stays, the camera goes
    return picture(toy, pose, camera.intrinsics[0].double().numpy(), camera.height, light, factor)


class ViewPairStream(Dataset):
    """Batches `start` to `stop` of a seed's stream, for a `DataLoader` with `batch_size=None`."""

    def __init__(self, seed: int, start: int, stop: int, count: int, size: int) -> None:
        self.seed, self.start, self.stop, self.count, self.size = seed, start, stop, count, size

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> ViewPairs:
        if index >= len(self):
            raise IndexError(index)
        return make_view_pairs(self.seed, self.start + index, self.count, self.size)


def view_pair_stream(seed: int, start: int, stop: int, count: int, size: int, workers: int) -> DataLoader:
    """The stream, made by `workers` processes ahead of the training (0: made in this process)."""
    return DataLoader(
        ViewPairStream(seed, start, stop, count, size),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
