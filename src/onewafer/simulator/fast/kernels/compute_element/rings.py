"""The FIFOs that programs allocate in their memory (M110–M114, M149), called rings here.

Only DSD operations of the same PE access them, so they need no time stamps.
"""

from __future__ import annotations

from onewafer.image import NO_TASK, NUM_FIFO_SIDES
from onewafer.simulator.fast.kernels.bookkeeping.agenda import wake_attention
from onewafer.simulator.fast.kernels.compute_element.memory import read, write
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64


@kernel
def is_full(s: Arrays, ring: int, num_bytes: int) -> bool:
    """Tell whether there is no room for an element of `num_bytes`."""
    count = s.rings[ring, f.RINGS_COUNT]
    width = s.rings[ring, f.RINGS_WIDTH] if count else num_bytes
    return count == s.rings[ring, f.RINGS_BYTES] // width


@kernel
def lacking_ring(s: Arrays, op: int) -> int:
    """Return an operation's ring that is empty (a source) or full (M111), or NONE."""
    is_taken = False
    dest = int64(s.arena[op + f.OP_DEST + f.OPERAND_BASE])
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] == f.RING:
            ring = int64(s.arena[op + at + f.OPERAND_BASE])
            if s.rings[ring, f.RINGS_COUNT] == 0:
                return ring
            if ring == dest:
                is_taken = True
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] != f.RING or is_taken:
        return f.NONE
    return dest if is_full(s, dest, s.arena[op + f.OP_DEST + f.OPERAND_BYTES]) else f.NONE


@kernel
def note_lack(s: Arrays, ring: int) -> int:
    """Note that an operation lacks an element or a free slot; return its action (M115)."""
    if s.rings[ring, f.RINGS_COUNT]:
        s.rings[ring, f.RINGS_FOUND_FULL] = 1
        return s.rings[ring, f.RINGS_FULL_ACTION]
    s.rings[ring, f.RINGS_FOUND_EMPTY] = 1
    return s.rings[ring, f.RINGS_EMPTY_ACTION]


@kernel
def length_place(fifo: int, is_written: bool) -> int:
    """Return the index of a FIFO's length among those of its PE, see `image.fifo_length`."""
    return NUM_FIFO_SIDES * fifo + is_written


@kernel
def keep_remaining(s: Arrays, pe: int, op: int, ring: int) -> None:
    """Save the remaining length of an operation ended by a ring that has a length (M149)."""
    is_written = s.rings[ring, f.RINGS_COUNT] != 0
    place = length_place(ring - s.pes[pe, f.PE_RINGS], is_written)
    if s.fifo_lengths[pe, place] and not s.arena[op + f.OP_IS_ENDLESS]:
        s.fifo_lengths[pe, place] = s.arena[op + f.OP_LENGTH] - s.arena[op + f.OP_NEXT]


@shared
def take_element(s: Arrays, pe: int, ring: int, num_bytes: int, cycle: int) -> int:
    """Remove and return the oldest element of a ring that is not empty."""
    if has_other_width(s, ring, num_bytes):
        return 0
    if s.rings[ring, f.RINGS_FOUND_FULL]:
        s.rings[ring, f.RINGS_FOUND_FULL] = 0
        activate_in_next_cycle(s, pe, s.rings[ring, f.RINGS_POP], cycle)
    head = s.rings[ring, f.RINGS_HEAD]
    word = read(s, pe, s.rings[ring, f.RINGS_ADDRESS] + head * num_bytes, num_bytes)
    s.rings[ring, f.RINGS_HEAD] = (head + 1) % (s.rings[ring, f.RINGS_BYTES] // num_bytes)
    s.rings[ring, f.RINGS_COUNT] -= 1
    return word


@shared
def put_element(s: Arrays, pe: int, ring: int, word: int, num_bytes: int, cycle: int) -> None:
    """Append an element to a ring that is not full."""
    if s.rings[ring, f.RINGS_COUNT] == 0:
        s.rings[ring, f.RINGS_WIDTH] = num_bytes
        s.rings[ring, f.RINGS_HEAD] = 0
    if s.rings[ring, f.RINGS_FOUND_EMPTY]:
        s.rings[ring, f.RINGS_FOUND_EMPTY] = 0
        activate_in_next_cycle(s, pe, s.rings[ring, f.RINGS_PUSH], cycle)
    if has_other_width(s, ring, num_bytes):
        return
    behind = s.rings[ring, f.RINGS_HEAD] + s.rings[ring, f.RINGS_COUNT]
    place = behind % (s.rings[ring, f.RINGS_BYTES] // num_bytes)
    write(s, pe, s.rings[ring, f.RINGS_ADDRESS] + place * num_bytes, word, num_bytes)
    s.rings[ring, f.RINGS_COUNT] += 1


@kernel
def has_other_width(s: Arrays, ring: int, num_bytes: int) -> bool:
    """Note a fault if a ring holds elements of another width; tell whether it does (M110)."""
    width = s.rings[ring, f.RINGS_WIDTH]
    if width == num_bytes:
        return False
    if not s.clock[f.FAULT]:
        s.clock[f.FAULT] = f.WIDTH_FAULT
        s.clock[f.FAULT_DETAIL] = width
        s.clock[f.FAULT_OTHER] = num_bytes
    return True


@kernel
def activate_in_next_cycle(s: Arrays, pe: int, task_id: int, cycle: int) -> None:
    """Activate the task of a ring for the next cycle, if it has one (M113)."""
    if task_id != NO_TASK:
        s.pending_tasks[pe] = int64(s.pending_tasks[pe]) | (1 << task_id)
        wake_attention(s, s.blocks[pe], cycle + 1)


@shared
def claim_rings(s: Arrays, pe: int, op: int) -> None:
    """Make an operation the user of its rings, or note the fault of a second one (M114)."""
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] == f.RING and not s.clock[f.FAULT]:
            ring = s.arena[op + at + f.OPERAND_BASE]
            note_conflict(s, pe, ring, s.rings[ring, f.RINGS_READER], f.TAKER_FAULT)
            s.rings[ring, f.RINGS_READER] = op
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.RING and not s.clock[f.FAULT]:
        ring = s.arena[op + f.OP_DEST + f.OPERAND_BASE]
        note_conflict(s, pe, ring, s.rings[ring, f.RINGS_WRITER], f.FILLER_FAULT)
        s.rings[ring, f.RINGS_WRITER] = op


@kernel
def note_conflict(s: Arrays, pe: int, ring: int, user: int, fault: int) -> None:
    """Note the fault of a second user of a ring."""
    if user:
        s.clock[f.FAULT] = fault
        s.clock[f.FAULT_DETAIL] = user
        s.clock[f.FAULT_OTHER] = ring - s.pes[pe, f.PE_RINGS]


@shared
def release_rings(s: Arrays, op: int) -> None:
    """Release the rings of an operation that ends."""
    for at in (f.OP_SRC0, f.OP_SRC1):
        if s.arena[op + at + f.OPERAND_KIND] == f.RING:
            s.rings[s.arena[op + at + f.OPERAND_BASE], f.RINGS_READER] = 0
    if s.arena[op + f.OP_DEST + f.OPERAND_KIND] == f.RING:
        s.rings[s.arena[op + f.OP_DEST + f.OPERAND_BASE], f.RINGS_WRITER] = 0
