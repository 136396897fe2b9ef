"""Totals of each PE for frequent sampling: one pass over the records, in memory order.

Counting a row of PEs also writes the counts of neighbouring rows: only rows at a distance of two
can be counted at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.simulator.fast.machine_code.compilation import entry, kernel
from onewafer.simulator.fast.machine_code.native import opened, trailing_zeros
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.statistics import StallReason, Total

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.simulator.fast.machine_code.native import Bound
    from onewafer.simulator.fast.state.arrays import Arrays

_RAMP = int(Direction.RAMP)
_NUM_REASONS = len(StallReason)
_BUSY, _WAIT, _WAVELETS = int(Total.BUSY_CYCLES), int(Total.WAIT_CYCLES), int(Total.WAVELETS)


@entry
def count_totals(
    bound: Bound, totals: NDArray[np.int64], cycle: int, first_pe: int, end_pe: int
) -> None:
    """Count PEs `first_pe` to `end_pe - 1` up to `cycle`.

    `totals` has a row of all PEs for each `Total`, one after the other. The row of the
    wavelets starts at 0 and is complete when all PEs are counted.
    """
    s = opened(bound, 0)
    num_pes = s.blocks.shape[0]
    now = cycle - s.clock[f.BASE]
    for pe in range(first_pe, end_pe):
        block = s.blocks[pe]
        busy = s.pes[pe, f.PE_MAIN_CYCLES] + s.pes[pe, f.PE_PATH_CYCLES]
        totals[_BUSY * num_pes + pe] = busy + s.arena[block + f.BLOCK_PATH_CYCLES]
        totals[_WAIT * num_pes + pe] = operations_waited(s, pe, block, now)
        for i in range(s.arena[block + f.BLOCK_NUM_SOURCES]):
            source = s.arena[block + f.BLOCK_SOURCES + i]
            row = s.arena[source + f.FIFO_ROW]
            if s.arena[source + f.FIFO_STATE] & f.REASON_MASK:
                totals[_WAIT * num_pes + pe] += max(now - s.fifos[row, f.FIFOS_WAITING_SINCE], 0)
            if s.fifos[row, f.FIFOS_PORT] != _RAMP:
                sender = s.fifos[row, f.FIFOS_SENDER]
                received = s.fifos[row, f.FIFOS_PUSHED] + s.arena[source + f.FIFO_TAIL]
                totals[_WAVELETS * num_pes + sender] += received


@kernel
def operations_waited(s: Arrays, pe: int, block: int, now: int) -> int:
    """Return the cycles that a PE has waited, without current waits of its router."""
    waited = 0
    for reason in range(_NUM_REASONS):
        waited += s.pes[pe, f.PE_STALLS + reason]
    live = s.arena[block + f.BLOCK_LIVE]
    while live:
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * trailing_zeros(live)
        live &= live - 1
        if s.arena[op + f.OP_REASON] != f.NONE:
            since = s.operations[s.arena[op + f.OP_ROW], f.OPS_WAITING_SINCE]
            waited += max(now - since, 0)
    return waited
