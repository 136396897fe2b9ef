# pyright: basic
# Numba's type hints are partial; only this file and `kernel` use it here.
"""Vector operations of 16 lanes as LLVM intrinsics.

Every sum has a fixed order: lane j adds the products k ≡ j (mod 16) in sequence, and the lanes are
added in a tree. So a row of a batch has the same bits as the row alone, on every machine with fused
multiply-add.

Addresses are integers, lengths are multiples of 16. Arguments are not checked: `network` makes
them.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LANES = 16
_INT = ir.IntType(64)
_WORD = ir.IntType(32)
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_WORDS = ir.VectorType(_WORD, LANES)
_BYTES = 4
_intrinsic: Any = intrinsic


def _number(value: float) -> ir.Constant:
    """Return the nearest float32 as a constant."""
    return ir.Constant(_FLOAT, struct.unpack("f", struct.pack("f", value))[0])


def _splat(builder: ir.IRBuilder, value: Any) -> Any:
    kind = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_WORD, 0))
    order = ir.Constant(_WORDS, [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), order)


def _pointer(builder: ir.IRBuilder, address: Any, index: Any, kind: ir.Type) -> Any:
    """Return the pointer to number `index` after an address."""
    place = builder.add(address, builder.mul(index, ir.Constant(_INT, _BYTES)))
    return builder.inttoptr(place, kind.as_pointer())


def _load(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
    return builder.load(_pointer(builder, address, index, _VECTOR), align=_BYTES)


def _store(builder: ir.IRBuilder, vector: Any, address: Any, index: Any) -> None:
    builder.store(vector, _pointer(builder, address, index, _VECTOR), align=_BYTES)


def _load_one(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
    return builder.load(_pointer(builder, address, index, _FLOAT), align=_BYTES)


def _call(builder: ir.IRBuilder, name: str, *arguments: Any) -> Any:
    """Call an LLVM intrinsic whose arguments and result have one type."""
    kind = arguments[0].type
    suffix = f"v{LANES}f32" if kind == _VECTOR else "f32"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * len(arguments)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, arguments)


def _fold(builder: ir.IRBuilder, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """Combine the lanes of a vector in a tree."""
    width = LANES
    while width > 1:
        width //= 2
        half = ir.VectorType(_WORD, width)
        nothing = ir.Constant(vector.type, ir.Undefined)
        low = builder.shuffle_vector(vector, nothing, ir.Constant(half, list(range(width))))
        high = builder.shuffle_vector(
            vector, nothing, ir.Constant(half, list(range(width, 2 * width)))
        )
        vector = combine(low, high)
    return builder.extract_element(vector, ir.Constant(_WORD, 0))


def _loop(
    builder: ir.IRBuilder,
    end: Any,
    step: int,
    start: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> list[Any]:
    """Emit a loop over 0, step, … below `end`; return the loop-carried values after it."""
    before = builder.block
    inside = builder.append_basic_block("vectors")
    after = builder.append_basic_block("done")
    zero = ir.Constant(_INT, 0)
    builder.cbranch(builder.icmp_signed(">", end, zero), inside, after)
    builder.position_at_end(inside)
    index = builder.phi(_INT)
    carried = [builder.phi(value.type) for value in start]
    index.add_incoming(zero, before)
    for phi, value in zip(carried, start, strict=True):
        phi.add_incoming(value, before)
    results = body(index, carried)
    following = builder.add(index, ir.Constant(_INT, step))
    last = builder.block
    index.add_incoming(following, last)
    for phi, value in zip(carried, results, strict=True):
        phi.add_incoming(value, last)
    builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
    builder.position_at_end(after)
    found = [builder.phi(value.type) for value in start]
    for phi, value, result in zip(found, start, results, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(result, last)
    return found


def _exp(builder: ir.IRBuilder, x: Any) -> Any:
    """Return e to the power of each lane, within two units in the last place; 0 below -87.

    x = n·ln 2 + r with |r| ≤ ln 2 / 2, and a polynomial for e^r (Cephes, `expf`).
    """
    low, high = (_splat(builder, _number(bound)) for bound in (-87.0, 88.0))
    is_low = builder.fcmp_ordered("<", x, low)
    x = builder.select(builder.fcmp_ordered(">", x, high), high, builder.select(is_low, low, x))
    n = _call(
        builder,
        "floor",
        _call(builder, "fma", x, _at(builder, 1.44269504088896341), _at(builder, 0.5)),
    )
    r = _call(builder, "fma", n, _at(builder, -0.693359375), x)
    r = _call(builder, "fma", n, _at(builder, 2.12194440e-4), r)
    polynomial = _at(builder, 1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        polynomial = _call(builder, "fma", polynomial, r, _at(builder, factor))
    y = _call(builder, "fma", polynomial, builder.fmul(r, r), r)
    y = builder.fadd(y, _at(builder, 1.0))
    exponent = builder.add(builder.fptosi(n, _WORDS), _splat(builder, ir.Constant(_WORD, 127)))
    power = builder.bitcast(builder.shl(exponent, _splat(builder, ir.Constant(_WORD, 23))), _VECTOR)
    return builder.select(is_low, _at(builder, 0.0), builder.fmul(y, power))


def _at(builder: ir.IRBuilder, value: float) -> Any:
    return ir.Constant(_VECTOR, [_number(value)] * LANES)


def _tile(num_rows: int, num_columns: int) -> Any:
    """Return an intrinsic that computes a tile of a product.

    out[m, n] = Σ x[m, k]·weights[n, k], plus the old out[m, n] if `adds` is not 0
    """

    @_intrinsic
    def tile(_context, weights, x, x_stride, length, out, out_stride, adds):
        def generate(_context, builder, _signature, arguments):
            weights, x, x_stride, length, out, out_stride, adds = arguments
            rows = [builder.mul(x_stride, ir.Constant(_INT, m)) for m in range(num_rows)]
            columns = [builder.mul(length, ir.Constant(_INT, n)) for n in range(num_columns)]

            def body(k, sums):
                inputs = [_load(builder, x, builder.add(row, k)) for row in rows]
                factors = [_load(builder, weights, builder.add(c, k)) for c in columns]
                pairs = [(a, b) for a in inputs for b in factors]
                return [
                    _call(builder, "fma", a, b, total)
                    for (a, b), total in zip(pairs, sums, strict=True)
                ]

            zero = _at(builder, 0.0)
            sums = _loop(builder, length, LANES, [zero] * (num_rows * num_columns), body)
            is_added = builder.icmp_signed("!=", adds, ir.Constant(_INT, 0))
            for index, total in enumerate(sums):
                m, n = divmod(index, num_columns)
                place = builder.add(
                    builder.mul(out_stride, ir.Constant(_INT, m)), ir.Constant(_INT, n)
                )
                pointer = _pointer(builder, out, place, _FLOAT)
                value = _fold(builder, total, builder.fadd)
                old = builder.select(is_added, builder.load(pointer, align=_BYTES), _number(-0.0))
                builder.store(builder.fadd(old, value), pointer, align=_BYTES)

        return types.void(*[types.int64] * 7), generate

    return tile


tile_4x4 = _tile(4, 4)
tile_2x4 = _tile(2, 4)
tile_2x2 = _tile(2, 2)
tile_1x4 = _tile(1, 4)
tile_1x1 = _tile(1, 1)


@_intrinsic
def sum_of_squares(_context, x, length):
    """Return the sum of the squares of numbers."""

    def generate(_context, builder, _signature, arguments):
        x, length = arguments

        def body(k, sums):
            value = _load(builder, x, k)
            return [_call(builder, "fma", value, value, sums[0])]

        (total,) = _loop(builder, length, LANES, [_at(builder, 0.0)], body)
        return _fold(builder, total, builder.fadd)

    return types.float32(types.int64, types.int64), generate


@_intrinsic
def largest(_context, x, length):
    """Return the largest of numbers."""

    def generate(_context, builder, _signature, arguments):
        x, length = arguments

        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        def body(k, found):
            return [larger(_load(builder, x, k), found[0])]

        (found,) = _loop(builder, length, LANES, [_at(builder, float("-inf"))], body)
        return _fold(builder, found, larger)

    return types.float32(types.int64, types.int64), generate


@_intrinsic
def exponentials(_context, x, length, shift):
    """Replace each x by e^(x − shift), and return their sum."""

    def generate(_context, builder, _signature, arguments):
        x, length, shift = arguments
        shifts = _splat(builder, shift)

        def body(k, sums):
            value = _exp(builder, builder.fsub(_load(builder, x, k), shifts))
            _store(builder, value, x, k)
            return [builder.fadd(sums[0], value)]

        (total,) = _loop(builder, length, LANES, [_at(builder, 0.0)], body)
        return _fold(builder, total, builder.fadd)

    return types.float32(types.int64, types.int64, types.float32), generate


@_intrinsic
def gate(_context, x, up, length):
    """Replace x by x / (1 + e^-x) · up (SiLU)."""

    def generate(context, builder, _signature, arguments):
        x, up, length = arguments
        one, zero = _at(builder, 1.0), _at(builder, -0.0)

        def body(k, _nothing):
            value = _load(builder, x, k)
            divisor = builder.fadd(_exp(builder, builder.fsub(zero, value)), one)
            _store(builder, builder.fmul(builder.fdiv(value, divisor), _load(builder, up, k)), x, k)
            return []

        _loop(builder, length, LANES, [], body)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _weighted_rows(num_vectors: int) -> Any:
    """Return an intrinsic that adds the weighted sum of rows of 16 · `num_vectors` to `out`."""

    @_intrinsic
    def weighted_rows(_context, rows, stride, weights, num_rows, out):
        def generate(context, builder, _signature, arguments):
            rows, stride, weights, num_rows, out = arguments
            places = [ir.Constant(_INT, LANES * v) for v in range(num_vectors)]

            def body(p, sums):
                weight = _splat(builder, _load_one(builder, weights, p))
                row = builder.mul(stride, p)
                values = [_load(builder, rows, builder.add(row, place)) for place in places]
                return [
                    _call(builder, "fma", weight, value, total)
                    for value, total in zip(values, sums, strict=True)
                ]

            before = [_load(builder, out, place) for place in places]
            after = _loop(builder, num_rows, 1, before, body)
            for place, total in zip(places, after, strict=True):
                _store(builder, total, out, place)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return weighted_rows


weighted_rows_64 = _weighted_rows(4)
weighted_rows_16 = _weighted_rows(1)


def has_wide_registers() -> bool:
    """Tell whether the machine has AVX-512: then a 4×4 tile fits its registers."""
    named = getattr(config, "CPU_FEATURES", None)  # the user's choice, if there is one
    if named is not None:
        return "+avx512f" in named
    return llvm.get_host_cpu_features().get("avx512f", False)


# --- threads -------------------------------------------------------------------------------------


@_intrinsic
def arrive(_context, counter):
    """Atomically add 1 to a shared word."""

    def generate(context, builder, _signature, arguments):
        pointer = builder.inttoptr(arguments[0], _INT.as_pointer())
        builder.atomic_rmw("add", pointer, ir.Constant(_INT, 1), "seq_cst")
        return context.get_dummy_value()

    return types.void(types.int64), generate


@_intrinsic
def look(_context, counter):
    """Atomically read a shared word."""

    def generate(_context, builder, _signature, arguments):
        pointer = builder.inttoptr(arguments[0], _INT.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.int64), generate


@_intrinsic
def give_way(_context):
    """Yield the core to other threads."""

    def generate(context, builder, _signature, _arguments):
        kind = ir.FunctionType(_WORD, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), generate


def _find_yield() -> Any:
    """Return the system's function that yields the core."""
    if sys.platform == "win32":
        return ctypes.CDLL("kernel32").SwitchToThread
    return ctypes.CDLL(None).sched_yield


_YIELD = "onewafer_serve_yield"
llvm.add_symbol(_YIELD, ctypes.cast(_find_yield(), ctypes.c_void_p).value)
