"""Compositing in vectors of eight samples: a sum over the samples in front becomes a prefix sum in a register.

A ray is walked sixteen samples at a time, forward, and eight, backward. Within a vector, sums are float32 and each goes
through three additions; what a vector hands on to the next is double, and what is summed lane by lane is emptied into
doubles every `FLUSH` samples: no error grows with the length of a ray. Distances count from the ray's first sample, so
that far rays keep their digits (the distortion does not change by that, and the depth comes back from the opacity).

The backward pass goes front to back like the forward pass. The gradient with respect to the density of sample k is
`step (T_{k+1} g_k - sum_{j>k} w_j g_j)` with g_k the gradient with respect to its weight; the sum behind k is the
total minus the prefix, and the total follows from the outputs, so one scalar of state a ray is enough: no second
sweep and no division. (The distortion is homogeneous of degree two in the weights: its total is twice its value.) Of a
part of g that is the same for all samples of a ray, what is left is its product with the light that passes the ray.
"""

from __future__ import annotations

import numba
import numpy as np

from distill3d.kernels.simd import (
    float_i8,
    floor_at_f8,
    fma_f8,
    splat_f8,
    store_f8,
    truncate_f8,
    two_to_i8,
)
from distill3d.kernels.simd_double import store_triples_f8
from distill3d.kernels.simd_scan import (
    clear,
    first_lanes_f8,
    lane_f8,
    leading_i8,
    load_first_f8,
    load_triples_first_f8,
    scan_f8,
    shift_in_f8,
    store_first_f8,
    store_triples_first_f8,
)
from distill3d.kernels.splatting_simd import at_least_f8, constant, less_f8, prefetch, sums_f8

BLOCK = 64  # rays that a thread takes at a time
FLUSH = 128  # samples whose sums are kept in lanes
AHEAD = 4  # rays between the one in work and the one whose samples are asked for


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _fetch(a, b, c, triples, s):  # type: ignore[no-untyped-def]
    """Asks for sixteen samples from s on. Where a ray stops early, no processor guesses where the next one begins."""
    for array in (a, b, c):
        prefetch(array, s)
        prefetch(array, s + 15)
    for k in (0, 16, 32, 47):
        prefetch(triples, 3 * s + k)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _passing(x):  # type: ignore[no-untyped-def]
    """exp(x) and 1 - exp(x) for x <= 0, each relative to 2e-7. NaN stays NaN.

    exp(x) = 2^k exp(r), |r| <= log(2) / 2, and exp(r) - 1 is a polynomial without a constant: small opacities keep
    their digits.
    """
    one, half = constant(1.0), constant(0.5)
    x = floor_at_f8(constant(-87.0), x)
    whole = truncate_f8(x * constant(1.4426950408889634) - half)
    k = float_i8(whole)
    r = fma_f8(k, constant(2.12194440e-4), fma_f8(k, constant(-0.693359375), x))
    p = fma_f8(constant(1 / 5040), r, constant(1 / 720))
    p = fma_f8(p, r, constant(1 / 120))
    p = fma_f8(p, r, constant(1 / 24))
    p = fma_f8(p, r, constant(1 / 6))
    p = fma_f8(fma_f8(p, r, half) * r, r, r)  # exp(r) - 1
    power = two_to_i8(whole)
    rest = p * power
    return power + rest, (one - power) - rest


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _front(colors, s, count, alive):  # type: ignore[no-untyped-def]
    """Eight colours of which the first `alive` count; the others may be anything, NaN included."""
    c0, c1, c2 = load_triples_first_f8(colors, 3 * s, count)
    return first_lanes_f8(c0, alive), first_lanes_f8(c1, alive), first_lanes_f8(c2, alive)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _surface(weights, t, first, end, threshold):  # type: ignore[no-untyped-def]
    """t of the first sample up to which the weights reach the threshold; 0 where none does."""
    passed = 0.0
    for s in range(first, end, 8):
        inside = scan_f8(load_first_f8(weights, s, end - s)) + splat_f8(np.float32(passed))
        before = leading_i8(less_f8(inside, splat_f8(np.float32(threshold))))
        if before < 8:
            return t[min(s + before, end - 1)]
        passed = np.float64(lane_f8(inside, 7))
    return np.float32(0)


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def composite_forward(  # type: ignore[no-untyped-def]
    density, color, t, offsets, rgb, alpha, depth, distortion, weights, surface, ends, step, stop, share
):
    """Fills the arrays from `rgb` on; `ends` [R] are the samples at which the rays stopped."""
    rays, colors = len(alpha), color.reshape(-1)
    for block in numba.prange((rays + BLOCK - 1) // BLOCK):
        zero = constant(0.0)
        scale, least = splat_f8(np.float32(-step)), splat_f8(np.float32(stop))
        for r in range(block * BLOCK, min(block * BLOCK + BLOCK, rays)):
            first, end = offsets[r], offsets[r + 1]
            ends[r] = end
            rgb[r, 0], rgb[r, 1], rgb[r, 2] = 0.0, 0.0, 0.0
            alpha[r], depth[r], distortion[r], surface[r] = 0.0, 0.0, 0.0, 0.0
            if first == end:
                continue
            _fetch(density, t, weights, colors, offsets[min(r + AHEAD, rays - 1)])
            start = splat_f8(t[first])
            optical, moment = 0.0, 0.0  # sums in front of the sixteen
            red, green, blue, far, pairs, squares = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            reds, greens, blues, fars, pair, square = zero, zero, zero, zero, zero, zero
            passes, hidden = constant(1.0), zero  # last lane: transmittance in front of the sixteen, and 1 minus it
            opacity = np.float32(0)
            for s in range(first, end, 16):
                count = end - s
                x0, x1 = load_first_f8(density, s, count) * scale, load_first_f8(density, s + 8, count - 8) * scale
                along0, along1 = scan_f8(x0), scan_f8(x1)
                between = optical + np.float64(lane_f8(along0, 7))
                after0, gone0 = _passing(along0 + splat_f8(np.float32(optical)))
                after1, gone1 = _passing(along1 + splat_f8(np.float32(between)))
                optical = between + np.float64(lane_f8(along1, 7))
                front0, front1 = shift_in_f8(after0, passes), shift_in_f8(after1, after0)  # transmittance
                mass0, mass1 = shift_in_f8(gone0, hidden), shift_in_f8(gone1, gone0)  # 1 - transmittance
                passes, hidden = after1, gone1
                alive0, alive1 = leading_i8(at_least_f8(front0, least)), leading_i8(at_least_f8(front1, least))
                alive = min(alive0 + (alive1 if alive0 == 8 else 0), count)
                w0 = first_lanes_f8(front0 * _passing(x0)[1], alive)
                w1 = first_lanes_f8(front1 * _passing(x1)[1], alive - 8)
                if count >= 16:
                    store_f8(weights, s, w0)
                    store_f8(weights, s + 8, w1)
                else:
                    store_first_f8(weights, s, count, w0)
                    store_first_f8(weights, s + 8, count - 8, w1)
                # loads do not wait for `alive`: they would come one ray after another out of memory
                t0 = first_lanes_f8(load_first_f8(t, s, count) - start, alive)
                t1 = first_lanes_f8(load_first_f8(t, s + 8, count - 8) - start, alive - 8)
                part0, part1 = w0 * t0, w1 * t1
                moments0, moments1 = scan_f8(part0), scan_f8(part1)
                between = moment + np.float64(lane_f8(moments0, 7))
                before0 = shift_in_f8(moments0, zero) + splat_f8(np.float32(moment))
                before1 = shift_in_f8(moments1, zero) + splat_f8(np.float32(between))
                moment = between + np.float64(lane_f8(moments1, 7))
                fars = fars + (part0 + part1)
                gap0 = first_lanes_f8(t0 * mass0 - before0, alive)
                gap1 = first_lanes_f8(t1 * mass1 - before1, alive - 8)
                pair = fma_f8(w1, gap1, fma_f8(w0, gap0, pair))
                square = fma_f8(w1, w1, fma_f8(w0, w0, square))
                c0, c1, c2 = _front(colors, s, count, alive)
                reds, greens, blues = fma_f8(w0, c0, reds), fma_f8(w0, c1, greens), fma_f8(w0, c2, blues)
                c0, c1, c2 = _front(colors, s + 8, count - 8, alive - 8)
                reds, greens, blues = fma_f8(w1, c0, reds), fma_f8(w1, c1, greens), fma_f8(w1, c2, blues)
                opacity = lane_f8(gone1, 7)
                if alive < min(count, 16):
                    ends[r] = s + alive
                    opacity = lane_f8(mass0, alive) if alive < 8 else lane_f8(mass1, alive - 8)
                    clear(weights, min(s + 16, end), end)
                    break
                if (s + 16 - first) % FLUSH == 0:
                    sums = sums_f8(reds, greens, blues, fars, pair, square, zero, zero)
                    reds, greens, blues, fars, pair, square = zero, zero, zero, zero, zero, zero
                    red, green, blue = red + lane_f8(sums, 0), green + lane_f8(sums, 1), blue + lane_f8(sums, 2)
                    far, pairs, squares = far + lane_f8(sums, 3), pairs + lane_f8(sums, 4), squares + lane_f8(sums, 5)
            sums = sums_f8(reds, greens, blues, fars, pair, square, zero, zero)
            rgb[r, 0], rgb[r, 1], rgb[r, 2] = red + lane_f8(sums, 0), green + lane_f8(sums, 1), blue + lane_f8(sums, 2)
            alpha[r] = opacity
            depth[r] = far + lane_f8(sums, 3) + np.float64(t[first]) * opacity
            distortion[r] = 2.0 * (pairs + lane_f8(sums, 4)) + step / 3.0 * (squares + lane_f8(sums, 5))
            if opacity > 0:
                surface[r] = _surface(weights, t, first, ends[r], share * opacity)


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def composite_backward(  # type: ignore[no-untyped-def]
    color,
    t,
    offsets,
    rgb,
    alpha,
    depth,
    distortion,
    weights,
    ends,
    v_rgb,
    v_alpha,
    v_depth,
    v_distortion,
    v_density,
    v_color,
    step,
):
    """Fills v_density and v_color; a gradient that did not arrive has no rows."""
    rays, colors, v_colors = len(alpha), color.reshape(-1), v_color.reshape(-1)
    for block in numba.prange((rays + BLOCK - 1) // BLOCK):
        one, two, length, third = (
            constant(1.0),
            constant(2.0),
            splat_f8(np.float32(step)),
            splat_f8(np.float32(step / 3)),
        )
        for r in range(block * BLOCK, min(block * BLOCK + BLOCK, rays)):
            first, last, end = offsets[r], ends[r], offsets[r + 1]
            if first == end:
                continue
            _fetch(weights, t, v_density, colors, offsets[min(r + AHEAD, rays - 1)])
            v0 = v1 = v2 = v4 = v5 = np.float32(0)
            v3 = 0.0
            if len(v_rgb):
                v0, v1, v2 = v_rgb[r, 0], v_rgb[r, 1], v_rgb[r, 2]
            if len(v_alpha):
                v3 = np.float64(v_alpha[r])
            if len(v_depth):
                v4 = v_depth[r]
            if len(v_distortion):
                v5 = v_distortion[r] * np.float32(2)
            mass, nearest = np.float64(alpha[r]), np.float64(t[first])
            all_moment = depth[r] - nearest * mass
            behind = v0 * np.float64(rgb[r, 0]) + v1 * np.float64(rgb[r, 1]) + v2 * np.float64(rgb[r, 2])
            behind += v4 * all_moment + v5 * np.float64(distortion[r])
            level = splat_f8(np.float32((v3 + v4 * nearest) * (1.0 - mass)))
            start, red, green, blue = splat_f8(t[first]), splat_f8(v0), splat_f8(v1), splat_f8(v2)
            away, spreading = splat_f8(v4), splat_f8(v5)
            passed, moment = 0.0, 0.0  # sums of w and w t in front of the eight
            for s in range(first, last, 8):
                count = last - s
                w = load_first_f8(weights, s, count)
                distance = load_first_f8(t, s, count) - start
                c0, c1, c2 = load_triples_first_f8(colors, 3 * s, count)
                inside = scan_f8(w)
                up_to = inside + splat_f8(np.float32(passed))
                g = fma_f8(red, c0, fma_f8(green, c1, fma_f8(blue, c2, away * distance)))
                if v5 != 0:
                    # half of d distortion / d w_k: the mean distance to the mass in front and behind
                    moments = scan_f8(w * distance)
                    sides = two * up_to - (w + splat_f8(np.float32(mass)))
                    spread = fma_f8(distance, sides, splat_f8(np.float32(all_moment - 2.0 * moment)))
                    spread = spread - (two * moments - w * distance) + third * w
                    g = fma_f8(spreading, spread, g)
                    moment += np.float64(lane_f8(moments, 7))
                weighted = scan_f8(w * g)
                rest = splat_f8(np.float32(behind)) - weighted - level
                passed += np.float64(lane_f8(inside, 7))
                behind -= np.float64(lane_f8(weighted, 7))
                v = first_lanes_f8(length * ((one - up_to) * g - rest), count)
                if s + 8 <= end:
                    store_f8(v_density, s, v)
                    store_triples_f8(v_colors, 3 * s, w * red, w * green, w * blue)
                else:
                    store_first_f8(v_density, s, end - s, v)
                    store_triples_first_f8(v_colors, 3 * s, end - s, w * red, w * green, w * blue)
            written = min(first + (last - first + 7) // 8 * 8, end)
            clear(v_density, written, end)
            clear(v_colors, 3 * written, 3 * end)
