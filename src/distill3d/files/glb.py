"""glTF 2.0 in one binary file (Khronos, "glTF 2.0 Specification", 2021)."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill3d.core.mesh import Mesh
from distill3d.files.atomic import write_bytes
from distill3d.files.pictures import png

FLOAT, UINT = 5126, 5125
VERTICES, INDICES = 34962, 34963
LINEAR, MIPMAPS, CLAMP = 9729, 9987, 33071


def y_up(vectors: np.ndarray) -> np.ndarray:
    """World vectors [N, 3] (z up, front +x) in the axes of glTF (y up, front +z). A rotation: x, y, z -> y, z, x."""
    return np.ascontiguousarray(vectors[:, [1, 2, 0]], np.float32)


def linear(srgb: np.ndarray) -> np.ndarray:
    """Colours as pictures store them -> linear light, which is what glTF wants at vertices (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def write_glb(mesh: Mesh, path: Path, normals: np.ndarray | None = None) -> None:
    """Writes a mesh as GLB, whole or not at all; equal meshes give equal bytes.

    Metres, y up, one world unit is one metre. The material is rough, not metallic, seen from outside only. The texture
    is embedded as PNG; without one, vertex colours are written.

    Args:
        mesh: at least one face.
        normals: [V, 3] unit length, world axes; without them viewers shade each triangle flat.
    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, glb(mesh, normals))


def glb(mesh: Mesh, normals: np.ndarray | None = None) -> bytes:
    """The bytes of the file; see `write_glb`."""
    body = _Body()
    attributes = body.positions(mesh, normals)
    material = _material(mesh.name)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "distill3d"},
        "scene": 0,
        "scenes": [{"name": mesh.name, "nodes": [0]}],
        "nodes": [{"name": mesh.name, "mesh": 0}],
    }
    if mesh.texture is not None and mesh.uv is not None:
        top_left = np.stack([mesh.uv[:, 0], 1.0 - mesh.uv[:, 1]], -1).astype(np.float32)
        attributes["TEXCOORD_0"] = body.accessor(top_left, "VEC2", VERTICES)
        image = body.view(png(mesh.texture))
        document["images"] = [{"name": mesh.name, "mimeType": "image/png", "bufferView": image}]
        document["samplers"] = [{"magFilter": LINEAR, "minFilter": MIPMAPS, "wrapS": CLAMP, "wrapT": CLAMP}]
        document["textures"] = [{"source": 0, "sampler": 0}]
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    elif mesh.colors is not None:
        attributes["COLOR_0"] = body.accessor(linear(np.clip(mesh.colors, 0, 1)), "VEC3", VERTICES)
    document["materials"] = [material]
    primitive = {"attributes": attributes, "indices": body.indices(mesh), "material": 0}
    document["meshes"] = [{"name": mesh.name, "primitives": [primitive]}]
    return body.file(document)


@dataclass(frozen=True)
class Node:
    """An object of its own in a scene, which a viewer can pick by its name and move.

    Args:
        mesh: its surface, in world axes and place; its name is the node's. Vertex colours and texture are left out.
        color: [3] in 0..1 as pictures store it.
        origin: [3] world units, what the object turns and grows about.
        normals: [V, 3] unit length, world axes, or None.
    """

    mesh: Mesh
    color: np.ndarray
    origin: np.ndarray
    normals: np.ndarray | None = None


def nodes_glb(nodes: Sequence[Node], name: str) -> bytes:
    """The bytes of a GLB in which each node is an object with a name and a colour; equal nodes give equal bytes."""
    if not nodes:
        raise ValueError("a scene without nodes shows nothing")
    body = _Body()
    objects, meshes, materials = [], [], []
    for index, node in enumerate(nodes):
        own = replace(node.mesh, vertices=node.mesh.vertices - np.asarray(node.origin, np.float32))
        attributes = body.positions(own, node.normals)
        indices = body.indices(own)
        material = _material(node.mesh.name)
        color = linear(np.clip(node.color, 0, 1)).tolist()
        material["pbrMetallicRoughness"]["baseColorFactor"] = [*color, 1.0]
        materials.append(material)
        primitive = {"attributes": attributes, "indices": indices, "material": index}
        meshes.append({"name": node.mesh.name, "primitives": [primitive]})
        place = y_up(np.asarray(node.origin, np.float32)[None])[0].tolist()
        objects.append({"name": node.mesh.name, "mesh": index, "translation": place})
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "distill3d"},
        "scene": 0,
        "scenes": [{"name": name, "nodes": list(range(len(nodes)))}],
        "nodes": objects,
        "materials": materials,
        "meshes": meshes,
    }
    return body.file(document)


def _material(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "doubleSided": False,
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    }


class _Body:
    """The binary chunk, and the tables that say what lies where."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data += data + b"\0" * (-len(data) % 4)
        return len(self.views) - 1

    def positions(self, mesh: Mesh, normals: np.ndarray | None) -> dict[str, int]:
        """The attributes that say where a surface is."""
        if not len(mesh.faces):
            raise ValueError("a mesh without faces cannot be a glTF primitive")
        attributes = {"POSITION": self.accessor(y_up(mesh.vertices), "VEC3", VERTICES, bounds=True)}
        if normals is not None:
            attributes["NORMAL"] = self.accessor(y_up(normals), "VEC3", VERTICES)
        return attributes

    def indices(self, mesh: Mesh) -> int:
        return self.accessor(mesh.faces.astype(np.uint32).reshape(-1), "SCALAR", INDICES)

    def file(self, document: dict[str, Any]) -> bytes:
        """The document, with these tables in it, and the binary chunk as one file."""
        tables = {"accessors": self.accessors, "bufferViews": self.views, "buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps(document | tables, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.data), b"BIN\0") + bytes(self.data)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def accessor(self, values: np.ndarray, kind: str, target: int, bounds: bool = False) -> int:
        component = UINT if values.dtype == np.uint32 else FLOAT
        accessor: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(values).tobytes(), target),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            accessor |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1
