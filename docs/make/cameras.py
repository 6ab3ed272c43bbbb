"""The picture of docs/image-to-3d.md, what azimuth and elevation are: python docs/make/cameras.py"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image, ImageDraw, ImageFont

from distill3d.core.cameras import Cameras
from distill3d.core.mesh import Mesh
from distill3d.files.pictures import to_bytes
from distill3d.renderers.mesh_picture import render_mesh
from distill3d.toybox.captions import Description, Item
from distill3d.toybox.geometry import mesh
from distill3d.toybox.world import make_toy

OUT = Path(__file__).resolve().parents[1] / "pictures"
PAPER = (0.97, 0.97, 0.975)
AZIMUTH, ELEVATION, REACH = math.radians(55), math.radians(35), 2.1
ORANGE, BLUE, GRAY, DARK = (0.85, 0.39, 0.23), (0.23, 0.49, 0.85), (0.7, 0.7, 0.72), (0.25, 0.26, 0.29)
HEIGHTS = (-10, 5, 30, 60)


def direction(azimuth: float, elevation: float) -> np.ndarray:
    flat = math.cos(elevation)
    return np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])


def painted(shape: trimesh.Trimesh, color: tuple[float, float, float]) -> Mesh:
    return Mesh(shape.vertices, shape.faces, np.tile(np.float32(color), (len(shape.vertices), 1)))


def line(points: np.ndarray, color: tuple[float, float, float], thick: float = 0.018) -> list[Mesh]:
    """A tube along [N, 3] points."""
    tubes = [trimesh.creation.cylinder(thick, segment=pair) for pair in pairwise(points)]
    return [painted(tube, color) for tube in tubes]


def arc(color: tuple[float, float, float], azimuths: np.ndarray, elevations: np.ndarray, far: float) -> list[Mesh]:
    points = [far * direction(a, e) for a, e in zip(azimuths, elevations, strict=True)]
    return line(np.array(points), color)


def camera_body(place: np.ndarray) -> Mesh:
    """A box that looks at the origin."""
    box = trimesh.creation.box((0.2, 0.26, 0.2))
    box.apply_transform(trimesh.geometry.align_vectors((1, 0, 0), -place / np.linalg.norm(place)))
    box.apply_translation(place)
    return painted(box, DARK)


def joined(meshes: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    colors = [m.colors if m.colors is not None else np.full_like(m.vertices, 0.5) for m in meshes]
    faces = [m.faces + start for m, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces), np.concatenate(colors))


def scene(toy: Mesh) -> Mesh:
    turn, rise, all_round = np.linspace(0, AZIMUTH, 24), np.linspace(0, ELEVATION, 20), np.linspace(0, 2 * math.pi, 72)
    place = REACH * direction(AZIMUTH, ELEVATION)
    return joined(
        [
            toy,
            *arc(GRAY, all_round, 0 * all_round, REACH),
            *arc(ORANGE, turn, 0 * turn, REACH),
            *arc(BLUE, AZIMUTH + 0 * rise, rise, REACH),
            *line(np.array([0 * place, REACH * direction(0, 0)]), ORANGE),
            *line(np.array([0 * place, REACH * direction(AZIMUTH, 0)]), GRAY),
            *line(np.array([0 * place, place]), BLUE),
            camera_body(place),
        ]
    )


def shown(thing: Mesh, camera: Cameras) -> Image.Image:
    rendering = render_mesh(thing, camera, light=0.6, background=torch.tensor(PAPER), samples=3)
    return Image.fromarray(to_bytes(rendering.rgb[0].numpy()))


def at(camera: Cameras, point: np.ndarray) -> tuple[float, float]:
    """Where a point is in the picture, pixels."""
    pose, lens = camera.camera_to_world[0].numpy(), camera.intrinsics[0].numpy()
    x, y, z = pose[:3, :3].T @ (point - pose[:3, 3])
    return lens[0, 2] - lens[0, 0] * x / z, lens[1, 2] + lens[1, 1] * y / z


def main() -> None:
    toy = mesh(make_toy(Description(Item("duck", "yellow")), 77))
    camera = Cameras.orbit(torch.tensor([math.radians(20)]), math.radians(28), 6.6, math.radians(45), 480)
    left, font = shown(scene(toy), camera), ImageFont.load_default(size=16)
    pen = ImageDraw.Draw(left)
    words = (
        ("front: azimuth 0", 2.3 * direction(0, 0), ORANGE, "mt"),
        ("azimuth 55", 2.4 * direction(AZIMUTH / 2, 0), ORANGE, "lt"),
        ("elevation 35", 2.2 * direction(AZIMUTH, ELEVATION / 2), BLUE, "lm"),
    )
    for text, point, color, anchor in words:
        pen.text(at(camera, point), text, fill=tuple(round(200 * c) for c in color), font=font, anchor=anchor)
    sheet = Image.new("RGB", (480 + 2 * 240, 480), tuple(round(255 * c) for c in PAPER))
    sheet.paste(left, (0, 0))
    for i, height in enumerate(HEIGHTS):
        view = shown(toy, Cameras.orbit(torch.tensor([0.0]), math.radians(height), 3.0, math.radians(40), 240))
        ImageDraw.Draw(view).text((120, 236), f"elevation {height}", fill=(60, 62, 70), font=font, anchor="mb")
        sheet.paste(view, (480 + 240 * (i % 2), 240 * (i // 2)))
    sheet.save(OUT / "azimuth-elevation.png", optimize=True)


if __name__ == "__main__":
    main()
