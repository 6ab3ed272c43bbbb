"""Exact pictures of a toy: every pixel's ray against every primitive whose bounds it can meet, as numba code."""

from __future__ import annotations

import math

import numpy as np

from distill3d.toybox.intersections import (
    BOX,
    CAPSULE,
    ELLIPSOID,
    FRUSTUM,
    MISS,
    PYRAMID,
    TORUS,
    WEDGE,
    box,
    capsule,
    convex,
    ellipsoid,
    extent,
    frustum,
    half_spaces,
    jit,
    torus,
)
from distill3d.toybox.materials import pattern, second_color

AMBIENT, DIFFUSE = 0.35, 0.65  # of the headlight at full strength: AMBIENT + DIFFUSE * max(0, n.v)


@jit
def cast(shapes, sizes, centers, rotations, pose, fx, fy, cx, cy, height, width, depth, normal, part):
    """Nearest surface along the ray of every pixel centre.

    Args:
        shapes [P], sizes [P, 3], centers [P, 3], rotations [P, 3, 3]: the parts.
        pose [4, 4], fx, fy, cx, cy: camera-to-world (OpenGL axes) and intrinsics in pixels.
        depth [H, W], normal [H, W, 3], part [H, W]: written; MISS, 0 and -1 where nothing is hit. Depth is the
            distance along the unit ray, normals are in world space.
    """
    depth[:] = MISS
    normal[:] = 0.0
    part[:] = -1
    o = np.empty(3)
    d = np.empty(3)
    ol = np.empty(3)
    dl = np.empty(3)
    n = np.empty(3)
    half = np.empty(3)
    corner = np.empty(3)
    planes = np.zeros((5, 4))
    for k in range(3):
        o[k] = pose[k, 3]
    for p in range(shapes.shape[0]):
        shape, s, rotation = shapes[p], sizes[p], rotations[p]
        extent(shape, s, half)
        u0, u1, v0, v1 = MISS, -MISS, MISS, -MISS
        behind = False
        for c in range(8):
            for k in range(3):
                sign = 1.0 if (c >> k) & 1 else -1.0
                ol[k] = sign * half[k]
            for k in range(3):
                corner[k] = centers[p, k] - o[k]
                for j in range(3):
                    corner[k] += rotation[k, j] * ol[j]
            x = y = z = 0.0
            for k in range(3):
                x += pose[k, 0] * corner[k]
                y += pose[k, 1] * corner[k]
                z -= pose[k, 2] * corner[k]
            if z < 1e-3:
                behind = True
                break
            u, v = cx + fx * x / z, cy - fy * y / z
            u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
        if behind:
            i0, i1, j0, j1 = 0, height, 0, width
        else:
            j0, j1 = max(0, int(math.floor(u0 - 0.5))), min(width, int(math.ceil(u1 + 0.5)))
            i0, i1 = max(0, int(math.floor(v0 - 0.5))), min(height, int(math.ceil(v1 + 0.5)))
        for k in range(3):
            ol[k] = 0.0
            for j in range(3):
                ol[k] += rotation[j, k] * (o[j] - centers[p, j])
        count = 0
        if shape == PYRAMID or shape == WEDGE:
            count = half_spaces(shape, s, planes)
        for i in range(i0, i1):
            y = -(i + 0.5 - cy) / fy
            for j in range(j0, j1):
                x = (j + 0.5 - cx) / fx
                inverse = 1.0 / math.sqrt(x * x + y * y + 1.0)
                for k in range(3):
                    d[k] = (pose[k, 0] * x + pose[k, 1] * y - pose[k, 2]) * inverse
                for k in range(3):
                    dl[k] = rotation[0, k] * d[0] + rotation[1, k] * d[1] + rotation[2, k] * d[2]
                if shape == BOX:
                    t = box(ol, dl, s, n)
                elif shape == ELLIPSOID:
                    t = ellipsoid(ol, dl, s, n)
                elif shape == FRUSTUM:
                    t = frustum(ol, dl, s, n)
                elif shape == TORUS:
                    t = torus(ol, dl, s, n)
                elif shape == CAPSULE:
                    t = capsule(ol, dl, s, n)
                else:
                    t = convex(ol, dl, planes, count, n)
                if t < depth[i, j]:
                    depth[i, j] = t
                    part[i, j] = p
                    for k in range(3):
                        normal[i, j, k] = rotation[k, 0] * n[0] + rotation[k, 1] * n[1] + rotation[k, 2] * n[2]


@jit
def shade(depth, normal, part, centers, rotations, colors, materials, pose, fx, fy, cx, cy, light, factor, rgba):
    """Colours of a cast at `factor` times the picture's size, averaged down to it.

    Args:
        light: strength of the light at the camera, 0 (plain colour) to 1.
        rgba: [H, W, 4] float32, written: colour premultiplied by coverage, and coverage.
    """
    height, width = rgba.shape[0], rgba.shape[1]
    q = np.empty(3)
    m = np.empty(3)
    share = 1.0 / (factor * factor)
    rgba[:] = 0.0
    for i in range(height * factor):
        for j in range(width * factor):
            p = part[i, j]
            if p < 0:
                continue
            x, y = (j + 0.5 - cx) / fx, -(i + 0.5 - cy) / fy
            inverse = 1.0 / math.sqrt(x * x + y * y + 1.0)
            facing = 0.0
            for k in range(3):
                dk = (pose[k, 0] * x + pose[k, 1] * y - pose[k, 2]) * inverse
                facing -= dk * normal[i, j, k]
                q[k] = pose[k, 3] + depth[i, j] * dk - centers[p, k]
            r, g, b = colors[p, 0], colors[p, 1], colors[p, 2]
            if materials[p] != 0:
                lx = ly = lz = 0.0
                for k in range(3):
                    m[k] = 0.0
                    for l in range(3):
                        m[k] += rotations[p, l, k] * normal[i, j, l]
                    lx += rotations[p, k, 0] * q[k]
                    ly += rotations[p, k, 1] * q[k]
                    lz += rotations[p, k, 2] * q[k]
                tone, other = pattern(materials[p], lx, ly, lz, m[0], m[1], m[2])
                if other > 0:
                    r, g, b = second_color(r, g, b)
                r, g, b = r * tone, g * tone, b * tone
            gain = (1.0 - light) + light * (AMBIENT + DIFFUSE * max(0.0, facing))
            ii, jj = i // factor, j // factor
            rgba[ii, jj, 0] += share * gain * r
            rgba[ii, jj, 1] += share * gain * g
            rgba[ii, jj, 2] += share * gain * b
            rgba[ii, jj, 3] += share
