"""Scalar types of the machine and how a value of each sits in a 32-bit register."""

from __future__ import annotations

from enum import IntEnum


class ScalarType(IntEnum):
    """A run-time scalar type.

    Canonical register form (one 32-bit word): unsigned integers zero-extended, signed integers
    sign-extended, `BOOL` 0 or 1, `F16`, `BF16` and `CB16` their bits zero-extended, `F32`
    its bits. Every instruction leaves canonical values behind. A program has one 16-bit float
    (M148).
    """

    BOOL = 0
    I8 = 1
    U8 = 2
    I16 = 3
    U16 = 4
    I32 = 5
    U32 = 6
    F16 = 7
    F32 = 8
    BF16 = 9
    CB16 = 10

    @property
    def num_bytes(self) -> int:
        """Bytes of one value in PE memory (alignment is the same)."""
        return _NUM_BYTES[self]

    @property
    def is_float(self) -> bool:
        """True if this is a floating point type."""
        return self >= ScalarType.F16

    @property
    def is_half(self) -> bool:
        """True if this is a floating point type of 16 bits."""
        return self.is_float and self is not ScalarType.F32

    @property
    def is_signed(self) -> bool:
        """True if this is a signed integer type."""
        return self in (ScalarType.I8, ScalarType.I16, ScalarType.I32)


_NUM_BYTES = {
    ScalarType.BOOL: 1,
    ScalarType.I8: 1,
    ScalarType.U8: 1,
    ScalarType.I16: 2,
    ScalarType.U16: 2,
    ScalarType.I32: 4,
    ScalarType.U32: 4,
    ScalarType.F16: 2,
    ScalarType.F32: 4,
    ScalarType.BF16: 2,
    ScalarType.CB16: 2,
}
