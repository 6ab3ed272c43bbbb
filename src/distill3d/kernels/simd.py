"""Short vectors inside numba: eight lanes of float32 or int32, and pairs of float32.

numba compiles array code well and leaves the rest to LLVM's autovectoriser, which gives up on gathers, mixed integer
and float work, and small unrolled loops. The types here are LLVM vectors that live in registers, so that a kernel says
which eight numbers it works on. LLVM lowers them to what the processor has (AVX, SSE, NEON); no compiler is needed.

    x = load_f8(xs, i) * splat_f8(scale)      # eight float32
    cell = truncate_f8(x)                     # eight int32
    store_f8(out, i, x - float_i8(cell))

Indices count elements of a C-contiguous array and are not checked. Every operation is exact IEEE (no fast-math), so
results do not depend on how a loop is split over threads. Integers wrap.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model


class VectorType(types.Type):
    """`lanes` numbers of one kind ("f" float32, "d" float64, "i" int32) in a register."""

    def __init__(self, kind: str, lanes: int) -> None:
        self.kind, self.lanes = kind, lanes
        super().__init__(name=f"{kind}{lanes}")

    @property
    def element(self) -> ir.Type:
        return {"f": ir.FloatType(), "d": ir.DoubleType(), "i": ir.IntType(32)}[self.kind]

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(self.element, self.lanes)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, vector.llvm)


F8, I8, F2 = VectorType("f", 8), VectorType("i", 8), VectorType("f", 2)


def _operator(function: Any, instructions: dict[VectorType, str]) -> None:
    @infer_global(function)
    class _Template(ConcreteTemplate):
        cases = tuple(signature(vector, vector, vector) for vector in instructions)

    for vector, instruction in instructions.items():

        @lower_builtin(function, vector, vector)
        def _lower(context: Any, builder: Any, sig: Any, args: Any, instruction: str = instruction) -> Any:
            return getattr(builder, instruction)(*args)


_operator(operator.add, {F8: "fadd", F2: "fadd", I8: "add"})
_operator(operator.sub, {F8: "fsub", F2: "fsub", I8: "sub"})
_operator(operator.mul, {F8: "fmul", F2: "fmul", I8: "mul"})
_operator(operator.xor, {I8: "xor"})
_operator(operator.and_, {I8: "and_"})


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: VectorType) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.llvm.as_pointer())


def _load(vector: VectorType) -> Any:
    def load(typing: Any, array: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.load(_address(context, builder, sig.args[0], args[0], args[1], vector), align=4)

        return vector(array, types.intp), generate

    return intrinsic(load)


def _store(vector: VectorType) -> Any:
    def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            builder.store(args[2], _address(context, builder, sig.args[0], args[0], args[1], vector), align=4)
            return context.get_dummy_value()

        return types.void(array, types.intp, vector), generate

    return intrinsic(store)


def _splat(vector: VectorType) -> Any:
    scalar = {"f": types.float32, "d": types.float64, "i": types.int32}[vector.kind]

    def splat(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            single = builder.insert_element(ir.Constant(vector.llvm, ir.Undefined), args[0], ir.IntType(32)(0))
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
            return builder.shuffle_vector(single, ir.Constant(vector.llvm, ir.Undefined), lanes)

        return vector(scalar), generate

    return intrinsic(splat)


load_f8, load_f2 = _load(F8), _load(F2)
store_f8, store_i8, store_f2 = _store(F8), _store(I8), _store(F2)
splat_f8, splat_i8, splat_f2 = _splat(F8), _splat(I8), _splat(F2)


@intrinsic
def fma_f8(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(F8.llvm, [F8.llvm] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v8f32"), args)

    return F8(F8, F8, F8), generate


@intrinsic
def fma_f2(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(F2.llvm, [F2.llvm] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.fma.v2f32"), args)

    return F2(F2, F2, F2), generate


@intrinsic
def dot_f2(typing: Any, a: Any, b: Any) -> Any:
    """a0 * b0 + a1 * b1 as one float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        product = builder.fmul(*args)
        lane = ir.IntType(32)
        return builder.fadd(builder.extract_element(product, lane(0)), builder.extract_element(product, lane(1)))

    return types.float32(F2, F2), generate


@intrinsic
def truncate_f8(typing: Any, value: Any) -> Any:
    """Towards zero; the caller keeps values inside int32 and away from NaN."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], I8.llvm)

    return I8(F8), generate


@intrinsic
def float_i8(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], F8.llvm)

    return F8(I8), generate


@intrinsic
def floor_at_f8(typing: Any, value: Any, least: Any) -> Any:
    """The larger of the two; NaN becomes `least`."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return F8(F8, F8), generate


@intrinsic
def minimum_i8(typing: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("<", *args), *args)

    return I8(I8, I8), generate


@intrinsic
def two_to_i8(typing: Any, power: Any) -> Any:
    """2 to the power of integers from -126 to 127, exactly: they become the exponents of float32."""

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        biased = builder.add(args[0], ir.Constant(I8.llvm, [127] * 8))
        return builder.bitcast(builder.shl(biased, ir.Constant(I8.llvm, [23] * 8)), F8.llvm)

    return F8(I8), generate
