"""The parts of arrays and structs, and where they lie in memory."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from onewafer.csl.sema.types.kinds import ArrayType, StructType, Type
from onewafer.csl.sema.types.sizes import field_offset, num_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


def element(type_: Type) -> Type:
    """Return the type of the elements of an array; any other type itself."""
    return type_.element if isinstance(type_, ArrayType) else type_


def labels(type_: StructType) -> tuple[str, ...]:
    """Return the names of the fields; of a tuple their numbers."""
    return type_.names if type_.names is not None else tuple(map(str, range(len(type_.fields))))


def leaves(type_: Type, start: int = 0) -> Iterator[tuple[int, Type]]:
    """Yield byte offset and type of each part of a value in memory, structs taken apart.

    An array stays whole, also one of structs.
    """
    match type_:
        case StructType(_, fields):
            for index, field in enumerate(fields):
                yield from leaves(field, start + field_offset(type_, index))
        case _:
            yield start, type_


def num_parts(type_: Type) -> int:
    """Return the number of scalars in a value, structs and arrays taken apart."""
    match type_:
        case ArrayType(_, element):
            return type_.num_elements * num_parts(element)
        case StructType(_, fields):
            return sum(map(num_parts, fields))
        case _:
            return 1


def named_parts(type_: Type, name: str = "", start: int = 0) -> Iterator[tuple[str, int, Type]]:
    """Yield the parts of a variable that can be addressed: `.x`, `[2].y`, with offset and type."""
    match type_:
        case StructType(_, fields):
            for index, (label, field) in enumerate(zip(labels(type_), fields, strict=True)):
                offset = start + field_offset(type_, index)
                yield from named_parts(field, f"{name}.{label}", offset)
        case ArrayType(dimensions, StructType() as element):
            step = num_bytes(element)
            for number, indices in enumerate(product(*map(range, dimensions))):
                which = ", ".join(map(str, indices))
                yield from named_parts(element, f"{name}[{which}]", start + number * step)
        case _:
            yield name, start, type_
