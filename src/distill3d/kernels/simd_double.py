"""Eight lanes of float64 inside numba, beside `kernels.simd`: for kernels whose decisions need the digits.

A vector of eight doubles takes two registers of AVX2, whose work LLVM interleaves: one hides the other's latency.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from distill3d.kernels.simd import F8, I8, VectorType, _load, _operator, _splat, _store

D8 = VectorType("d", 8)
LANES = ir.IntType(32)

_operator(operator.add, {D8: "fadd"})
_operator(operator.sub, {D8: "fsub"})
_operator(operator.mul, {D8: "fmul"})
_operator(operator.truediv, {D8: "fdiv"})

load_d8, store_d8, splat_d8 = _load(D8), _store(D8), _splat(D8)


@intrinsic
def lanes_d8(typing: Any) -> Any:
    """0, 1 ... 7."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(D8.llvm, [float(k) for k in range(8)])

    return D8(), generate


def _convert(source: VectorType, target: VectorType, instruction: str) -> Any:
    def convert(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, instruction)(args[0], target.llvm)

        return target(source), generate

    return intrinsic(convert)


truncate_d8 = _convert(D8, I8, "fptosi")  # towards zero; the caller keeps values inside int32 and away from NaN
float_d8 = _convert(D8, F8, "fptrunc")  # rounded to float32
double_i8, double_f8 = _convert(I8, D8, "sitofp"), _convert(F8, D8, "fpext")  # exact


def _of_llvm(name: str) -> Any:
    def function(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(D8.llvm, [D8.llvm])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v8f64"), args)

        return D8(D8), generate

    return intrinsic(function)


ceil_d8, sqrt_d8 = _of_llvm("ceil"), _of_llvm("sqrt")


def _choose(sign: str) -> Any:
    def choose(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.select(builder.fcmp_ordered(sign, *args), *args)

        return D8(D8, D8), generate

    return intrinsic(choose)


minimum_d8, maximum_d8 = _choose("<"), _choose(">")  # the second where one is NaN


@intrinsic
def less_d8(typing: Any, a: Any, b: Any) -> Any:
    """-1 where a < b, else 0."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(builder.fcmp_ordered("<", *args), I8.llvm)

    return I8(D8, D8), generate


@intrinsic
def select_d8(typing: Any, mask: Any, yes: Any, no: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("<", args[0], ir.Constant(I8.llvm, [0] * 8)), args[1], args[2])

    return D8(I8, D8, D8), generate


def _lane_address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, lane: int) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [builder.sext(builder.extract_element(index, LANES(lane)), ir.IntType(64))])


@intrinsic
def gather_i8(typing: Any, array: Any, index: Any) -> Any:
    """The elements at eight places of a C-contiguous array of integers of at most 32 bits."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = ir.Constant(I8.llvm, ir.Undefined)
        for lane in range(8):
            value = builder.load(_lane_address(context, builder, sig.args[0], args[0], args[1], lane))
            wide = builder.sext(value, LANES) if sig.args[0].dtype.bitwidth < 32 else value
            vector = builder.insert_element(vector, wide, LANES(lane))
        return vector

    return I8(array, I8), generate


@intrinsic
def scatter_i8(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Puts the eight lanes at eight places of a C-contiguous array of int32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for lane in range(8):
            place = _lane_address(context, builder, sig.args[0], args[0], args[1], lane)
            builder.store(builder.extract_element(args[2], LANES(lane)), place)
        return context.get_dummy_value()

    return types.void(array, I8, I8), generate


@intrinsic
def store_triples_f8(typing: Any, array: Any, start: Any, x: Any, y: Any, z: Any) -> Any:
    """Puts x0 y0 z0 x1 y1 z1 ... z7, 24 elements in all, at `start` of a C-contiguous float32 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def mixed(a: Any, b: Any, lanes: list[int]) -> Any:
            return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(LANES, len(lanes)), lanes))

        xy = mixed(args[2], args[3], [lane + 8 * which for lane in range(8) for which in range(2)])
        wide = mixed(args[4], ir.Constant(F8.llvm, ir.Undefined), [*range(8), *[0] * 8])
        order = [(2 * lane, 2 * lane + 1, 16 + lane) for lane in range(8)]
        all24 = mixed(xy, wide, [place for triple in order for place in triple])
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.VectorType(ir.FloatType(), 24).as_pointer())
        builder.store(all24, address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, F8, F8, F8), generate
