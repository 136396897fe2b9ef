"""The waiting DSD operations at the end of a run, with reason and first cycle.

In: a snapshot. Out: one value for each operation that waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.simulator.state.snapshot import INPUT, NONE, OUTPUT
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    import numpy as np

    from onewafer.simulator.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class WaitingOperation:
    """A stalled operation."""

    pe: int
    """y · width + x."""
    thread: int
    """Microthread; 8: the main thread."""
    reason: int
    """A `StallReason`."""
    pc: int
    since_cycle: int
    color: int | None
    """The color that it waits to receive or send; None: a memory-only operation."""


def find_waiting(snapshot: Snapshot) -> list[WaitingOperation]:
    """Return the operations that wait, by PE, then by thread: the main thread is the last."""
    table = snapshot.operations
    rows = table[table["reason"] != NONE]
    found = [
        WaitingOperation(
            *(int(row[name]) for name in ("pe", "thread", "reason", "pc", "waiting_since")),
            color=_color_of(row),
        )
        for row in rows
    ]
    return sorted(found, key=lambda waiting: (waiting.pe, waiting.thread))


def _color_of(row: np.void) -> int | None:
    """Return the color that an operation waits for: its output color if that queue is full."""
    if row["dest_form"] == OUTPUT and row["reason"] == StallReason.OUTPUT_FULL:
        return int(row["dest_extra"])
    for operand in ("src0", "src1"):
        if row[f"{operand}_form"] == INPUT:
            return int(row[f"{operand}_base"])
    return int(row["dest_extra"]) if row["dest_form"] == OUTPUT else None
