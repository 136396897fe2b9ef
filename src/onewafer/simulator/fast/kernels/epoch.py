"""Long runs: cycles in records are relative to a base, which advances before they overflow.

Cycles in the arena have 32 bits. Cycles further back than `LONG_AGO` become `LONG_AGO`: it only
matters that they are past. Where cycles define an order (least recently served, M34 and M54), the
order is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.kernels.bookkeeping.agenda import NUM_SLOTS
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.machine_code.native import opened
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.simulator.fast.machine_code.native import Bound
    from onewafer.simulator.fast.state.arrays import Arrays, Matrix

EPOCH_CYCLES = 1 << 30
"""Cycles after which the base advances; tests set fewer."""


@kernel
def shift_back(s: Arrays, place: int, cycles: int) -> None:
    """Subtract `cycles` from a cycle in the arena."""
    cycle = s.arena[place]
    if cycle < f.FAR and cycle != f.NOT_YET:
        s.arena[place] = max(cycle - cycles, f.LONG_AGO)


@kernel
def subtract(matrix: Matrix, columns: Iterable[int], cycles: int) -> None:
    """Subtract `cycles` from columns of a matrix."""
    for column in columns:
        for row in range(matrix.shape[0]):
            if matrix[row, column] != f.NEVER:
                matrix[row, column] -= cycles


@shared
def rebase(bound: Bound) -> None:
    """Advance the base to (nearly) NOW of the first share."""
    s = opened(bound, 0)
    cycles = s.clock[f.NOW] & ~((NUM_SLOTS << s.timing[f.T_WINDOW_SHIFT]) - 1)
    for share in range(s.clock[f.NUM_SHARES]):
        shift_clock(opened(bound, share), cycles)
    for pe in range(s.blocks.shape[0]):
        shift_block(s, pe, cycles)
    for row in range(s.fifos.shape[0]):
        shift_fifo(s, row, cycles)
    subtract(s.pes, f.PE_CYCLES, cycles)
    subtract(s.fifos, f.FIFOS_CYCLES, cycles)
    subtract(s.switches, f.SWITCH_CYCLES, cycles)
    subtract(s.operations, f.OPS_CYCLES, cycles)
    subtract(s.links, f.LINK_CYCLES, cycles)
    subtract(s.links, range(f.LINK_DEPARTURES, s.links.shape[1]), cycles)


@kernel
def shift_clock(s: Arrays, cycles: int) -> None:
    """Subtract `cycles` from the cycles in a share's clock and heaps."""
    for field in f.CLOCK_CYCLES:
        s.clock[field] -= cycles
    s.clock[f.BASE] += cycles
    for phase in range(s.clock[f.NUM_PHASES]):
        heap, size = s.clock[f.HEAP_STARTS + phase], s.clock[f.HEAP_SIZES + phase]
        for place in range(1, size + 1):
            s.heap_cycles[s.heap[heap + place]] -= cycles
        if size:
            s.clock[f.HEAP_FIRSTS + phase] -= cycles


@kernel
def shift_block(s: Arrays, pe: int, cycles: int) -> None:
    """Shift the cycles in a block's header and operations, and flush its counters."""
    block = s.blocks[pe]
    keep_order(s, block, cycles)
    s.pes[pe, f.PE_ELEMENTS] += s.arena[block + f.BLOCK_ELEMENTS]
    s.pes[pe, f.PE_PATH_CYCLES] += s.arena[block + f.BLOCK_PATH_CYCLES]
    s.arena[block + f.BLOCK_ELEMENTS] = 0
    s.arena[block + f.BLOCK_PATH_CYCLES] = 0
    for field in f.BLOCK_CYCLES:
        shift_back(s, block + field, cycles)
    for slot in range(s.pes[pe, f.PE_NUM_OPERATIONS]):
        op = s.arena[block + f.BLOCK_OPERATIONS] + f.NUM_OP_WORDS * slot
        for field in f.OP_CYCLES:
            shift_back(s, op + field, cycles)


@kernel
def shift_fifo(s: Arrays, row: int, cycles: int) -> None:
    """Shift the cycles in a ring, and renumber its wavelets from a lower number."""
    fifo = s.fifos[row, f.FIFOS_OFFSET]
    if fifo == 0:
        return
    places = 1 << (s.arena[fifo + f.FIFO_SHAPE] >> 8 & 0x1F)
    for place in range(places):
        shift_back(s, fifo + f.FIFO_RING + 2 * place, cycles)
    counted = s.arena[fifo + f.FIFO_HEAD] & ~(places - 1)
    s.arena[fifo + f.FIFO_HEAD] -= counted
    s.arena[fifo + f.FIFO_TAIL] -= counted
    s.fifos[row, f.FIFOS_PUSHED] += counted


@kernel
def keep_order(s: Arrays, block: int, cycles: int) -> None:
    """Shift the cycles in which sources were served last; keep the order of the oldest."""
    num_sources = s.arena[block + f.BLOCK_NUM_SOURCES]
    for i in range(num_sources):
        last = s.arena[s.arena[block + f.BLOCK_SOURCES + i] + f.FIFO_LAST_MOVE]
        moved = last - cycles
        if last != f.NOT_YET and moved < f.LONG_AGO + num_sources:
            moved = f.LONG_AGO
            for k in range(num_sources):
                other = s.arena[s.arena[block + f.BLOCK_SOURCES + k] + f.FIFO_LAST_MOVE]
                if other != f.NOT_YET and other < last:
                    moved += 1
        s.candidates[i] = f.NOT_YET if last == f.NOT_YET else moved
    for i in range(num_sources):
        s.arena[s.arena[block + f.BLOCK_SOURCES + i] + f.FIFO_LAST_MOVE] = s.candidates[i]
