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
    """Return the columns of a snapshot that hold fields; `read` gives those at a place."""
    return {
        field.keeps: to_snapshot(read(field.place).astype(np.int64), field.holds, base)
        for field in fields
    }


def restore_columns(
    fields: Iterable[Field], write: Callable[[int, Integers], None], table: Table, base: int
) -> None:
    """Write the fields that columns of a snapshot hold."""
    for field in fields:
        write(field.place, to_field(table[field.keeps], field.holds, base))


def to_snapshot(values: Integers, holds: Holds, base: int) -> Integers:
    """Return fields as a snapshot holds them."""
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
    """Return columns of a snapshot as fields hold them."""
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
    """Return cycles as the arena holds them."""
    return np.clip(cycles - base, f.LONG_AGO, f.FAR)


def signed(words: Integers) -> Integers:
    """Return words of 32 bits as the arena holds them."""
    return (words & WORD).astype(np.uint32).view(np.int32).astype(np.int64)
