"""The fields of records as columns of snapshots, and back (`record.Holds`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.record import Holds
from onewafer.simulator.state import snapshot as tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from onewafer.simulator.fast.state.record import Field
    from onewafer.simulator.state.snapshot import Table

    Integers = NDArray[np.int64]

WORD = 0xFFFF_FFFF


def kept_columns(
    fields: Iterable[Field], read: Callable[[int], NDArray[np.signedinteger]], base: int
) -> dict[str, Integers]:
    """Return the columns of a snapshot that hold fields; `read` returns the columns of a field."""
    return {
        field.keeps: to_snapshot(read(field.place).astype(np.int64), field.holds, base)
        for field in fields
    }


def restore_columns(
    fields: Iterable[Field], write: Callable[[int, Integers], None], table: Table, base: int
) -> None:
    """Write the fields that are columns of a snapshot."""
    for field in fields:
        write(field.place, to_field(table[field.keeps], field.holds, base))


def to_snapshot(values: Integers, holds: Holds, base: int) -> Integers:
    """Convert values of a field to the form of a snapshot."""
    match holds:
        case Holds.NUMBER:
            return values
        case Holds.WORD:
            return values & WORD
        case Holds.CYCLE:
            return values + base
        case Holds.START:
            return np.where(values == f.NEVER, tables.NONE, values + base)
        case Holds.END:
            return np.where(values == f.FAR, tables.NEVER, values + base)
        case Holds.LAST_TIME:
            return np.where(values == f.NOT_YET, tables.NONE, np.maximum(values + base, 0))


def to_field(values: Integers, holds: Holds, base: int) -> Integers:
    """Convert a column of a snapshot to the form of a field."""
    match holds:
        case Holds.NUMBER:
            return values
        case Holds.WORD:
            return signed(values)
        case Holds.CYCLE:
            return values - base
        case Holds.START:
            return np.where(values == tables.NONE, f.NEVER, values - base)
        case Holds.END:
            return np.where(values == tables.NEVER, f.FAR, since_base(values, base))
        case Holds.LAST_TIME:
            return np.where(values == tables.NONE, f.NOT_YET, since_base(values, base))


def since_base(cycles: Integers, base: int) -> Integers:
    """Return cycles relative to the base, as in the arena."""
    return np.clip(cycles - base, f.LONG_AGO, f.FAR)


def signed(words: Integers) -> Integers:
    """Return 32-bit words in the signed form of the arena."""
    return (words & WORD).astype(np.uint32).view(np.int32).astype(np.int64)
