"""What splatting needs of eight-lane vectors beyond `kernels.simd`: comparisons, selection, roots, powers, strides.

A mask is an `I8` whose lanes are -1 (yes) or 0 (no); masks combine with `&`. Everything is exact IEEE but `exp2_f8` and
`log2_f8`, which are polynomials: the same bits wherever they run.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from distill3d.kernels.simd import F8, I8, VectorType, _operator, float_i8, floor_at_f8, fma_f8, splat_i8

LANES = ir.IntType(32)
LN2 = math.log(2.0)

_operator(operator.truediv, {F8: "fdiv"})
_operator(operator.or_, {I8: "or_"})


def _call(builder: Any, name: str, vector: VectorType, args: Any) -> Any:
    kind = ir.FunctionType(vector.llvm, [vector.llvm] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


@intrinsic
def sqrt_f8(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "llvm.sqrt.v8f32", F8, args)

    return F8(F8), generate


def _compare(sign: str) -> Any:
    def compare(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.sext(builder.fcmp_ordered(sign, *args), I8.llvm)

        return I8(F8, F8), generate

    return intrinsic(compare)


less_f8, at_least_f8 = _compare("<"), _compare(">=")  # masks; no where a lane is NaN


@intrinsic
def select_f8(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("<", args[0], ir.Constant(I8.llvm, [0] * 8)), args[1], args[2])

    return F8(I8, F8, F8), generate


@intrinsic
def ceiling_at_f8(typing: Any, value: Any, most: Any) -> Any:
    """The smaller of the two; NaN becomes `most`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return F8(F8, F8), generate


@intrinsic
def any_i8(typing: Any, mask: Any) -> Any:
    """Whether any lane of a mask is yes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        signs = builder.icmp_signed("<", args[0], ir.Constant(I8.llvm, [0] * 8))
        return builder.icmp_unsigned("!=", builder.bitcast(signs, ir.IntType(8)), ir.Constant(ir.IntType(8), 0))

    return types.boolean(I8), generate


@intrinsic
def bits_of_f8(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], I8.llvm)

    return I8(F8), generate


@intrinsic
def float_of_bits_i8(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], F8.llvm)

    return F8(I8), generate


@intrinsic
def shift_left_23_i8(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.shl(args[0], ir.Constant(I8.llvm, [23] * 8))

    return I8(I8), generate


@intrinsic
def shift_right_23_i8(typing: Any, value: Any) -> Any:
    """With the sign."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ashr(args[0], ir.Constant(I8.llvm, [23] * 8))

    return I8(I8), generate


@intrinsic
def lanes_f8(typing: Any) -> Any:
    """0, 1 ... 7."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(F8.llvm, [float(k) for k in range(8)])

    return F8(), generate


def _lane_address(context: Any, builder: Any, array_type: Any, args: Any, lane: int) -> Any:
    array, start, stride = args[:3]
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.add(start, builder.mul(stride, stride.type(lane)))])


@intrinsic
def strided_load_f8(typing: Any, array: Any, start: Any, stride: Any) -> Any:
    """The elements start, start + stride ... start + 7 stride of a C-contiguous float32 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = ir.Constant(F8.llvm, ir.Undefined)
        for lane in range(8):
            value = builder.load(_lane_address(context, builder, sig.args[0], args, lane))
            vector = builder.insert_element(vector, value, LANES(lane))
        return vector

    return F8(array, types.intp, types.intp), generate


@intrinsic
def strided_store_f8(typing: Any, array: Any, start: Any, stride: Any, value: Any) -> Any:
    """Puts the eight lanes at start, start + stride ... start + 7 stride."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for lane in range(8):
            element = builder.extract_element(args[3], LANES(lane))
            builder.store(element, _lane_address(context, builder, sig.args[0], args, lane))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, F8), generate


@intrinsic
def sums_f8(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Eight vectors to one, whose lanes are their sums over lanes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def pairs(x: Any, y: Any, first: list[int], second: list[int]) -> Any:
            one, other = (
                builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(LANES, 8), index)) for index in (first, second)
            )
            return builder.fadd(one, other)

        even, odd = [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]
        ab, cd, ef, gh = (pairs(args[k], args[k + 1], even, odd) for k in (0, 2, 4, 6))
        low, high = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
        abcd, efgh = pairs(ab, cd, low, high), pairs(ef, gh, low, high)
        return pairs(abcd, efgh, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])

    return F8(F8, F8, F8, F8, F8, F8, F8, F8), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of an element that is read soon."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), LANES, LANES, LANES])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [address, LANES(0), LANES(3), LANES(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def constant(typing: Any, value: Any) -> Any:
    """The number, rounded to float32, in all eight lanes."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        single = context.cast(builder, args[0], sig.args[0], types.float32)
        vector = builder.insert_element(ir.Constant(F8.llvm, ir.Undefined), single, LANES(0))
        lanes = ir.Constant(ir.VectorType(LANES, 8), [0] * 8)
        return builder.shuffle_vector(vector, ir.Constant(F8.llvm, ir.Undefined), lanes)

    return F8(value), generate


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exp2_f8(x: Any) -> Any:
    """2^x for x in [-126, 126], to 2e-7 relative: 2^round(x) times a polynomial of degree 5 for the rest."""
    rounder = constant(12582912.0)  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    shifted = x + rounder
    f = x - (shifted - rounder)
    p = fma_f8(constant(1.32764715194e-3), f, constant(9.67554133067e-3))
    p = fma_f8(p, f, constant(5.55071327496e-2))
    p = fma_f8(p, f, constant(2.40221197239e-1))
    p = fma_f8(p, f, constant(6.93146967064e-1))
    p = fma_f8(p, f, constant(1.00000007165))
    return float_of_bits_i8(bits_of_f8(p) + shift_left_23_i8(bits_of_f8(shifted)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exp_f8(x: Any) -> Any:
    """e^x, with x held to [-87, 87]."""
    held = ceiling_at_f8(floor_at_f8(x, constant(-87.0)), constant(87.0))
    return exp2_f8(held * constant(math.log2(math.e)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def log2_f8(x: Any) -> Any:
    """Base 2 logarithm of normal positive numbers, to 2e-7 (absolute, or relative where that is larger)."""
    root = splat_i8(numba.int32(0x3F3504F3))  # the bits of sqrt(1 / 2): the mantissa goes to [sqrt(1 / 2), sqrt(2))
    exponent = shift_right_23_i8(bits_of_f8(x) - root)
    m = float_of_bits_i8(bits_of_f8(x) - shift_left_23_i8(exponent))
    s = (m - constant(1.0)) / (m + constant(1.0))
    s2 = s * s
    p = fma_f8(constant(2.0 / (7.0 * LN2)), s2, constant(2.0 / (5.0 * LN2)))
    p = fma_f8(p, s2, constant(2.0 / (3.0 * LN2)))
    p = fma_f8(p, s2, constant(2.0 / LN2))
    return fma_f8(p, s, float_i8(exponent))
