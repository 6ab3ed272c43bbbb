"""The mesh rasteriser on one thread: milliseconds a picture, gradients of silhouettes, and a shape fitted to pictures.

Speed: a torus of 69,696 triangles at 512 x 512, from vertices and faces to triangle, barycentrics, depth and side of
every pixel, nothing kept from picture to picture. Milliseconds are the thread's processor time, which other programs
disturb less than the clock. Next to it, printed only: what warp's ray caster takes for the same picture on one thread,
where it is installed, and a training step's forward and backward.

Silhouettes: the derivative of the covered area under a change of scale, against central differences of the area counted
with 8 x 8 samples a pixel; in percent. The ball of 20k triangles at 128 x 128 has triangles smaller than a pixel.

Fit: tetrahedra that start as a ball are fitted to 24 pictures (64 x 64) of a toy; the figure is the volumetric
intersection over union with the toy's exact solid.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
import trimesh
from figures import Figure, main, milliseconds
from torch import Tensor

from distill3d.core.cameras import Cameras
from distill3d.core.threads import use_threads
from distill3d.geometry.signed_distance import inside
from distill3d.kernels.antialias import antialias
from distill3d.kernels.interpolate import interpolate
from distill3d.kernels.mesh_edges import mesh_edges
from distill3d.kernels.rasterize import rasterize, visible_triangles
from distill3d.kernels.rasterize_cuda import visible_triangles_warp
from distill3d.renderers import TetrahedraRenderer
from distill3d.renderers.mesh_regularizers import laplacian
from distill3d.renderers.tetrahedra import TetrahedraConfig
from distill3d.toybox.geometry import occupancy
from distill3d.toybox.pictures import pack, picture
from distill3d.toybox.world import toy_from_prompt

TOYS = (("a red mushroom", 60), ("a red car", 120))  # with the steps of their fits
VIEWS = 12  # a step


def torus(major: int, minor: int) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.torus(0.7, 0.28, major_sections=major, minor_sections=minor)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces, dtype=torch.int32)


def speed(rounds: int, raw: dict) -> float:
    """Milliseconds of a picture of 69,696 triangles, median; prints the rest."""
    cameras = Cameras.orbit(0.5, 0.3, 3.0, math.radians(40), 512)
    for major, minor in ((76, 39), (264, 132), (528, 264)):
        vertices, faces = torus(major, minor)
        places, corners = vertices.numpy(), faces.numpy()
        jobs = {"ours": lambda p=places, c=corners: rasterize(p, c, cameras)}
        try:
            import warp  # noqa: F401

            jobs["warp rays"] = lambda v=vertices, f=faces: visible_triangles_warp(v, f, cameras, 1e-4)
        except ImportError:
            print("warp is not installed: its rays are not timed")
        seconds = taking_turns(jobs, rounds)
        print(f"{len(faces)} triangles at 512: " + ", ".join(f"{k} {milliseconds(s)}" for k, s in seconds.items()))
        raw[f"rasterize_{len(faces)}"] = seconds
        if len(faces) == 69_696:
            result = 1e3 * statistics.median(seconds["ours"])
            step = taking_turns({"step": lambda v=vertices, f=faces: training_step(v, f, cameras)}, rounds)["step"]
            print(f"  forward and backward to vertices and colours, antialiased: {milliseconds(step)}")
    return result


def taking_turns(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of every job in every round, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for round_ in range(rounds + 1):
        for name, job in jobs.items():
            start = time.thread_time()
            job()
            if round_:
                seconds[name].append(time.thread_time() - start)
    return seconds


def training_step(vertices: Tensor, faces: Tensor, cameras: Cameras) -> None:
    leaf = vertices.clone().requires_grad_()
    triangle = visible_triangles(leaf, faces, cameras)
    values = torch.cat([torch.ones_like(leaf[:, :1]), leaf], 1)
    seen = interpolate(values, leaf, faces, triangle, cameras)
    antialias(seen, leaf, faces, mesh_edges(faces, len(leaf)), triangle, cameras).square().sum().backward()


def silhouette_error(subdivisions: int) -> float:
    """Percent, of two views."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.6)
    vertices, faces = torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces, dtype=torch.int32)
    cameras = Cameras.orbit(torch.tensor([0.3, 1.7]), torch.tensor([0.2, 0.7]), 3.0, math.radians(40), 128)
    scale = torch.ones((), requires_grad=True)
    places = vertices * scale
    triangle = visible_triangles(places, faces, cameras)
    cover = (triangle >= 0).float()[..., None]
    antialias(cover, places, faces, mesh_edges(faces, len(places)), triangle, cameras).sum().backward()

    def area(s: float) -> float:
        return float((visible_triangles(vertices * s, faces, cameras.resized(1024)) >= 0).double().sum()) / 64

    expected = (area(1.02) - area(0.98)) / 0.04
    found = float(scale.grad or 0.0)
    print(f"{len(faces)} triangles at 128: derivative of the area {found:.0f}, by differences {expected:.0f}")
    return 100 * abs(found / expected - 1)


def fit(prompt: str, steps: int) -> float:
    """Intersection over union of the fitted solid with the toy's."""
    toy = toy_from_prompt(prompt, np.random.default_rng(0))
    packed, count = pack(toy), 24
    turn = torch.arange(count) * math.pi * (3 - math.sqrt(5))
    cameras = Cameras.orbit(turn, torch.asin(torch.linspace(-0.5, 0.9, count)), 3.0, math.radians(40), 64)
    poses, lenses = cameras.camera_to_world.double().numpy(), cameras.intrinsics.double().numpy()
    wanted = torch.tensor(
        np.stack([picture(packed, poses[k], lenses[k], 64, light=0.0, factor=3) for k in range(count)])
    )
    config = TetrahedraConfig(resolution=32, color="vertex", supersampling=1, radius=0.85, lr_distance=0.4)
    renderer = TetrahedraRenderer(config, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(renderer.parameter_groups(), betas=(0.9, 0.99), eps=1e-15)
    rates = [group["lr"] for group in optimizer.param_groups]
    start = time.thread_time()
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - 0.9 * step / steps)
        renderer.advance(step, optimizer)
        chosen = torch.randperm(count, generator=renderer.generator)[:VIEWS]
        seen = renderer(cameras[chosen], torch.zeros(3))
        vertices, _, edges = seen.extras["surface"]
        difference = (torch.cat([seen.rgb, seen.alpha], -1) - wanted[chosen]).square().mean()
        optimizer.zero_grad()
        (difference + 2 * laplacian(vertices, edges)).backward()
        optimizer.step()
    seconds = time.thread_time() - start
    points = np.random.default_rng(1).uniform(-1, 1, (20_000, 3))
    truth, found = occupancy(toy, points), inside(renderer.to_mesh(), points)
    overlap = float((truth & found).sum() / (truth | found).sum())
    print(f"{prompt}: IoU {overlap:.3f} after {steps} steps of {VIEWS} views, {1e3 * seconds / steps:.0f} ms each")
    return overlap


def measure(options: argparse.Namespace) -> Iterable[Figure]:
    use_threads(1)
    rounds = 5 if options.quick else 21
    yield Figure("mesh_rasterize_70k_512", speed(rounds, options.raw), goal=8, unit="ms", at_most=True)
    for name, subdivisions in (("large_triangles", 2), ("triangles_below_a_pixel", 5)):
        yield Figure(f"silhouette_gradient_{name}", silhouette_error(subdivisions), goal=7, unit="%", at_most=True)
    for prompt, steps in TOYS[:1] if options.quick else TOYS:
        yield Figure(f"tetrahedra_fit_{prompt.split()[-1]}", fit(prompt, steps), goal=0.9, unit="IoU")


if __name__ == "__main__":
    main(__doc__, measure)
