"""Exact pictures of a toy: every pixel's ray against every primitive whose bounds it can meet, as numba code.

The primitives are those of `parts.SHAPES`, in their order. Intersections are analytic, except for the torus, whose
exact signed distance is sphere-traced.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from distill3d.toybox.materials import pattern, second_color

BOX, ELLIPSOID, FRUSTUM, TORUS, CAPSULE, PYRAMID, WEDGE = range(7)
MISS = 1e30
AMBIENT, DIFFUSE = 0.35, 0.65  # of the headlight at full strength: AMBIENT + DIFFUSE * max(0, n.v)

_jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@_jit
def _box(o, d, s, n):
    near, far, axis, sign = -MISS, MISS, 0, 1.0
    for k in range(3):
        if abs(d[k]) < 1e-12:
            if abs(o[k]) > s[k]:
                return MISS
            continue
        t0 = (-s[k] - o[k]) / d[k]
        t1 = (s[k] - o[k]) / d[k]
        side = -1.0
        if t0 > t1:
            t0, t1, side = t1, t0, 1.0
        if t0 > near:
            near, axis, sign = t0, k, side
        far = min(far, t1)
    if near > far or near <= 0:
        return MISS
    n[0] = n[1] = n[2] = 0.0
    n[axis] = sign
    return near


@_jit
def _ellipsoid(o, d, s, n):
    a = b = c = 0.0
    for k in range(3):
        ok, dk = o[k] / s[k], d[k] / s[k]
        a += dk * dk
        b += ok * dk
        c += ok * ok
    h = b * b - a * (c - 1.0)
    if h < 0:
        return MISS
    t = (-b - math.sqrt(h)) / a
    if t <= 0:
        return MISS
    length = 0.0
    for k in range(3):
        n[k] = (o[k] + t * d[k]) / (s[k] * s[k])
        length += n[k] * n[k]
    length = 1.0 / math.sqrt(length)
    for k in range(3):
        n[k] *= length
    return t


@_jit
def _frustum(o, d, s, n):
    r0, r1, c = s[0], s[1], s[2]
    k = (r1 - r0) / (2.0 * c)
    m = 0.5 * (r0 + r1)  # radius(z) = m + k z
    best = MISS
    qa = d[0] * d[0] + d[1] * d[1] - k * k * d[2] * d[2]
    rz = m + k * o[2]
    qb = o[0] * d[0] + o[1] * d[1] - k * d[2] * rz
    qc = o[0] * o[0] + o[1] * o[1] - rz * rz
    roots = 0
    ta = tb = MISS
    if abs(qa) > 1e-9:
        h = qb * qb - qa * qc
        if h >= 0:
            h = math.sqrt(h)
            ta, tb = (-qb - h) / qa, (-qb + h) / qa
            roots = 2
    elif abs(qb) > 1e-12:
        ta, roots = -0.5 * qc / qb, 1
    for i in range(roots):
        t = ta if i == 0 else tb
        z = o[2] + t * d[2]
        if t > 0 and t < best and abs(z) <= c and m + k * z >= 0:
            best = t
    if best < MISS:
        x, y, z = o[0] + best * d[0], o[1] + best * d[1], o[2] + best * d[2]
        radius = max(m + k * z, 1e-9)
        scale = 1.0 / math.sqrt(1.0 + k * k)
        n[0], n[1], n[2] = x / radius * scale, y / radius * scale, -k * scale
    if abs(d[2]) > 1e-12:
        for i in range(2):
            zc = -c if i == 0 else c
            r = r0 if i == 0 else r1
            t = (zc - o[2]) / d[2]
            x, y = o[0] + t * d[0], o[1] + t * d[1]
            if t > 0 and t < best and x * x + y * y <= r * r:
                best = t
                n[0], n[1], n[2] = 0.0, 0.0, -1.0 if i == 0 else 1.0
    return best


@_jit
def _torus(o, d, s, n):
    big, tube = s[0], s[1]
    bound = big + tube
    b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
    c = o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - bound * bound
    h = b * b - c
    if h < 0:
        return MISS
    h = math.sqrt(h)
    t, end = -b - h, -b + h
    if abs(d[2]) > 1e-9:  # the ring lies between z = -tube and z = +tube
        t0, t1 = (-tube - o[2]) / d[2], (tube - o[2]) / d[2]
        t, end = max(t, min(t0, t1)), min(end, max(t0, t1))
    elif abs(o[2]) > tube:
        return MISS
    t = max(t, 1e-4)
    for _ in range(80):
        if t > end:
            return MISS
        x, y, z = o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
        q = math.sqrt(x * x + y * y)
        distance = math.sqrt((q - big) ** 2 + z * z) - tube
        if distance < 2e-4:
            ring = (q - big) / max(q, 1e-9)
            length = 1.0 / max(math.sqrt((q - big) ** 2 + z * z), 1e-9)
            n[0], n[1], n[2] = x * ring * length, y * ring * length, z * length
            return t
        t += distance
    return MISS


@_jit
def _capsule(o, d, s, n):
    r, half = s[0], s[1]
    best = MISS
    a = d[0] * d[0] + d[1] * d[1]
    b = o[0] * d[0] + o[1] * d[1]
    h = b * b - a * (o[0] * o[0] + o[1] * o[1] - r * r)
    if h >= 0 and a > 1e-12:
        t = (-b - math.sqrt(h)) / a
        z = o[2] + t * d[2]
        if t > 0 and abs(z) <= half:
            best = t
            n[0], n[1], n[2] = (o[0] + t * d[0]) / r, (o[1] + t * d[1]) / r, 0.0
    for i in range(2):
        zc = -half if i == 0 else half
        oz = o[2] - zc
        b = o[0] * d[0] + o[1] * d[1] + oz * d[2]
        h = b * b - (o[0] * o[0] + o[1] * o[1] + oz * oz - r * r)
        if h >= 0:
            t = -b - math.sqrt(h)
            if t > 0 and t < best and (o[2] + t * d[2] - zc) * zc >= 0:
                best = t
                n[0], n[1], n[2] = (o[0] + t * d[0]) / r, (o[1] + t * d[1]) / r, (oz + t * d[2]) / r
    return best


@_jit
def _convex(o, d, planes, count, n):
    """Nearest entry into the intersection of half-spaces `planes[:count, :3] . p <= planes[:count, 3]`."""
    near, far, which = -MISS, MISS, -1
    for i in range(count):
        slope = planes[i, 0] * d[0] + planes[i, 1] * d[1] + planes[i, 2] * d[2]
        gap = planes[i, 3] - (planes[i, 0] * o[0] + planes[i, 1] * o[1] + planes[i, 2] * o[2])
        if abs(slope) < 1e-12:
            if gap < 0:
                return MISS
            continue
        t = gap / slope
        if slope < 0:
            if t > near:
                near, which = t, i
        else:
            far = min(far, t)
    if near > far or near <= 0 or which < 0:
        return MISS
    n[0], n[1], n[2] = planes[which, 0], planes[which, 1], planes[which, 2]
    return near


@_jit
def _planes(shape, s, planes):
    """The half-spaces of a pyramid or a wedge, with unit normals; returns how many."""
    a, b, c = s[0], s[1], s[2]
    planes[0, 0], planes[0, 1], planes[0, 2], planes[0, 3] = 0.0, 0.0, -1.0, c
    count = 1
    for axis in range(2):
        extent = a if axis == 0 else b
        other = 1 - axis
        for side in range(2):
            sign = -1.0 if side == 0 else 1.0
            if shape == WEDGE and axis == 0:
                planes[count, 0], planes[count, 1], planes[count, 2], planes[count, 3] = sign, 0.0, 0.0, a
            else:
                length = math.sqrt(4.0 * c * c + extent * extent)
                planes[count, axis], planes[count, other] = sign * 2.0 * c / length, 0.0
                planes[count, 2], planes[count, 3] = extent / length, extent * c / length
            count += 1
    return count


@_jit
def _extent(shape, s, half):
    """Half extents of a primitive's bounding box in its own frame."""
    if shape == FRUSTUM:
        half[0] = half[1] = max(s[0], s[1])
        half[2] = s[2]
    elif shape == TORUS:
        half[0] = half[1] = s[0] + s[1]
        half[2] = s[1]
    elif shape == CAPSULE:
        half[0] = half[1] = s[0]
        half[2] = s[0] + s[1]
    else:
        half[0], half[1], half[2] = s[0], s[1], s[2]


@_jit
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
        _extent(shape, s, half)
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
            count = _planes(shape, s, planes)
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
                    t = _box(ol, dl, s, n)
                elif shape == ELLIPSOID:
                    t = _ellipsoid(ol, dl, s, n)
                elif shape == FRUSTUM:
                    t = _frustum(ol, dl, s, n)
                elif shape == TORUS:
                    t = _torus(ol, dl, s, n)
                elif shape == CAPSULE:
                    t = _capsule(ol, dl, s, n)
                else:
                    t = _convex(ol, dl, planes, count, n)
                if t < depth[i, j]:
                    depth[i, j] = t
                    part[i, j] = p
                    for k in range(3):
                        normal[i, j, k] = rotation[k, 0] * n[0] + rotation[k, 1] * n[1] + rotation[k, 2] * n[2]


@_jit
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
