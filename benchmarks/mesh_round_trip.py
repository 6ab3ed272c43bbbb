"""Meshes written and read again: how far geometry and texture are from what they were.

Textured and coloured balls of the program's own, and, where they are here, the shared meshes that others made (Spot
with its texture, the bunny, the teapot ...), each scaled into the unit ball. Every triangle is compared with itself,
corner by corner, so that the order of vertices does not matter. GLB is what is promised; OBJ and PLY are printed too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import trimesh
from figures import Figure, main

from distill3d.core.mesh import Mesh
from distill3d.files.meshes import read_mesh
from distill3d.geometry.unwrap import unwrap
from distill3d.run.export import write_mesh

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "meshes"


def own_meshes(quick: bool) -> dict[str, Mesh]:
    """Balls with every kind of colour, of triangles from large to small."""
    rng = np.random.default_rng(0)
    sphere = trimesh.creation.icosphere(subdivisions=4 if quick else 6)
    plain = Mesh(sphere.vertices, sphere.faces, name="ball")
    colored = Mesh(sphere.vertices, sphere.faces, rng.random((len(sphere.vertices), 3)).astype(np.float32))
    coarse = trimesh.creation.icosphere(subdivisions=4)
    flat = unwrap(Mesh(coarse.vertices, coarse.faces), 512)
    flat.texture = rng.random((512, 512, 3)).astype(np.float32)
    return {"ball": plain, "coloured ball": colored, "textured ball": flat}


def shared_meshes() -> dict[str, Mesh]:
    paths = [*sorted(SHARED.glob("*.obj")), *sorted(SHARED.glob("spot/*.obj"))]
    return {path.stem: read_mesh(path).mesh.in_unit_ball() for path in paths}


def differences(before: Mesh, after: Mesh) -> dict[str, float]:
    """Largest differences: places in world units, texture coordinates, texture and vertex colours in 255ths."""
    if len(before.faces) != len(after.faces):
        return {"geometry": float("inf")}
    found = {"geometry": np.abs(before.vertices[before.faces] - after.vertices[after.faces]).max()}
    if before.uv is not None and after.uv is not None:
        found["uv"] = np.abs(before.uv[before.faces] - after.uv[after.faces]).max()
    if before.texture is not None and after.texture is not None:
        found["texture"] = 255 * np.abs(before.texture - after.texture).max()
    if before.colors is not None and after.colors is not None:
        found["colors"] = 255 * np.abs(before.colors[before.faces] - after.colors[after.faces]).max()
    return {name: float(value) for name, value in found.items()}


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    meshes = {**own_meshes(options.quick), **({} if options.quick else shared_meshes())}
    worst = {"geometry": 0.0, "texture": 0.0, "colors": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        for name, mesh in meshes.items():
            for kind in ("glb", "obj", "ply"):
                start = time.perf_counter()
                path = write_mesh(mesh, Path(folder) / f"mesh.{kind}", kind)[0]
                wrote = time.perf_counter()
                found = differences(mesh, read_mesh(path).mesh)
                seconds = wrote - start, time.perf_counter() - wrote
                options.raw[f"{name} {kind}"] = {**found, "write_s": seconds[0], "read_s": seconds[1]}
                text = ", ".join(f"{what} {value:.2g}" for what, value in found.items())
                print(f"{name} ({len(mesh.faces):,} faces) {kind}: {text}; {seconds[0]:.2f} s + {seconds[1]:.2f} s")
                if kind == "glb":
                    worst = {what: max(value, found.get(what, 0.0)) for what, value in worst.items()}
                    if (mesh.texture is not None) != ("texture" in found):
                        worst["texture"] = float("nan")  # it was lost
    yield Figure("mesh_round_trip_geometry", worst["geometry"], goal=1e-5, at_most=True)
    yield Figure("mesh_round_trip_texture_255ths", worst["texture"], goal=2, at_most=True)
    yield Figure("mesh_round_trip_vertex_colors_255ths", worst["colors"], goal=2, at_most=True)


if __name__ == "__main__":
    main(__doc__, measure)
