"""The state of the machine that programs can see, in flat arrays: the schema all engines share.

State in flight (wavelets, DSD operations) belongs to each engine. A PE's index is
`y * width + x`. Words are canonical registers (see `image.ScalarType`) as unsigned 32-bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import NUM_COLORS, NUM_FIFO_SIDES, RETURN_STACK_DEPTH
from onewafer.simulator.arithmetic.queue_words import NUM_QUEUES
from onewafer.simulator.state import sram

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_DSR_FILES = 3
MAIN_THREAD = 8
"""Thread number of synchronous operations; microthreads come before it."""
FIRST_THREAD = NUM_COLORS
"""First bit of microthreads in the set of blocked colors."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """All PEs of a program."""

    memory: NDArray[np.uint8]
    """`[num_pes, memory_bytes]`, see `sram`."""
    registers: NDArray[np.uint32]
    """`[num_pes, registers]`: as many as the largest program needs."""
    program_counters: NDArray[np.int32]
    """`[num_pes]`: the next instruction of the main thread."""
    return_stacks: NDArray[np.int32]
    """`[num_pes, RETURN_STACK_DEPTH]`"""
    return_depths: NDArray[np.int32]
    dsrs: NDArray[np.uint32]
    """`[num_pes, file, index, 2]`: file is dest, src0, src1; the two words of a DSD value."""
    pending_tasks: NDArray[np.uint32]
    """`[num_pes]`: bit set, activated local task ids."""
    blocked_tasks: NDArray[np.uint32]
    """`[num_pes]`: bit set, blocked local task ids."""
    blocked_colors: NDArray[np.uint32]
    """`[num_pes]`: bit set, colors whose data task is blocked; a queue that serves another color
    than at load is listed under its color at load. From `FIRST_THREAD` on, blocked microthreads."""
    torn_colors: NDArray[np.uint32]
    """`[num_pes]`: bit set, colors torn down since the program asked last (M133)."""
    queue_colors: NDArray[np.uint8]
    """`[num_pes, 2 * NUM_QUEUES]`: color of each input queue, then of each output queue, or
    `queue_words.NO_COLOR`; empty for programs that do not access their queues (M135)."""
    queue_flushes: NDArray[np.uint32]
    """`[num_pes]`: bit set, see `queue_words.FLUSHED_SHIFT` (M136)."""
    rotation_counts: NDArray[np.uint32]
    """`[num_pes, rotations]`: starts of data tasks since the rotation partner's (M142); as many
    columns as any program has rotations, at least one."""
    fifo_lengths: NDArray[np.uint32]
    """`[num_pes, 2 * FIFOs]`, see `image.fifo_length` (M149); as many columns as any program has
    FIFOs, at least those of one."""
    control_masks: NDArray[np.uint8]
    """`[num_pes]`: the mask for the entry of kept control wavelets (M143)."""
    unmasked_exceptions: NDArray[np.uint8]
    """`[num_pes]`: bit set, floating point exceptions that stop a program (M147)."""
    blocked_streams: NDArray[np.uint8]
    """`[num_pes]`: 1 from a launch until the program unblocks the command stream."""


def make_state(
    num_pes: int,
    *,
    memory_bytes: int,
    num_registers: int,
    num_dsrs: int,
    num_rotations: int = 0,
    num_fifos: int = 0,
) -> MachineState:
    """Return the state of a machine before loading: all zero."""
    flags = lambda: np.zeros(num_pes, np.uint32)  # noqa: E731  # three lines of the same
    return MachineState(
        memory=sram.allocate(num_pes, memory_bytes),
        registers=np.zeros((num_pes, num_registers), np.uint32),
        program_counters=np.zeros(num_pes, np.int32),
        return_stacks=np.zeros((num_pes, RETURN_STACK_DEPTH), np.int32),
        return_depths=np.zeros(num_pes, np.int32),
        dsrs=np.zeros((num_pes, NUM_DSR_FILES, num_dsrs, 2), np.uint32),
        pending_tasks=flags(),
        blocked_tasks=flags(),
        blocked_colors=flags(),
        torn_colors=flags(),
        queue_colors=np.zeros((num_pes, 2 * NUM_QUEUES), np.uint8),
        queue_flushes=flags(),
        rotation_counts=np.zeros((num_pes, max(num_rotations, 1)), np.uint32),
        fifo_lengths=np.zeros((num_pes, NUM_FIFO_SIDES * max(num_fifos, 1)), np.uint32),
        control_masks=np.zeros(num_pes, np.uint8),
        unmasked_exceptions=np.zeros(num_pes, np.uint8),
        blocked_streams=np.zeros(num_pes, np.uint8),
    )
