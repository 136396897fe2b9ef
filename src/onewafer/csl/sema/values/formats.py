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
    if type_.is_cerebras:
        return _round_cerebras(value)
    code = "<e" if type_.bits == t.F16.bits else "<f"
    try:
        return struct.unpack(code, struct.pack(code, value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def to_float(type_: t.FloatType, value: Number) -> float:
    """Return a comptime number as a float of a type, rounded once."""
    if isinstance(value, float):
        return round_float(type_, value)
    spare = max(abs(value).bit_length() - _DOUBLE_BITS, 0)
    # Rounded to odd, so that the double then rounds to the same float as the exact integer.
    kept = abs(value) >> spare
    kept |= kept << spare != abs(value)
    return round_float(type_, to_double(kept << spare if value >= 0 else -kept << spare))


def to_double(value: Number) -> float:
    """Return a comptime number as a `comptime_float`, infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def quiet(value: float) -> float:
    """Return the machine's one NaN for any NaN: hosts differ in the NaNs that they compute."""
    return math.nan if math.isnan(value) else value


def _round_brain(value: float) -> float:
    """Round to 8 significant bits, or to multiples of the least `bf16`."""
    if not math.isfinite(value) or value == 0.0:
        return value
    step = max(math.frexp(value)[1] - _BRAIN_BITS, _LEAST_BRAIN_EXPONENT)
    rounded = math.ldexp(round(math.ldexp(value, -step)), step)
    return round_float(t.F32, rounded)  # exact, or too large


def _round_cerebras(value: float) -> float:
    """Round to 10 significant bits, or to multiples of the least `cb16`."""
    if not math.isfinite(value) or value == 0.0:
        return value
    step = max(math.frexp(value)[1] - _CEREBRAS_BITS, _LEAST_CEREBRAS_EXPONENT)
    rounded = math.ldexp(round(math.ldexp(value, -step)), step)
    limit = math.ldexp(1.0, _CEREBRAS_SPECIAL - _CEREBRAS_BIAS)
    return rounded if abs(rounded) < limit else math.copysign(math.inf, value)


def _cerebras_bits(value: float) -> int:
    sign = 1 << 15 if math.copysign(1.0, value) < 0 else 0
    if not math.isfinite(value):
        return sign | _CEREBRAS_SPECIAL << 9 | (1 << 8 if math.isnan(value) else 0)
    exponent = max(math.frexp(value)[1] - 1 + _CEREBRAS_BIAS, 1) if value else 1
    mantissa = int(math.ldexp(abs(value), 9 + _CEREBRAS_BIAS - exponent))
    # The leading one of the mantissa adds one to the exponent, hence the `- 1`.
    return sign | (exponent - 1 << 9) + mantissa


def _cerebras_value(bits: int) -> float:
    exponent, mantissa = bits >> 9 & _CEREBRAS_SPECIAL, bits & 0x1FF
    if exponent == _CEREBRAS_SPECIAL:
        value = math.nan if mantissa else math.inf
    else:
        whole = mantissa | (1 << 9 if exponent else 0)
        value = math.ldexp(whole, max(exponent, 1) - 9 - _CEREBRAS_BIAS)
    return math.copysign(value, -1.0 if bits >> 15 & 1 else 1.0)


_DOUBLE_BITS: Final = 53
_CEREBRAS_BITS: Final = 10
_CEREBRAS_BIAS: Final = 42
"""From the bits of 6.0 in the SDK's documentation; decided here: the rest is as in IEEE 754."""
_CEREBRAS_SPECIAL: Final = 63
"""Exponent field of infinities and NaN."""
_LEAST_CEREBRAS_EXPONENT: Final = 1 - 9 - _CEREBRAS_BIAS

_BRAIN_BITS: Final = 8
_LEAST_BRAIN_EXPONENT: Final = -133


def to_bits(type_: t.Type, value: Number) -> int:
    """Return the bit pattern of a value of a sized type, as an unsigned integer."""
    match type_:
        case t.CB16:
            return _cerebras_bits(float(value))
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
        case t.CB16:
            return _cerebras_value(bits)
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
