"""The CSL types for types of C and NumPy, for help texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NEAREST: Final[Mapping[str, tuple[str, ...]]] = {
    "char": ("i8", "u8"),
    "short": ("i16",),
    "int": ("i16", "i32"),
    "long": ("i32",),
    "unsigned": ("u16", "u32"),
    "half": ("f16",),
    "float": ("f32", "f16"),
    "double": ("f32",),
    "float64": ("f32",),
    "size_t": ("u16",),
    "boolean": ("bool",),
}
MOST_BITS: Final = 32
_SIZED = re.compile(r"(u?)int(8|16|32|64)(?:_t)?|float(16|32)")


def nearest_types(name: str) -> tuple[str, ...]:
    """Return the CSL types nearest to a type of another language, the best match first.

    Only types of variables are returned: the machine computes with at most 32 bits.

    >>> nearest_types("float"), nearest_types("uint64_t"), nearest_types("f32")
    (('f32', 'f16'), ('u32',), ())
    """
    if name in _NEAREST:
        return _NEAREST[name]
    match = _SIZED.fullmatch(name)
    if match is None:
        return ()
    unsigned, integer_bits, float_bits = match.groups()
    if float_bits:
        return (f"f{float_bits}",)
    return (f"{unsigned or 'i'}{min(int(integer_bits), MOST_BITS)}",)
