"""The types of run-time values, and the decorator of IR nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar, dataclass_transform

from onewafer.image import ScalarType

Node = TypeVar("Node")


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: type[Node]) -> type[Node]:
    """Make a dataclass compared by identity and, for the type checker, frozen.

    Only the type checker enforces it: with a guard at run time, `__init__` takes three times as
    long, and making nodes would be a sixth of a compilation.
    """
    return dataclass(slots=True, eq=False)(cls)


class DsdType(Enum):
    """The one value of this enum is the type of a DSD."""

    DSD = "dsd"


DSD: Final = DsdType.DSD
"""The type of a DSD value."""


class WideType(Enum):
    """An integer of more than 32 bits: two words, the low one first, as one number of 64 bits.

    A narrower integer is sign- or zero-extended to 64 bits.
    """

    I64 = "i64"
    U64 = "u64"

    @property
    def num_bytes(self) -> int:
        """Bytes of one value in PE memory."""
        return 2 * ScalarType.U32.num_bytes

    @property
    def is_signed(self) -> bool:
        """True if this is a signed integer type."""
        return self is WideType.I64

    @property
    def is_float(self) -> bool:
        """True if it is a floating-point type, as for a `ScalarType`."""
        return False


NumberType = ScalarType | WideType
ValueType = ScalarType | WideType | DsdType


def canonical_word(number: int, type_: ScalarType) -> int:
    """Return the low bits of an integer as the register form of a type, an int32."""
    num_bits = 8 * type_.num_bytes
    word = number & ((1 << num_bits) - 1)
    is_negative = type_.is_signed or type_.num_bytes == ScalarType.U32.num_bytes
    return word - (1 << num_bits) if is_negative and word >> (num_bits - 1) else word
