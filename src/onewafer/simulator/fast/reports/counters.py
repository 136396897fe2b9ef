"""Statistics from the records, with whole-array operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.simulator.fast.state.arrays import Arrays

    Integers = NDArray[np.int64]

_OPPOSITE = np.array([direction.opposite for direction in Direction], np.int64)


def count_of_blocks(s: Arrays, field: int) -> Integers:
    """Return a counter in the block headers, `[num_pes]`."""
    return s.arena[s.blocks + field].astype(np.int64)


def count_link_wavelets(s: Arrays) -> Integers:
    """Return the wavelets that left each router, `[num_pes, direction]`, counted by receivers."""
    num_pes, num_ports = len(s.blocks), len(Direction)
    fifos: Integers = s.fifos
    pushed = fifos[:, f.FIFOS_PUSHED] + s.arena[fifos[:, f.FIFOS_OFFSET] + f.FIFO_TAIL]
    is_channel = fifos[:, f.FIFOS_SENDER] == f.NONE
    is_buffer = fifos[:, f.FIFOS_PORT] != Direction.RAMP
    sender: Integers = np.where(is_channel, fifos[:, f.FIFOS_PE], fifos[:, f.FIFOS_SENDER])
    key: Integers = sender * num_ports + _OPPOSITE[fifos[:, f.FIFOS_PORT]]
    chosen = np.flatnonzero(is_channel | is_buffer)
    # Weights are floats: exact up to 2**53 wavelets.
    counts = np.bincount(key[chosen], pushed[chosen], minlength=num_pes * num_ports)
    return counts.astype(np.int64).reshape(num_pes, num_ports)


def count_hops(s: Arrays) -> int:
    """Return the wavelets that left routers over links: the arrivals in link buffers."""
    ports: Integers = s.fifos[:, f.FIFOS_PORT]
    buffers = np.flatnonzero(ports != Direction.RAMP)
    tails: Integers = s.arena[s.fifos[buffers, f.FIFOS_OFFSET] + f.FIFO_TAIL]
    return int(s.fifos[buffers, f.FIFOS_PUSHED].sum() + tails.sum(dtype=np.int64))


def count_bulk(s: Arrays, cycle: int) -> Integers:
    """Return the data path cycles of running memory-only operations up to `cycle`, `[num_pes]`.

    Such an operation has the data path alone; its cycles are counted when it ends or is stopped.
    """
    served: Integers = cycle - int(s.clock[f.BASE]) - s.pes[:, f.PE_BULK_SINCE]
    return np.where(s.pes[:, f.PE_BULK] == f.NONE, 0, np.maximum(served, 0))


def count_stalls(s: Arrays, cycle: int) -> Integers:
    """Return the cycles that units have waited up to `cycle`, `[num_pes, reason]`."""
    stalls = s.pes[:, f.PE_STALLS : f.PE_STALLS + len(StallReason)].copy()
    now = cycle - int(s.clock[f.BASE])
    fifos = np.flatnonzero(s.fifos[:, f.FIFOS_OFFSET])
    reason = (s.arena[s.fifos[fifos, f.FIFOS_OFFSET] + f.FIFO_STATE] & f.REASON_MASK) - 1
    _add(stalls, s.fifos[fifos, f.FIFOS_PE], reason, now - s.fifos[fifos, f.FIFOS_WAITING_SINCE])
    operations = np.flatnonzero(s.operations[:, f.OPS_OFFSET])
    offset: Integers = s.operations[operations, f.OPS_OFFSET]
    blocks: Integers = s.blocks
    pe: Integers = np.searchsorted(blocks, offset, side="right") - 1
    _add(
        stalls,
        pe,
        s.arena[offset + f.OP_REASON],
        now - s.operations[operations, f.OPS_WAITING_SINCE],
    )
    return stalls


def _add(stalls: Integers, pe: Integers, reason: Integers, waited: Integers) -> None:
    """Add the current, unfinished waits."""
    chosen = np.flatnonzero((reason >= 0) & (waited > 0))
    np.add.at(stalls, (pe[chosen], reason[chosen]), waited[chosen])
