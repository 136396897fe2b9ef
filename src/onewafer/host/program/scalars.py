"""Scalars at the host boundary: NumPy dtypes of exports, launch arguments as register words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onewafer.errors import HostError
from onewafer.image import ScalarType
from onewafer.simulator import float_to_half, half_to_float, largest_half

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from onewafer.image import Export

Argument: TypeAlias = bool | int | float | np.generic
"""A launch argument: a Python or a NumPy scalar."""

_DTYPES: dict[ScalarType, np.dtype[Any]] = {
    ScalarType.BOOL: np.dtype(np.bool_),
    ScalarType.I8: np.dtype("<i1"),
    ScalarType.U8: np.dtype("<u1"),
    ScalarType.I16: np.dtype("<i2"),
    ScalarType.U16: np.dtype("<u2"),
    ScalarType.I32: np.dtype("<i4"),
    ScalarType.U32: np.dtype("<u4"),
    ScalarType.F16: np.dtype("<f2"),
    ScalarType.F32: np.dtype("<f4"),
    ScalarType.BF16: np.dtype("<u2"),
    ScalarType.CB16: np.dtype("<u2"),
}
"""NumPy has neither `bf16` nor `cb16`: the host gets their bits as uint16."""


_AS_BITS = (ScalarType.BF16, ScalarType.CB16)


def to_dtype(element: ScalarType) -> np.dtype[Any]:
    """Return the NumPy dtype with the layout of PE memory.

    >>> to_dtype(ScalarType.F16)
    dtype('float16')
    """
    return _DTYPES[element]


def to_csl_name(element: ScalarType) -> str:
    """Return the type as CSL spells it.

    >>> to_csl_name(ScalarType.F32)
    'f32'
    """
    return element.name.lower()


def describe_signature(function: Export) -> str:
    """Return an exported function as a call, for messages: `compute(i16, f32)`."""
    return f"{function.name}({', '.join(map(to_csl_name, function.argument_types))})"


def numpy_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype of a script's argument.

    Raises:
        HostError: NumPy has no such type.
    """
    try:
        return np.dtype(dtype)
    except TypeError:
        raise HostError(f"{dtype!r} is not a type of NumPy: write for example 'float32'") from None


def encode_arguments(function: Export, arguments: Sequence[Argument]) -> tuple[int, ...]:
    """Return a launch's arguments as canonical register words, each in the range of int32.

    A value must be in the range of the parameter's type. Of integers and floats, only a Python
    `int` for a float parameter is converted.

    Raises:
        HostError: wrong number of arguments, wrong kind, or a value out of range.
    """
    _check_count(function, len(arguments))
    return tuple(
        _to_register(_encode(function, index, argument)) for index, argument in enumerate(arguments)
    )


def encode_raw_words(function: Export, words: Sequence[int]) -> tuple[int, ...]:
    """Convert arguments that are raw 32-bit words to canonical register words.

    An argument narrower than 32 bits is taken from the low bits of its word.

    Raises:
        HostError: wrong number of words, or a value that is no 32-bit word.
    """
    _check_count(function, len(words))
    return tuple(
        _to_register(_decode_raw(function, index, word)) for index, word in enumerate(words)
    )


def _check_count(function: Export, count: int) -> None:
    expected = len(function.argument_types)
    if count != expected:
        raise HostError(
            f"{describe_signature(function)} takes {expected} "
            f"{'argument' if expected == 1 else 'arguments'}, {count} given"
        )


def _encode(function: Export, index: int, argument: Argument) -> np.generic:
    """Convert an argument to a NumPy scalar of the parameter's type."""
    element = function.argument_types[index]
    dtype = to_dtype(element)
    match argument:
        case np.generic() if element in _AS_BITS and argument.dtype == np.uint16:
            return argument
        case bool() | np.bool_() if element is ScalarType.BOOL:
            return np.bool_(argument)
        case bool() | np.bool_():
            pass
        case int() | np.integer() if dtype.kind in "iu" and not element.is_float:
            limits = np.iinfo(dtype)
            if limits.min <= int(argument) <= limits.max:
                return dtype.type(int(argument))
            raise HostError(
                f"{describe_signature(function)}: argument {index} is {int(argument)}, outside "
                f"{to_csl_name(element)} ({limits.min} to {limits.max})"
            )
        case float() | np.floating() | int() if element.is_float:
            return _to_float(function, index, float(argument))
        case _:
            pass
    raise HostError(
        f"{describe_signature(function)}: argument {index} is {argument!r} "
        f"({type(argument).__name__}); write {_example(element)}"
    )


def _to_float(function: Export, index: int, value: float) -> np.generic:
    element = function.argument_types[index]
    if element in _AS_BITS:
        bits = float_to_half(value, element)
        number, largest = half_to_float(bits, element), largest_half(element)
        rounded = np.uint16(bits)
    else:
        with np.errstate(over="ignore", under="ignore"):
            rounded = to_dtype(element).type(value)
        number, largest = float(rounded), float(np.finfo(to_dtype(element)).max)
    if np.isinf(number) and not np.isinf(value):
        raise HostError(
            f"{describe_signature(function)}: argument {index} is {value!r}, beyond the largest "
            f"{to_csl_name(element)} ({largest:g})"
        )
    return rounded


def _example(element: ScalarType) -> str:
    """Return an example of Python code for a value of this type."""
    if element is ScalarType.BOOL:
        return "True or False"
    if element in _AS_BITS:
        return "a float, or its bits as np.uint16(...)"
    return f"np.{to_dtype(element).name}(...)"


def _decode_raw(function: Export, index: int, word: int) -> np.generic:
    if not -(2**31) <= int(word) < 2**32:
        raise HostError(
            f"{describe_signature(function)}: argument {index} is {word}, which is no 32-bit word"
        )
    element = function.argument_types[index]
    bits = int(word) % 2 ** (8 * element.num_bytes)
    if element is ScalarType.BOOL:
        return np.bool_(bits != 0)
    return np.array([bits], f"<u{element.num_bytes}").view(to_dtype(element))[0]


def _to_register(value: np.generic) -> int:
    """Return the canonical register word of a scalar (see `onewafer.image.scalar`)."""
    if value.dtype.kind == "i":
        return int(value)
    bits = int(value.view(f"<u{value.dtype.itemsize}"))
    return bits - 2**32 if bits >= 2**31 else bits
