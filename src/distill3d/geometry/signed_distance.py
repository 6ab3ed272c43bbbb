"""How far points are from a mesh, and on which side."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.spatial import cKDTree

from distill3d.core.errors import UserError
from distill3d.core.mesh import Mesh

SAMPLES = 40_000  # on the surface, about, from which the nearest triangles are found
CANDIDATES = 6  # nearest samples whose triangles are measured exactly
BINS = 128  # along each side of the grid that rays are looked up in


def closest_points(mesh: Mesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest point of the surface.

    The triangles of the nearest of many samples on the surface are measured exactly; a nearer triangle is missed only
    where it is nearer by less than the spacing of the samples.

    Args:
        points: [N, 3].
    Returns:
        distance [N] float64, triangle [N] int64, barycentrics [N, 3] float64.
    Raises:
        UserError: a mesh without faces.
    """
    if not len(mesh.faces):
        raise UserError(f"the mesh {mesh.name!r} has no faces")
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    places, owners = _samples(corners)
    near = owners[cKDTree(places).query(points, k=min(CANDIDATES, len(places)))[1].reshape(len(points), -1)]
    best = np.full(len(points), np.inf)
    triangle, weights = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
    _nearest(np.asarray(points, np.float64), corners, near, best, triangle, weights)
    return best, triangle, weights


def signed_distance(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Distance of `points` [N, 3] to the surface, negative inside (see `inside`): [N] float64."""
    return np.where(inside(mesh, points), -1.0, 1.0) * closest_points(mesh, points)[0]


def inside(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Whether `points` [N, 3] lie inside: [N] bool.

    A ray leaves the point and adds one for every triangle that it meets from behind, and takes one off for every
    triangle that it meets from the front: the winding number, which also holds where closed parts overlap. Three rays
    vote, so that a hole in the surface misleads only those that pass through it.
    """
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    volume = np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]  # no ray runs along a grid or a box
    rotation *= np.sign(np.linalg.det(rotation))
    votes = np.zeros(len(points), np.int64)
    turned, places = corners @ rotation, np.asarray(points, np.float64) @ rotation
    for axis in range(3):
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        winding = _windings(np.ascontiguousarray(places[:, order]), np.ascontiguousarray(turned[:, :, order]), BINS)
        votes += winding * np.sign(volume) > 0
    return votes >= 2


def _samples(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [S, 3] spread over triangles [F, 3, 3] by their area, at least one each, and the triangle of each."""
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    counts = 1 + np.floor(area / max(area.sum(), 1e-300) * SAMPLES).astype(np.int64)
    owners = np.repeat(np.arange(len(corners)), counts)
    index = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    # an additive recurrence (Roberts 2018, R2) folded into the triangle: even, and the same each time
    u, v = (index * 0.7548776662466927 + 1 / 3) % 1, (index * 0.5698402909980532 + 1 / 3) % 1
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], 1)
    return np.einsum("sk,skc->sc", weights, corners[owners]), owners


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(points, corners, near, best, triangle, weights):  # type: ignore[no-untyped-def]
    """The exact distance to the candidates [N, K] (Ericson 2005, "Real-time collision detection", section 5.1.5)."""
    for n in range(len(points)):
        p = points[n]
        for c in range(near.shape[1]):
            f = near[n, c]
            if c > 0 and f == near[n, c - 1]:
                continue
            a, b, d = corners[f, 0], corners[f, 1], corners[f, 2]
            ab, ac = b - a, d - a
            d1, d2 = np.dot(ab, p - a), np.dot(ac, p - a)
            d3, d4 = np.dot(ab, p - b), np.dot(ac, p - b)
            d5, d6 = np.dot(ab, p - d), np.dot(ac, p - d)
            va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
            v, w = 0.0, 0.0
            if d1 <= 0 and d2 <= 0:
                pass
            elif d3 >= 0 and d4 <= d3:
                v = 1.0
            elif d6 >= 0 and d5 <= d6:
                w = 1.0
            elif vc <= 0 and d1 >= 0 and d3 <= 0:
                v = d1 / (d1 - d3)
            elif vb <= 0 and d2 >= 0 and d6 <= 0:
                w = d2 / (d2 - d6)
            elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
                w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
                v = 1.0 - w
            else:
                total = va + vb + vc
                if total > 0:
                    v, w = vb / total, vc / total
            away = p - a - v * ab - w * ac
            length = np.sqrt(np.dot(away, away))
            if length < best[n]:
                best[n], triangle[n] = length, f
                weights[n, 0], weights[n, 1], weights[n, 2] = 1.0 - v - w, v, w


@njit(cache=True, nogil=True, error_model="numpy")
def _windings(points, corners, bins):  # type: ignore[no-untyped-def]
    """Signed number of triangles above each point, along the last axis."""
    low0, low1 = corners[:, :, 0].min(), corners[:, :, 1].min()
    scale0 = bins / max(corners[:, :, 0].max() - low0, 1e-12) * (1.0 - 1e-9)
    scale1 = bins / max(corners[:, :, 1].max() - low1, 1e-12) * (1.0 - 1e-9)
    starts = np.zeros(bins * bins + 1, np.int64)
    boxes = np.empty((len(corners), 4), np.int64)
    for f in range(len(corners)):
        x, y = corners[f, :, 0], corners[f, :, 1]
        boxes[f, 0], boxes[f, 1] = int((x.min() - low0) * scale0), int((x.max() - low0) * scale0)
        boxes[f, 2], boxes[f, 3] = int((y.min() - low1) * scale1), int((y.max() - low1) * scale1)
        for i in range(boxes[f, 0], boxes[f, 1] + 1):
            for j in range(boxes[f, 2], boxes[f, 3] + 1):
                starts[i * bins + j + 1] += 1
    starts = np.cumsum(starts)
    listed, place = np.empty(starts[-1], np.int64), starts.copy()
    for f in range(len(corners)):
        for i in range(boxes[f, 0], boxes[f, 1] + 1):
            for j in range(boxes[f, 2], boxes[f, 3] + 1):
                listed[place[i * bins + j]] = f
                place[i * bins + j] += 1
    winding = np.zeros(len(points), np.int64)
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i, j = np.floor((x - low0) * scale0), np.floor((y - low1) * scale1)
        if not (0 <= i < bins and 0 <= j < bins):
            continue
        cell = int(i) * bins + int(j)
        for at in range(starts[cell], starts[cell + 1]):
            a, b, c = corners[listed[at], 0], corners[listed[at], 1], corners[listed[at], 2]
            w0 = (b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)
            w1 = (c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)
            w2 = (a[0] - x) * (b[1] - y) - (a[1] - y) * (b[0] - x)
            if (w0 >= 0) == (w1 >= 0) == (w2 >= 0):
                total = w0 + w1 + w2
                if total != 0 and (w0 * a[2] + w1 * b[2] + w2 * c[2]) / total > z:
                    winding[n] += 1 if total > 0 else -1
    return winding
