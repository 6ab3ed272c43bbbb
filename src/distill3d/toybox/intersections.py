"""Where a ray first enters a primitive, and with which normal, as numba code; and the primitives' bounds.

The primitives are those of `parts.SHAPES`, in their order. Intersections are analytic, except for the torus, whose
exact signed distance is sphere-traced. Every function takes a ray in the primitive's own frame, origin o and unit
direction d, and its sizes s; it returns the distance, or MISS, and writes the unit normal n.
"""

from __future__ import annotations

import math

import numba as nb

BOX, ELLIPSOID, FRUSTUM, TORUS, CAPSULE, PYRAMID, WEDGE = range(7)
MISS = 1e30

jit = nb.njit(cache=True, error_model="numpy", nogil=True)


@jit
def box(o, d, s, n):
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


@jit
def ellipsoid(o, d, s, n):
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


@jit
def frustum(o, d, s, n):
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


@jit
def torus(o, d, s, n):
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


@jit
def capsule(o, d, s, n):
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


@jit
def convex(o, d, planes, count, n):
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


@jit
def half_spaces(shape, s, planes):
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


@jit
def extent(shape, s, half):
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
