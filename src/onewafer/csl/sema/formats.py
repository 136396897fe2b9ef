"""Comptime numbers in the format of their type: rounded, as bits, as words of a register."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from onewafer.csl.sema import types as t

if TYPE_CHECKING:
    from onewafer.csl.sema.values import Number


def round_float(type_: t.FloatType, value: float) -> float:
    """Round a double to the nearest number of a type (ties to even, overflow to infinity)."""
    if type_.is_brain:
        return _round_brain(value)
    code = "<e" if type_.bits == t.F16.bits else "<f"
    try:
        return struct.unpack(code, struct.pack(code, value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def _round_brain(value: float) -> float:
    """Round to 8 significant bits, or to multiples of the least `bf16`."""
    if not math.isfinite(value) or value == 0.0:
        return value
    step = max(math.frexp(value)[1] - _BRAIN_BITS, _LEAST_BRAIN_EXPONENT)
    rounded = math.ldexp(round(math.ldexp(value, -step)), step)
    return round_float(t.F32, rounded)  # exact, or too large


_BRAIN_BITS: Final = 8
_LEAST_BRAIN_EXPONENT: Final = -133


def to_bits(type_: t.Type, value: Number) -> int:
    """Return the bit pattern of a value of a sized type, as an unsigned integer."""
    match type_:
        case t.FloatType(16, False):
            return struct.unpack("<H", struct.pack("<e", value))[0]
        case t.FloatType(bits):
            word: int = struct.unpack("<I", struct.pack("<f", value))[0]
            return word >> (32 - bits)
        case _:
            return int(value) & ((1 << (8 * t.num_bytes(type_))) - 1)


def from_bits(type_: t.Type, bits: int) -> Number:
    """Undo `to_bits`."""
    match type_:
        case t.FloatType(16, False):
            return struct.unpack("<e", struct.pack("<H", bits))[0]
        case t.FloatType(width):
            return struct.unpack("<f", struct.pack("<I", bits << (32 - width)))[0]
        case t.IntegerType():
            return type_.wrap(bits)
        case t.EnumType(base):
            return base.wrap(bits)
        case _:
            return bits


def canonical_word(type_: t.Type, value: Number) -> int:
    """Return the register word of a value (see `image.ScalarType`), as a signed 32-bit number."""
    match type_:
        case t.FloatType():
            word = to_bits(type_, value)
        case _:
            word = int(value)
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
