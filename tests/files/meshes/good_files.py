"""Small sound files of every kind that is read, made by hand or by trimesh: for tests, and to be damaged."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

CUBE = """\
# a cube: quads, relative indices, one material with a picture and one without
mtllib cube.mtl
o cube
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
usemtl painted
f 5/1/1 6/2/1 7/3/1 8/4/1
f 4/1 3/2 2/3 1/4
usemtl plain
f -8 -7 -3 -4
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""
MATERIALS = """\
newmtl painted
Kd 0.8 0.8 0.8
map_Kd -clamp off my picture.png
newmtl plain
Kd 0.2 0.4 0.6
"""


def picture(size: int = 16) -> np.ndarray:
    """[size, size, 3] uint8: red grows to the right, green downwards."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    across, down = np.meshgrid(ramp, ramp)
    return np.stack([across, down, np.full_like(across, 128)], -1)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def ball() -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=1, radius=0.5)


def chunked(document: dict, binary: bytes) -> bytes:
    """A GLB."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def parts_of(glb: bytes) -> tuple[dict, bytes]:
    """The document and the binary of a GLB."""
    length = struct.unpack_from("<I", glb, 12)[0]
    return json.loads(glb[20 : 20 + length]), glb[28 + length :]


def quad(**changes: object) -> tuple[dict, bytes]:
    """A textured square in the xy plane, two triangles, as a glTF document and its buffer; top-level keys replaced."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
    faces = np.array([0, 1, 2, 0, 2, 3], np.uint16)
    image = encoded(picture())
    blocks = [positions.tobytes(), uv.tobytes(), faces.tobytes(), image]
    binary, views = b"", []
    for block in blocks:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(block)})
        binary += block + b"\0" * (-len(block) % 4)
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "square", "translation": [0, 0, 2], "scale": [2, 2, 2]}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]},
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "baseColorFactor": [1, 1, 1, 1]}}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"wrapS": 33071, "wrapT": 10497}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    return {**document, **changes}, binary


PLY_TEXT = """\
ply
format ascii 1.0
comment made by hand
element vertex 5
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
property float quality
element face 3
property list uchar int vertex_indices
property uchar flags
end_header
0 0 0 255 0 0 0.5
1 0 0 0 255 0 0.5
1 1 0 0 0 255 0.5
0 1 0 255 255 0 0.5
0.5 0.5 1 0 255 255 0.5
4 0 3 2 1 7
3 0 1 4 0
3 1 2 4 0
"""


def mixed_ply(order: str = "<") -> bytes:
    """The same in binary: a quad and two triangles, which trimesh refuses."""
    header, _, body = PLY_TEXT.partition("end_header\n")
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    data = (header.replace("ascii", name) + "end_header\n").encode()
    lines = body.splitlines()
    for line in lines[:5]:
        x, y, z, *rgb, quality = line.split()
        data += struct.pack(f"{order}3f3Bf", float(x), float(y), float(z), *map(int, rgb), float(quality))
    for line in lines[5:]:
        count, *corners, flags = map(int, line.split())
        data += struct.pack(f"{order}B{count}iB", count, *corners, flags)
    return data


def write_all(folder: Path) -> dict[str, Path]:
    """Writes one of each, with what it names beside it. Returns the paths by a word on each."""
    folder.mkdir(parents=True, exist_ok=True)
    document, binary = quad()
    outside = json.loads(json.dumps(document))
    outside["buffers"][0]["uri"] = "square%20data.bin"
    inside = json.loads(json.dumps(document))
    inside["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    colored = ball()
    colored.visual.vertex_colors = np.c_[(colored.vertices + 0.5) * 255, np.full(len(colored.vertices), 255)]
    files: dict[str, bytes] = {
        "cube.obj": CUBE.encode(),
        "ball.glb": colored.export(file_type="glb"),
        "square.glb": chunked(document, binary),
        "square.gltf": json.dumps(outside).encode(),
        "inside.gltf": json.dumps(inside).encode(),
        "text.ply": PLY_TEXT.encode(),
        "mixed.ply": mixed_ply(),
        "big_endian.ply": mixed_ply(">"),
        "ball.ply": colored.export(file_type="ply"),
        "ball.stl": ball().export(file_type="stl"),
        "text.stl": ball().export(file_type="stl_ascii").encode(),
        "colored.obj": colored.export(file_type="obj", include_color=True).encode(),
    }
    beside = {"cube.mtl": MATERIALS.encode(), "my picture.png": encoded(picture()), "square data.bin": binary}
    for name, content in {**files, **beside}.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}
