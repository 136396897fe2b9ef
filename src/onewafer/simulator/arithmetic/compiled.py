# pyright: basic
# Numba ships no type stubs; this is the only file of the package that touches it.
"""The bridge to Numba: one source for plain Python and compiled arithmetic.

`jitable` leaves a function as it is and lets compiled code call it. Numba is imported only
when kernels are compiled: its import takes longer than many programs run. The four conversions
between bits and floats are the only functions with two bodies: `struct` here, a bit cast there.
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = TypeVar("Function", bound=Callable[..., object])

_WORD = struct.Struct("<I")
_SINGLE = struct.Struct("<f")
_LONG = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")

SINGLE_NAN = 0x7FC0_0000
SINGLE_INFINITY = 0x7F80_0000
SINGLE_SIGN = 0x8000_0000


_jitable: list[Callable[..., object]] = []
"""The functions declared so far, in the order of imports."""


def jitable(function: Function) -> Function:
    """Return `function` unchanged, callable from compiled code as well."""
    _jitable.append(function)
    return function


def single_to_float(word: int) -> float:
    """Return the value of f32 bits, exactly."""
    return _SINGLE.unpack(_WORD.pack(word))[0]


def float_to_single(value: float) -> int:
    """Return `value` rounded to f32, to nearest even, as bits; every NaN gives `SINGLE_NAN`."""
    if value != value:  # noqa: PLR0124 - the test for NaN
        return SINGLE_NAN
    try:
        return _WORD.unpack(_SINGLE.pack(value))[0]
    except OverflowError:
        return SINGLE_INFINITY if value > 0 else SINGLE_SIGN | SINGLE_INFINITY


def float_to_bits(value: float) -> int:
    """Return the 64 bits of a float as a signed integer."""
    return _LONG.unpack(_DOUBLE.pack(value))[0]


def bits_to_float(bits: int) -> float:
    """Undo `float_to_bits`."""
    return _DOUBLE.unpack(_LONG.pack(bits))[0]


@functools.cache
def teach_numba() -> None:
    """Register all declared functions with Numba; call this before kernels are compiled."""
    from numba.extending import overload, register_jitable  # noqa: PLC0415  # see above

    for function in _jitable:
        register_jitable(function)
    overload(single_to_float)(_single_to_float)
    overload(float_to_single)(_float_to_single)
    overload(float_to_bits)(_float_to_bits)
    overload(bits_to_float)(_bits_to_float)


def _single_to_float(word):  # noqa: ANN001, ANN202, ARG001 - an overload has the types of Numba
    return lambda word: np.float64(np.uint32(word).view(np.float32))


def _float_to_single(value):  # noqa: ANN001, ANN202, ARG001  # Numba types
    def body(value):  # noqa: ANN001, ANN202  # Numba types
        if value != value:  # noqa: PLR0124  # NaN
            return np.int64(SINGLE_NAN)
        return np.int64(np.float32(value).view(np.uint32))

    return body


def _float_to_bits(value):  # noqa: ANN001, ANN202, ARG001  # Numba types
    return lambda value: np.float64(value).view(np.int64)


def _bits_to_float(bits):  # noqa: ANN001, ANN202, ARG001  # Numba types
    return lambda bits: np.int64(bits).view(np.float64)
