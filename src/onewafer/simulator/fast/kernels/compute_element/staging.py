"""A write buffer for received streams: words go to SRAM one host cache line at a time.

The SRAM of a PE is a page outside the near caches and the TLB. Writing it every four elements took
half of the time of a multicast to 64×64 PEs; writing it every twelve elements makes the multicast
1.2 times as fast, and 1.4 times on 256×256 PEs. (Reading ahead gained nothing.)

Only an operation that runs ahead of the clock is staged: the only live one of its PE, while the
main thread waits or has no task (`find_lone_operation`). The SRAM is not read before `settle`,
which runs before any other activity of the PE, at the operation's end, and when a run stops.
"""

from __future__ import annotations

from onewafer.simulator.fast.kernels.compute_element.memory import write
from onewafer.simulator.fast.kernels.fabric.fifo import WORD
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

WORD_BYTES = 4
MOST_STAGED = f.NUM_STAGE_WORDS - 1


@kernel
def stage_of(s: Arrays, block: int) -> int:
    """Return the arena offset of a PE's write buffer."""
    return s.arena[block + f.BLOCK_OPERATIONS] - f.NUM_STAGE_WORDS


@kernel
def address_of(s: Arrays, op: int, at: int, k: int) -> int:
    """Return the address of element k of a vector, possibly outside the memory."""
    step = int64(s.arena[op + at + f.OPERAND_STEP])
    return int64(s.arena[op + at + f.OPERAND_BASE]) + k * step


@kernel
def can_be_staged(s: Arrays, block: int, op: int, count: int) -> bool:
    """Tell whether the next words of a destination may be buffered: all lie in the memory."""
    if s.arena[block + f.BLOCK_LONE] != op or count > MOST_STAGED:
        return False
    first = s.arena[op + f.OP_NEXT]
    begin = address_of(s, op, f.OP_DEST, first)
    end = address_of(s, op, f.OP_DEST, first + count - 1)
    return min(begin, end) >= 0 and max(begin, end) + WORD_BYTES <= s.memory.shape[1]


@kernel
def stage_words(s: Arrays, block: int, op: int, count: int) -> int:
    """Return the arena offset of the buffered words of the next elements."""
    stage = stage_of(s, block)
    first = s.arena[op + f.OP_NEXT]
    staged = s.arena[stage + f.STAGE_FIRST]
    if staged and first + count - (staged - 1) > MOST_STAGED:
        settle_operation(s, block, op)
        staged = 0
    if staged == 0:
        staged = first + 1
        s.arena[stage + f.STAGE_FIRST] = staged
    return stage + f.STAGE_FIRST + 1 - (staged - 1)


@shared
def settle_operation(s: Arrays, block: int, op: int) -> None:
    """Write an operation's buffered words to SRAM."""
    pe, stage = s.arena[block + f.BLOCK_PE], stage_of(s, block)
    first = s.arena[stage + f.STAGE_FIRST] - 1
    for k in range(first, s.arena[op + f.OP_NEXT]):
        word = int64(s.arena[stage + f.STAGE_FIRST + 1 + k - first]) & WORD
        write(s, pe, address_of(s, op, f.OP_DEST, k), word, WORD_BYTES)
    s.arena[stage + f.STAGE_FIRST] = 0


@kernel
def settle(s: Arrays, block: int) -> None:
    """Write all buffered words of a PE to SRAM."""
    op = s.arena[block + f.BLOCK_LONE]
    if op and s.arena[stage_of(s, block) + f.STAGE_FIRST]:
        settle_operation(s, block, op)
