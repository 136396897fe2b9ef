"""A running machine as plain tables, which every engine can export and import.

In: a machine between two runs. Out: a `Snapshot`, in the terms of docs/explanation/machine.md,
independent of the engine. It is complete: on any engine, it gives the same bits, cycles,
events and statistics as an uninterrupted run.

    Snapshot  := cycle, end, state, stalls, one array for each table
    table     := rows of numbers; the columns are the constants below, keys first
    pe        := y · width + x

Cycles are absolute (M3); `NEVER` is a cycle that is never reached. Rows that equal the state at
load may be missing, except in `elements` and `routers`. `UNKNOWN` stands for a wake-up that the
exporting engine cannot tell: the restored machine visits the unit at once, without effect (M2).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.simulator.state.schema import MachineState

NEVER = 1 << 62
UNKNOWN = -1
NONE = -1

Table: TypeAlias = "NDArray[np.void]"

SCALAR, POINTER, VECTOR, BLOCK, INPUT, OUTPUT, FIFO = range(7)
"""Forms of an operand, with the meaning of its base, stride and extra.

    SCALAR  value                    –                            –
    POINTER address                  –                            –
    VECTOR  address                  elements                     –
    BLOCK   address                  elements that are skipped    descriptor of the tile program
    INPUT   color                    flags                        –
    OUTPUT  output queue             flags                        color
    FIFO    number of the FIFO       –                            –

Flags are those of `arithmetic.outputs`.
"""
_OPERANDS = tuple(
    f"{operand}_{part}"
    for operand in ("dest", "src0", "src1")
    for part in ("form", "base", "stride", "extra")
)

COLUMNS: dict[str, tuple[str, ...]] = {
    # Compute elements: all that have a program.
    "elements": (
        "pe",
        "main_thread",  # 0 idle, 1 running, 2 waiting for its operation, 3 for a microthread
        "main_free",  # when the picker may act again (M60)
        "main_next",  # when the next instruction issues
        "last_picked",  # M62
        "stalled_since",
        "result_end",  # the last synchronous operation (M22, M152)
        "result_wait",
        "result_first",
        "result_last",
        "counter_held",  # M22
        "counter_started_at",  # NONE: it is stopped
        "path_free_at",  # M33
        "bulk_thread",  # has the data path to itself since the next column; NONE: no thread has
        "bulk_since",
        "main_thread_cycles",
        "data_path_cycles",
        "instructions",
        "dsd_elements",
        "task_starts",
        "wake",
    ),
    # Routers: all PEs.
    "routers": ("pe", "wavelets_to_ramp", "wake"),
    # Links that ever carried something, and their departures that still count for M55.
    "links": ("pe", "direction", "free_at", "wavelets"),
    "departures": ("pe", "direction", "cycle"),
    # What waits for a router: link buffers and output queues (M41, M52).
    "sources": (
        "pe",
        "port",  # where its wavelets come from; RAMP: an output queue
        "number",  # of the output queue (the host's: HOST_QUEUE), or the color of a link buffer
        "last_move",  # −1: never (M54)
        "reason",  # of its waiting, a StallReason; NONE: it does not wait
        "waiting_since",  # in the future: what comes before is counted already
        "used",  # places that are taken as far as the sender knows (M53)
        "is_awaited",  # the sender, or the compute element, waits for a place
    ),
    # Their wavelets and the credits on their way back, in order; `source` is a row of `sources`.
    "wavelets": ("source", "ready", "color", "word"),
    "credits": ("source", "cycle"),
    # Wavelets in the ramp and in input channels (M43), in order; and channels with no place left
    # for which the router waits.
    "arrivals": ("pe", "color", "ready", "word"),
    "awaited_channels": ("pe", "color"),
    # Live DSD operations (M30–M39).
    "operations": (
        "pe",
        "thread",  # 8: the main thread
        "kind",
        "pc",
        "config",  # of the tile program; NONE: synchronous
        "scalar",
        "length",
        "next_element",
        "start",
        "remaining",
        "element_cycles",
        "has_started",
        "last_served",
        "finish_at",
        "reason",
        "waiting_since",
        "is_prepared",  # by a map loop (M122)
        *_OPERANDS,
    ),
    # Functions that were launched and not picked yet, with their arguments (M70).
    "launches": ("pe", "entry"),
    "launch_arguments": ("pe", "register", "word"),
    # FIFOs that hold something, or did, or that an operation found empty (M110–M115): places, and
    # bytes of an element; whether an operation found it empty or full since something changed that.
    "fifos": ("pe", "number", "head", "count", "width", "found_empty", "found_full"),
    # Switches that are not as they were loaded (M90–M102, M130–M133); ways as in
    # `arithmetic.registers`, and the four columns of a filter as in `arithmetic.filters`.
    "switches": (
        "pe",
        "color",
        "position",
        "is_torn_down",
        "counter",
        "limit",
        "passing",
        "then",
        "is_ring",
        "pop_mode",
        "way0",
        "way1",
        "way2",
        "way3",
    ),
}
"""Columns of each table; all are 64-bit integers. `wavelets` and `arrivals` carry the control mark
of `arithmetic.control` in bit 32 of the word."""

HOST_QUEUE = 1 << 16
"""Number of the queue that `inject` fills: served after the queues of the PE (M54). The queue of a
color that the host streams has this number plus 1 plus the color."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One machine at one cycle."""

    cycle: int
    end: int
    """The end of the last known activity (M80)."""
    state: MachineState
    """Possibly shared with the machine: save or copy it before the machine runs."""
    stalls: NDArray[np.int64]
    """`[num_pes, StallReason]`: cycles waited, of the router and the compute element together."""
    elements: Table
    routers: Table
    links: Table
    departures: Table
    sources: Table
    wavelets: Table
    credits: Table
    arrivals: Table
    awaited_channels: Table
    operations: Table
    launches: Table
    launch_arguments: Table
    fifos: Table
    switches: Table

    @property
    def tables(self) -> dict[str, Table]:
        """The tables by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in COLUMNS}


def dtype_of(name: str) -> np.dtype[np.void]:
    """Return the type of a row of a table."""
    return np.dtype([(column, "<i8") for column in COLUMNS[name]])


def make_table(name: str, rows: Sequence[tuple[int, ...]]) -> Table:
    """Return a table with these rows."""
    return np.array(rows, dtype_of(name))


def rows_of(table: Table) -> list[tuple[int, ...]]:
    """Return the rows of a table as Python numbers."""
    return cast("list[tuple[int, ...]]", table.tolist())
