"""Integer arithmetic on canonical register words (see `ScalarType`).

In and out: words in [0, 2**32); signed types are sign-extended. `kind` is the number of a
`ScalarType`, a constant wherever it matters for speed.
"""

from __future__ import annotations

from onewafer.image import ScalarType
from onewafer.simulator.arithmetic.compiled import jitable

_WORD = 0xFFFF_FFFF
_SIGN = 0x8000_0000
_WIDTHS = tuple(1 if t is ScalarType.BOOL else 8 * t.num_bytes for t in ScalarType)
_MASKS = tuple((1 << width) - 1 for width in _WIDTHS)
_SIGN_BITS = tuple(1 << (_WIDTHS[t] - 1) if t.is_signed else 0 for t in ScalarType)
"""0 for the types without sign extension."""


@jitable
def wrap(value: int, kind: int) -> int:
    """Return the canonical word of the low bits of `value`."""
    sign = _SIGN_BITS[kind]
    return (((value & _MASKS[kind]) ^ sign) - sign) & _WORD


@jitable
def to_number(word: int, kind: int) -> int:
    """Return the number that a canonical word represents."""
    return (word ^ _SIGN) - _SIGN if _SIGN_BITS[kind] else word


@jitable
def add(a: int, b: int, kind: int) -> int:
    """Return a + b, wrapping."""
    return wrap(a + b, kind)


@jitable
def sub(a: int, b: int, kind: int) -> int:
    """Return a − b, wrapping."""
    return wrap(a - b, kind)


@jitable
def mul(a: int, b: int, kind: int) -> int:
    """Return a · b, wrapping."""
    return wrap(to_number(a, kind) * to_number(b, kind), kind)


@jitable
def quotient(a: int, b: int) -> int:
    """Return a / b truncated toward zero, 0 if b is 0."""
    if b == 0:
        return 0
    magnitude = abs(a) // abs(b)
    return magnitude if (a < 0) == (b < 0) else -magnitude


@jitable
def div(a: int, b: int, kind: int) -> int:
    """Return a / b truncated toward zero, wrapping; x / 0 = 0."""
    return wrap(quotient(to_number(a, kind), to_number(b, kind)), kind)


@jitable
def rem(a: int, b: int, kind: int) -> int:
    """Return a − trunc(a / b) · b, which has the sign of a; x % 0 = x."""
    x, y = to_number(a, kind), to_number(b, kind)
    return wrap(x - quotient(x, y) * y, kind)


@jitable
def bitwise_and(a: int, b: int, kind: int) -> int:  # noqa: ARG001 - canonical words stay so
    """Return a & b."""
    return a & b


@jitable
def bitwise_or(a: int, b: int, kind: int) -> int:  # noqa: ARG001  # one signature for all
    """Return a | b."""
    return a | b


@jitable
def bitwise_xor(a: int, b: int, kind: int) -> int:  # noqa: ARG001  # one signature for all
    """Return a ^ b."""
    return a ^ b


@jitable
def shift_left(a: int, b: int, kind: int) -> int:
    """Return a << b; counts ≥ the width (and negative ones) give 0."""
    return 0 if b >= _WIDTHS[kind] else wrap(a << b, kind)


@jitable
def shift_right(a: int, b: int, kind: int) -> int:
    """Return a >> b, arithmetic for signed types; large counts leave 0 or the sign."""
    return wrap(to_number(a, kind) >> min(b, 32), kind)


@jitable
def equal(a: int, b: int, kind: int) -> int:  # noqa: ARG001 - canonical words are unique
    """Return 1 if a == b, else 0."""
    return 1 if a == b else 0


@jitable
def not_equal(a: int, b: int, kind: int) -> int:  # noqa: ARG001  # one signature for all
    """Return 1 if a != b, else 0."""
    return 1 if a != b else 0


@jitable
def less(a: int, b: int, kind: int) -> int:
    """Return 1 if a < b, else 0."""
    return 1 if to_number(a, kind) < to_number(b, kind) else 0


@jitable
def less_equal(a: int, b: int, kind: int) -> int:
    """Return 1 if a ≤ b, else 0."""
    return 1 if to_number(a, kind) <= to_number(b, kind) else 0


@jitable
def negate(a: int, kind: int) -> int:
    """Return −a, wrapping."""
    return wrap(-a, kind)


@jitable
def complement(a: int, kind: int) -> int:
    """Return the bitwise complement; of a BOOL the logical one."""
    return wrap(~a, kind)


@jitable
def truncate(value: float) -> int:
    """Return `value` without its fraction, as far as its low 32 bits matter; NaN gives 0.

    An f32 of 2**56 or more is a multiple of 2**32, an infinity counts as one. *assumed*
    """
    return int(value) if -(2.0**62) < value < 2.0**62 else 0


# --- bits of a 16-bit word -----------------------------------------------------------------------


@jitable
def leading_zeros(a: int) -> int:
    """Return the number of leading zeros of 16 bits."""
    rest, count = a & 0xFFFF, 16
    while rest:
        rest >>= 1
        count -= 1
    return count


@jitable
def trailing_zeros(a: int) -> int:
    """Return the number of trailing zeros of 16 bits."""
    rest, count = a & 0xFFFF | 1 << 16, 0
    while not rest & 1:
        rest >>= 1
        count += 1
    return count


@jitable
def ones(a: int) -> int:
    """Return the number of ones of 16 bits."""
    rest, count = a & 0xFFFF, 0
    while rest:
        rest &= rest - 1
        count += 1
    return count
