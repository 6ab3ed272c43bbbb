"""The contact sheet of shapes of parts: surfaces in the colours of their parts, and the Gaussians as ellipsoids."""

from __future__ import annotations

import colorsys
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from distill3d.core.cameras import Cameras
from distill3d.core.mesh import Mesh
from distill3d.files.pictures import to_bytes
from distill3d.parts.gaussians import PartGaussians
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.run.image_files import side_by_side
from distill3d.run.turntable import BACKDROP, DISTANCE, FOV, LIGHT

SIDES = ((35.0, 20.0), (215.0, 20.0))  # azimuth and elevation in degrees: from the front left, and from behind
SIZE = 192  # pixels of one picture
DEVIATIONS = 2.0  # how far an ellipsoid reaches, in standard deviations
GOLDEN = (5**0.5 - 1) / 2


def part_color(number: int) -> np.ndarray:
    """[3] in 0..1: the colour of the part of that number, in every picture and file; neighbours in number differ."""
    light, strong = ((0.92, 0.70), (0.70, 0.85), (1.0, 0.45))[number // 6 % 3]
    return np.array(colorsys.hsv_to_rgb((0.02 + number * GOLDEN) % 1.0, strong, light))


def sheet(
    shapes: Sequence[tuple[PartGaussians, Mapping[int, Mesh]]], seen: Callable[[int], object] | None = None
) -> np.ndarray:
    """Two sides of every shape, and the same two of the Gaussians of its pieces with their numbers, uint8 [H, W, 3].

    Args:
        shapes: Gaussians [P], and the surface of each part that has one, by its number.
        seen: hears how many shapes are drawn.
    """
    rows = []
    for count, (gaussians, pieces) in enumerate(shapes, 1):
        surface = _drawn(joined(pieces)) if pieces else np.tile(_empty(), (len(SIDES), 1, 1, 1))
        shown = ellipsoids(gaussians)
        if pieces:  # a part that holds nothing may be of any size, and would hide the others
            shown = {number: shown[number] for number in pieces}
        cloud = _numbered(_drawn(joined(shown)), gaussians, list(shown))
        rows.append(side_by_side(np.concatenate([surface, cloud]), 2 * len(SIDES)))
        if seen is not None:
            seen(count)
    return side_by_side(np.stack(rows), 1 if len(rows) <= 4 else 2)


def ellipsoids(gaussians: PartGaussians) -> dict[int, Mesh]:
    """The surfaces at two standard deviations of Gaussians [P], by number."""
    sphere, faces = _sphere()
    made = {}
    for number, (mean, axes, eigenvalues) in enumerate(
        zip(gaussians.means.numpy(), gaussians.axes.numpy(), gaussians.eigenvalues.numpy(), strict=True)
    ):
        reach = DEVIATIONS * np.sqrt(eigenvalues)[:, None] * axes  # rows: from the middle to the end of each axis
        outwards = faces if np.linalg.det(axes) > 0 else faces[:, ::-1]
        made[number] = Mesh(mean + sphere @ reach, outwards, name=f"part {number}")
    return made


def joined(pieces: Mapping[int, Mesh]) -> Mesh:
    """All pieces as one mesh, in the colours of their parts."""
    firsts = np.cumsum([0, *(len(piece.vertices) for piece in pieces.values())])[:-1]
    colors = [np.tile(part_color(number), (len(piece.vertices), 1)) for number, piece in pieces.items()]
    return Mesh(
        np.concatenate([piece.vertices for piece in pieces.values()]),
        np.concatenate([piece.faces + first for piece, first in zip(pieces.values(), firsts, strict=True)]),
        np.concatenate(colors).astype(np.float32),
    )


def _cameras() -> Cameras:
    azimuth, elevation = torch.deg2rad(torch.tensor(SIDES)).unbind(1)
    return Cameras.orbit(azimuth, elevation, DISTANCE, FOV, SIZE)


def _drawn(mesh: Mesh) -> np.ndarray:
    """From every side, uint8 [sides, H, W, 3]."""
    rendering = render_mesh(mesh, _cameras(), light=LIGHT, background=torch.tensor(BACKDROP))
    return to_bytes(rendering.rgb.numpy())


def _empty() -> np.ndarray:
    return np.tile(to_bytes(np.array(BACKDROP)), (1, SIZE, SIZE, 1))


def _numbered(pictures: np.ndarray, gaussians: PartGaussians, numbers: Sequence[int]) -> np.ndarray:
    """The number of each of these parts over the middle of its ellipsoid, hidden or not."""
    cameras, made = _cameras(), []
    places, _ = cameras.project(gaussians.means)
    for picture, here in zip(pictures, places, strict=True):
        image = Image.fromarray(picture)
        draw = ImageDraw.Draw(image)
        for number in numbers:
            u, v = here[number].tolist()
            left, top, right, bottom = draw.textbbox((0, 0), str(number))
            u, v = round(u - (left + right) / 2), round(v - (top + bottom) / 2)
            for du, dv in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                draw.text((u + du, v + dv), str(number), (255, 255, 255))
            draw.text((u, v), str(number), (0, 0, 0))
        made.append(np.asarray(image))
    return np.stack(made)


@functools.cache
def _sphere(rings: int = 16, turns: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A unit ball, vertices [V, 3] and faces [F, 3] that face outwards."""
    down, around = np.meshgrid(
        np.linspace(0, math.pi, rings + 1)[1:-1], np.arange(turns) * 2 * math.pi / turns, indexing="ij"
    )
    body = np.stack([np.sin(down) * np.cos(around), np.sin(down) * np.sin(around), np.cos(down)], -1).reshape(-1, 3)
    vertices = np.concatenate([body, [[0, 0, 1], [0, 0, -1]]])
    ring, turn = np.meshgrid(np.arange(rings - 2), np.arange(turns), indexing="ij")
    a, b = ring * turns + turn, ring * turns + (turn + 1) % turns
    c, d = a + turns, b + turns
    sides = np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).reshape(-1, 3)
    here, after = np.arange(turns), (np.arange(turns) + 1) % turns
    top, last = len(body), (rings - 2) * turns
    lid = np.stack([np.full(turns, top), here, after], -1)
    floor = np.stack([np.full(turns, top + 1), last + after, last + here], -1)
    return vertices, np.concatenate([sides, lid, floor])
