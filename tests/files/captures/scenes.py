"""Small captures on disk, written from cameras that the test knows."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL = 24, 32, 30.0


def poses(count: int = 5) -> np.ndarray:
    """[count, 4, 4] camera-to-world, OpenGL axes, on a circle of radius 4 around (1, 2, 0.5), looking at it."""
    found = []
    for k in range(count):
        turn, height = 2 * math.pi * k / count, 0.3 * (k % 3)
        back = np.array([math.cos(turn), math.sin(turn), height])
        back /= np.linalg.norm(back)
        right = np.cross([0, 0, 1.0], back)
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(back, right), back], 1)
        pose[:3, 3] = [1, 2, 0.5] + 4 * back
        found.append(pose)
    return np.array(found)


def picture(k: int, channels: int = 3, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Colours that tell the picture and the pixel; with alpha, a disc in the middle."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([columns * 5, rows * 5, np.full_like(rows, 20 * k)], -1).astype(np.uint8)
    if channels == 4:
        disc = np.hypot(columns - size[0] / 2 + 0.5, rows - size[1] / 2 + 0.5) < 8
        pixels = np.dstack([pixels, 255 * disc.astype(np.uint8)])
    return Image.fromarray(pixels)


def write_transforms(folder: Path, count: int = 5, channels: int = 3, **changes: object) -> Path:
    """A transforms.json with its pictures; `changes` go into its object, None takes a key away."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for k, pose in enumerate(poses(count)):
        picture(k, channels).save(folder / f"images/{k:03d}.png")
        frames.append({"file_path": f"images/{k:03d}.png", "transform_matrix": pose.tolist()})
    content = {"w": WIDTH, "h": HEIGHT, "fl_x": FOCAL, "fl_y": FOCAL + 1, "cx": 11.5, "cy": 16.5, "frames": frames}
    content = {key: value for key, value in {**content, **changes}.items() if value is not None}
    path = folder / "transforms.json"
    path.write_text(json.dumps(content))
    return path


def colmap_image(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quaternion (w, x, y, z) and translation, world to camera, OpenCV axes."""
    rotation = (pose[:3, :3] * [1, -1, -1]).T
    translation = -rotation @ pose[:3, 3]
    k = np.array(  # Bar-Itzhack's matrix: its largest eigenvector is the quaternion, whatever the rotation
        [
            [rotation[0, 0] - rotation[1, 1] - rotation[2, 2], 0, 0, 0],
            [rotation[1, 0] + rotation[0, 1], rotation[1, 1] - rotation[0, 0] - rotation[2, 2], 0, 0],
            [
                rotation[2, 0] + rotation[0, 2],
                rotation[2, 1] + rotation[1, 2],
                rotation[2, 2] - rotation[0, 0] - rotation[1, 1],
                0,
            ],
            [
                rotation[2, 1] - rotation[1, 2],
                rotation[0, 2] - rotation[2, 0],
                rotation[1, 0] - rotation[0, 1],
                np.trace(rotation),
            ],
        ]
    )
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]  # eigh reads the lower triangle
    return np.array([w, x, y, z]), translation


POINTS = np.array([[1.0, 2.0, 0.5], [1.2, 2.1, 0.3], [0.7, 1.9, 0.6]])
COLORS = np.array([[255, 0, 0], [0, 255, 0], [10, 20, 30]])


def write_colmap(folder: Path, binary: bool, count: int = 5) -> Path:
    """A model in sparse/0 with an OPENCV camera, its pictures in images/. Returns the model's folder."""
    model = folder / "sparse" / "0"
    model.mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    parameters = [FOCAL, FOCAL + 1, 11.5, 16.5, 0.05, -0.02, 0.001, -0.002]
    images = [colmap_image(pose) for pose in poses(count)]
    for k in range(count):
        picture(k).save(folder / f"images/view {k}.png")
    if binary:
        data = struct.pack("<QIiQQ8d", 1, 7, 4, WIDTH, HEIGHT, *parameters)
        (model / "cameras.bin").write_bytes(data)
        data = struct.pack("<Q", count)
        for k, (quaternion, translation) in enumerate(images):
            data += struct.pack("<I7dI", k + 1, *quaternion, *translation, 7) + f"view {k}.png".encode() + b"\0"
            data += struct.pack("<Q2dq", 1, 3.0, 4.0, -1)
        (model / "images.bin").write_bytes(data)
        data = struct.pack("<Q", len(POINTS))
        for k, (xyz, color) in enumerate(zip(POINTS, COLORS, strict=True)):
            data += struct.pack("<Q3d3BdQ2i", k, *xyz, *color.tolist(), 0.5, 1, 1, 0)
        (model / "points3D.bin").write_bytes(data)
        return model
    words = " ".join(map(repr, parameters))
    (model / "cameras.txt").write_text(f"# a comment\n7 OPENCV {WIDTH} {HEIGHT} {words}\n")
    lines = ["# two lines an image"]
    for k, (quaternion, translation) in enumerate(images):
        numbers = " ".join(repr(float(v)) for v in (*quaternion, *translation))
        lines += [f"{k + 1} {numbers} 7 view {k}.png", "3.0 4.0 -1" if k else ""]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    lines = [
        f"{k} {' '.join(map(repr, xyz.tolist()))} {' '.join(map(str, color.tolist()))} 0.5 1 0"
        for k, (xyz, color) in enumerate(zip(POINTS, COLORS, strict=True))
    ]
    (model / "points3D.txt").write_text("\n".join(lines) + "\n")
    return model
