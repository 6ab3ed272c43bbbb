"""A toy's ground truth in space: mesh, occupancy, part labels, and samples of the outer surface."""

from __future__ import annotations

import numba
import numpy as np

from distill3d.core.mesh import Mesh
from distill3d.toybox.materials import pattern, second_color
from distill3d.toybox.parts import MATERIALS, Part, Toy
from distill3d.toybox.solids import contains
from distill3d.toybox.surface import area, sample
from distill3d.toybox.tessellation import subdivide, tessellate

_PATTERN_EDGE = 0.07  # longest edge of triangles that carry a pattern, world units
_LIFT = 1e-4  # a surface point is covered when the point this far outside it lies in another part


def mesh(toy: Toy, detail: int = 32) -> Mesh:
    """The parts' triangles, one closed surface a part (parts overlap, nothing is cut away).

    Args:
        detail: segments around round primitives, at least 3, even.
    Returns:
        Colours at the vertices (patterned parts are subdivided until the pattern shows) and `face_labels`, the
        position in `toy.parts`.
    """
    all_points, all_faces, all_colors, labels, count = [], [], [], [], 0
    for i, part in enumerate(toy.parts):
        points, faces = tessellate(part.shape, part.size, detail)
        if part.material != "plain":
            while _longest_edge(points, faces) > _PATTERN_EDGE and len(faces) < 10_000:
                points, faces = subdivide(points, faces)
        all_colors.append(_colors(part, points, _vertex_normals(points, faces)))
        all_points.append(points @ part.rotation.T + np.asarray(part.center))
        all_faces.append(faces + count)
        labels.append(np.full(len(faces), i, np.int32))
        count += len(points)
    return Mesh(
        np.concatenate(all_points),
        np.concatenate(all_faces),
        colors=np.concatenate(all_colors).astype(np.float32),
        face_labels=np.concatenate(labels),
        name=toy.captions[0],
    )


def occupancy(toy: Toy, points: np.ndarray) -> np.ndarray:
    """Whether `points` [N, 3] lie in some part, [N] bool; exact."""
    return part_labels(toy, points) >= 0


def part_labels(toy: Toy, points: np.ndarray) -> np.ndarray:
    """Position in `toy.parts` of the part that holds each of `points` [N, 3], [N] int, -1 outside.

    Where parts overlap the later one counts, for details are listed after what they sit on.
    """
    points = np.asarray(points, np.float64)
    labels = np.full(len(points), -1)
    for i, part in enumerate(toy.parts):
        labels[contains(part, points)] = i
    return labels


def surface_samples(
    toy: Toy, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`n` points spread evenly over the outer surface.

    Returns:
        points [n, 3], unit outward normals [n, 3], colours [n, 3] in 0..1 with the materials' patterns, and part
        labels [n].
    """
    shares = np.array([area(part) for part in toy.parts])
    shares /= shares.sum()
    found: list[tuple[np.ndarray, ...]] = []
    total = 0
    while total < n:
        counts = rng.multinomial(2 * (n - total) + 32, shares)
        batch = [_part_samples(toy, i, int(k), rng) for i, k in enumerate(counts) if k]
        found += batch
        total += sum(len(points) for points, *_ in batch)
    points, normals, colors, labels = (np.concatenate(columns) for columns in zip(*found, strict=True))
    kept = rng.permutation(len(points))[:n]
    return points[kept], normals[kept], colors[kept], labels[kept]


def _part_samples(toy: Toy, index: int, n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Points of one part that no other part covers, with normals, colours and labels."""
    part = toy.parts[index]
    local, normals = sample(part, n, rng)
    colors = _colors(part, local, normals)
    points = local @ part.rotation.T + np.asarray(part.center)
    normals = normals @ part.rotation.T
    free = np.ones(n, bool)
    for i, other in enumerate(toy.parts):
        if i != index:
            free &= ~contains(other, points + _LIFT * normals)
    return points[free], normals[free], colors[free], np.full(int(free.sum()), index)


def _colors(part: Part, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Colours [N, 3] of the part's material at points of its own frame."""
    if part.material == "plain":
        return np.tile(np.asarray(part.color), (len(points), 1))
    return _patterned(MATERIALS.index(part.material), points, normals, np.asarray(part.color))


@numba.njit(cache=True)
def _patterned(material, points, normals, color):
    out = np.empty_like(points)
    for i in range(len(points)):
        p, n = points[i], normals[i]
        shade, second = pattern(material, p[0], p[1], p[2], n[0], n[1], n[2])
        r, g, b = second_color(color[0], color[1], color[2])
        out[i, 0] = shade * (second * r + (1.0 - second) * color[0])
        out[i, 1] = shade * (second * g + (1.0 - second) * color[1])
        out[i, 2] = shade * (second * b + (1.0 - second) * color[2])
    return out


def _longest_edge(points: np.ndarray, faces: np.ndarray) -> float:
    corners = points[faces]
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max())


def _vertex_normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted, unit length."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    normals = np.zeros_like(points)
    np.add.at(normals, faces.ravel(), np.repeat(np.cross(b - a, c - a), 3, axis=0))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
