"""What sums along a line need of eight-lane vectors: prefix sums, the first few lanes alone, triples.

A line is read eight elements at a time, the last time fewer: `load_first_f8` and `load_triples_first_f8` touch no
element behind the first `count` and fill the other lanes with zeros, `store_first_f8` and `store_triples_first_f8`
write none. `count` may be larger than eight, or negative.

    inside = scan_f8(load_first_f8(xs, s, end - s))                  # x0, x0 + x1 ...
    before = shift_in_f8(inside, splat_f8(np.float32(0)))            # 0, x0, x0 + x1 ...
    total += lane_f8(inside, 7)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from distill3d.kernels.simd import F8, I8

LANES = ir.IntType(32)
MASK = ir.VectorType(ir.IntType(1), 8)


def _shuffled(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(LANES, len(lanes)), lanes))


def _first(builder: Any, count: Any) -> Any:
    """The mask of the first `count` lanes."""
    splat = builder.insert_element(ir.Constant(I8.llvm, ir.Undefined), builder.trunc(count, LANES), LANES(0))
    splat = _shuffled(builder, splat, ir.Constant(I8.llvm, ir.Undefined), [0] * 8)
    return builder.icmp_signed("<", ir.Constant(I8.llvm, list(range(8))), splat)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), F8.llvm.as_pointer())


def _load_masked(builder: Any, pointer: Any, mask: Any) -> Any:
    kind = ir.FunctionType(F8.llvm, [F8.llvm.as_pointer(), LANES, MASK, F8.llvm])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v8f32.p0v8f32")
    return builder.call(function, [pointer, LANES(4), mask, ir.Constant(F8.llvm, [0.0] * 8)])


def _store_masked(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [F8.llvm, F8.llvm.as_pointer(), LANES, MASK])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.store.v8f32.p0v8f32")
    builder.call(function, [value, pointer, LANES(4), mask])


def _thirds(builder: Any, index: Any, count: Any) -> list[tuple[Any, Any]]:
    """Where the three vectors of eight triples begin, and how many of their elements belong to the first `count`."""
    size = index.type
    held = builder.select(builder.icmp_signed("<", count, size(8)), count, size(8))
    every = builder.mul(held, size(3))
    return [(builder.add(index, size(8 * k)), builder.sub(every, size(8 * k))) for k in range(3)]


@intrinsic
def load_first_f8(typing: Any, array: Any, index: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1])
        return _load_masked(builder, pointer, _first(builder, args[2]))

    return F8(array, types.intp, types.intp), generate


@intrinsic
def store_first_f8(typing: Any, array: Any, index: Any, count: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1])
        _store_masked(builder, args[3], pointer, _first(builder, args[2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, F8), generate


@intrinsic
def load_triples_first_f8(typing: Any, array: Any, start: Any, count: Any) -> Any:
    """Three vectors x, y, z from x0 y0 z0 x1 ... at `start` of a C-contiguous float32 array."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, c = (
            _load_masked(builder, _pointer(context, builder, sig.args[0], args[0], at), _first(builder, rest))
            for at, rest in _thirds(builder, args[1], args[2])
        )
        ab = _shuffled(builder, a, b, list(range(16)))
        wide = _shuffled(builder, c, ir.Constant(F8.llvm, ir.Undefined), [*range(8), *[0] * 8])
        vectors = [_shuffled(builder, ab, wide, [3 * lane + which for lane in range(8)]) for which in range(3)]
        return context.make_tuple(builder, sig.return_type, vectors)

    return types.UniTuple(F8, 3)(array, types.intp, types.intp), generate


@intrinsic
def store_triples_first_f8(typing: Any, array: Any, start: Any, count: Any, x: Any, y: Any, z: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        xy = _shuffled(builder, args[3], args[4], list(range(16)))
        wide = _shuffled(builder, args[5], ir.Constant(F8.llvm, ir.Undefined), [*range(8), *[0] * 8])
        order = [lane + 8 * which for lane in range(8) for which in range(3)]
        for k, (at, rest) in enumerate(_thirds(builder, args[1], args[2])):
            value = _shuffled(builder, xy, wide, order[8 * k : 8 * k + 8])
            pointer = _pointer(context, builder, sig.args[0], args[0], at)
            _store_masked(builder, value, pointer, _first(builder, rest))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, F8, F8, F8), generate


@intrinsic
def clear(typing: Any, array: Any, start: Any, end: Any) -> Any:
    """Zeros into the elements start ... end - 1 of a C-contiguous float32 array; start <= end."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        size = builder.shl(builder.sub(args[2], args[1]), args[1].type(2))
        cgutils.memset(builder, builder.gep(data, [args[1]]), size, 0)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic
def scan_f8(typing: Any, value: Any) -> Any:
    """x0, x0 + x1, x0 + x1 + x2 ... : each lane from at most three roundings; NaN does not reach the lanes before."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, zero = args[0], ir.Constant(F8.llvm, [0.0] * 8)
        for shift in (1, 2, 4):
            moved = _shuffled(builder, value, zero, [*[8] * shift, *range(8 - shift)])
            value = builder.fadd(value, moved)
        return value

    return F8(F8), generate


@intrinsic
def shift_in_f8(typing: Any, value: Any, before: Any) -> Any:
    """before[7], value[0], value[1] ... value[6]."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _shuffled(builder, args[0], args[1], [15, *range(7)])

    return F8(F8, F8), generate


@intrinsic
def lane_f8(typing: Any, value: Any, lane: Any) -> Any:
    """One lane as float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], LANES))

    return types.float32(F8, types.intp), generate


@intrinsic
def first_lanes_f8(typing: Any, value: Any, count: Any) -> Any:
    """The first `count` lanes; zeros in the others."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(_first(builder, args[1]), args[0], ir.Constant(F8.llvm, [0.0] * 8))

    return F8(F8, types.intp), generate


@intrinsic
def leading_i8(typing: Any, mask: Any) -> Any:
    """How many lanes of a mask are yes before the first no."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        no = builder.icmp_signed(">=", args[0], ir.Constant(I8.llvm, [0] * 8))
        bits = builder.or_(builder.zext(builder.bitcast(no, ir.IntType(8)), LANES), LANES(256))
        return builder.zext(builder.cttz(bits, ir.IntType(1)(1)), ir.IntType(64))

    return types.intp(I8), generate
