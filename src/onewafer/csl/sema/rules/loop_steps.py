"""The value of a tensor access expression, and how `.stride` counts the steps of nested loops.

`|i, j|{n, m} -> a[…]` is an anonymous struct of `.base_address`, `.offset`, `.stride` and
`.extent`, the last two of them tuples. `.extent` has the outermost loop first. `.stride` has the
*steps*, the innermost loop first: step k leads from the last element of the loops inside of loop k
to the first one of their next round (SDK documentation, "Data Structure Descriptors"). Descriptors
of the machine have *strides*: how far two rounds of a loop are apart, the outermost loop first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema import types as t
from onewafer.csl.sema.values import Scalar, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.values import Value

ACCESS_FIELDS = ("base_address", "offset", "stride", "extent")


def access_struct(
    base: Value, offset: Value, steps: Sequence[Value], extents: Sequence[Value]
) -> Struct:
    """Return the value of a tensor access expression; its numbers get the types of DSD fields."""
    is_single = len(steps) == 1
    of_steps = tuple(_sized(step, *((t.I8, t.I16) if is_single else (t.I16,))) for step in steps)
    of_extents = tuple(_sized(extent, t.U16) for extent in extents)
    loops = Struct(None, of_steps), Struct(None, of_extents)
    return Struct(ACCESS_FIELDS, (base, _sized(offset, t.I16), *loops))


def _sized(value: Value, *types: t.IntegerType) -> Value:
    """Return a number in the first type that holds it; a tainted one stays as it is."""
    if not isinstance(value, Scalar) or value.taint or not t.is_integer(value.type):
        return value
    number = int(value.value)
    return next((Scalar(type_, number) for type_ in types if type_.wrap(number) == number), value)


def with_offset(access: Struct, offset: Value) -> Struct:
    """Return `access` with another `.offset`."""
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
