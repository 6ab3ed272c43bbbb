"""What a camera sees of a toy: picture, depth, normals, mask and part labels, exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill3d.core.cameras import Cameras
from distill3d.toybox.parts import MATERIALS, SHAPES, Toy
from distill3d.toybox.raycast import MISS, cast, shade


@dataclass(frozen=True)
class PackedToy:
    """A toy as arrays, ready for the ray caster."""

    shapes: np.ndarray  # [P] int64, position in SHAPES
    sizes: np.ndarray  # [P, 3]
    centers: np.ndarray  # [P, 3]
    rotations: np.ndarray  # [P, 3, 3], axes as columns
    colors: np.ndarray  # [P, 3]
    materials: np.ndarray  # [P] int64, position in MATERIALS


def pack(toy: Toy) -> PackedToy:
    parts = toy.parts
    return PackedToy(
        np.array([SHAPES.index(p.shape) for p in parts]),
        np.array([p.size for p in parts], float),
        np.array([p.center for p in parts], float),
        np.array([p.rotation for p in parts], float),
        np.array([p.color for p in parts], float),
        np.array([MATERIALS.index(p.material) for p in parts]),
    )


def picture(
    toy: PackedToy, pose: np.ndarray, intrinsics: np.ndarray, size: int, light: float = 1.0, factor: int = 2
) -> np.ndarray:
    """One antialiased picture.

    Args:
        pose: [4, 4] camera to world; intrinsics: [3, 3] in pixels of the `size` x `size` picture.
        light: strength of the light at the camera; 0 shows the plain colours.
        factor: samples a pixel along each side.
    Returns:
        [size, size, 4] float32, 0..1: colour premultiplied by coverage, and coverage.
    """
    return picture_and_depth(toy, pose, intrinsics, size, light, factor)[0]


def picture_and_depth(
    toy: PackedToy, pose: np.ndarray, intrinsics: np.ndarray, size: int, light: float = 1.0, factor: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """`picture`, and the depth of its samples: [size factor, size factor] along the ray, MISS where nothing is hit."""
    fine = size * factor
    depth, part = np.empty((fine, fine)), np.empty((fine, fine), np.int64)
    normal = np.empty((fine, fine, 3))
    lens = [intrinsics[0, 0] * factor, intrinsics[1, 1] * factor, intrinsics[0, 2] * factor, intrinsics[1, 2] * factor]
    cast(toy.shapes, toy.sizes, toy.centers, toy.rotations, pose, *lens, fine, fine, depth, normal, part)
    rgba = np.empty((size, size, 4), np.float32)
    shade(depth, normal, part, toy.centers, toy.rotations, toy.colors, toy.materials, pose, *lens, light, factor, rgba)
    return rgba, depth


def over_grey(pictures: np.ndarray) -> np.ndarray:
    """Pictures [..., 4] of colour premultiplied by coverage as embedded models see them: over grey 0.5, in place."""
    pictures[..., :3] += 0.5 * (1 - pictures[..., 3:])
    return pictures


@dataclass(frozen=True)
class View:
    """Everything one camera sees of a toy; arrays are [H, W, ...]."""

    rgba: np.ndarray  # [.., 4] float32, premultiplied
    depth: np.ndarray  # distance along the ray through the pixel's centre, 0 where nothing is hit
    normal: np.ndarray  # [.., 3] world space, 0 where nothing is hit
    mask: np.ndarray  # bool
    part: np.ndarray  # int, position in toy.parts, -1 where nothing is hit


def views(toy: Toy, cameras: Cameras, light: float = 1.0, factor: int = 3) -> list[View]:
    """What each of the cameras (square pictures) sees. Depth, normals, mask and parts belong to pixel centres."""
    packed = pack(toy)
    poses = cameras.camera_to_world.cpu().double().numpy()
    lenses = cameras.intrinsics.cpu().double().numpy()
    seen = []
    for pose, k in zip(poses, lenses, strict=True):
        shape = (cameras.height, cameras.width)
        depth, part, normal = np.empty(shape), np.empty(shape, np.int64), np.empty((*shape, 3))
        lens = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        cast(packed.shapes, packed.sizes, packed.centers, packed.rotations, pose, *lens, *shape, depth, normal, part)
        rgba = picture(packed, pose, k, cameras.height, light, factor)
        seen.append(View(rgba, np.where(depth < MISS, depth, 0.0), normal, part >= 0, part))
    return seen
