"""What a tensor access expression gives, and how `.stride` counts the steps of nested loops.

`|i, j|{n, m} -> a[…]` is an anonymous struct of `.base_address`, `.offset`, `.stride` and
`.extent`, the last two of them tuples. `.extent` has the outermost loop first. `.stride` has the
*steps*, the innermost loop first: step k leads from the last element of the loops inside of loop k
to the first one of their next round (SDK documentation, "Data Structure Descriptors"). Descriptors
of the machine have *strides*: how far two rounds of a loop are apart, the outermost loop first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.values import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.values import Value

ACCESS_FIELDS = ("base_address", "offset", "stride", "extent")


def access_struct(
    base: Value, offset: Value, steps: Sequence[Value], extents: Sequence[Value]
) -> Struct:
    """Return the value of a tensor access expression."""
    loops = Struct(None, tuple(steps)), Struct(None, tuple(extents))
    return Struct(ACCESS_FIELDS, (base, offset, *loops))


def with_offset(access: Struct, offset: Value) -> Struct:
    """Return `access` from another element on."""
    base, _, *loops = access.fields
    return access.with_fields((base, offset, *loops))


def steps_of(extents: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return the steps, innermost loop first, of loops with these strides, outermost first.

    >>> steps_of((5, 5), (2, 1))
    (1, -2)
    """
    steps: list[int] = []
    inside = 0
    for extent, stride in zip(reversed(extents), reversed(strides), strict=True):
        steps.append(stride - inside)
        inside += stride * (extent - 1)
    return tuple(steps)


def strides_of(extents: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, outermost loop first, of loops with these steps, innermost first.

    >>> strides_of((5, 5), (1, -2))
    (2, 1)
    """
    strides: list[int] = []
    inside = 0
    for extent, step in zip(reversed(extents), steps, strict=True):
        strides.append(step + inside)
        inside += strides[-1] * (extent - 1)
    return tuple(reversed(strides))
