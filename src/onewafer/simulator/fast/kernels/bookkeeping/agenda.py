"""The event queue: the PEs to visit in each window of cycles, in a timing wheel and in heaps.

The lists of a window hold its PEs, each at most once: a bit mask in the PE's block holds its
slots. Each part of the PEs (see `sharing`) has one list for each share that puts PEs into it, so
that no two threads write to one list. No PE is removed from a list before its window. Visiting a PE
without work is harmless, because a visit only does what is possible by that cycle, and later events
schedule further visits (all rules are about cycles, none about visits). PEs due beyond the wheel's
range wait in the binary heap of their part, each PE once, at its earliest wake-up cycle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.machine_code.native import opened, trailing_zeros
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from onewafer.simulator.fast.machine_code.native import Bound
    from onewafer.simulator.fast.state.arrays import Arrays

NUM_SLOTS = 16
"""Windows of the timing wheel; a power of two."""
_ALL_SLOTS = (1 << NUM_SLOTS) - 1


@kernel
def note(s: Arrays, cycle: int) -> None:
    """Note that the machine is active until `cycle` (M80)."""
    if cycle > s.clock[f.LAST_END]:
        s.clock[f.LAST_END] = cycle


# --- what a PE asks for itself while it is looked at ---------------------------------------------


@kernel
def wake_router(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to the current PE's router in `cycle` or earlier."""
    if cycle < s.arena[block + f.BLOCK_ROUTER_WAKE]:
        s.arena[block + f.BLOCK_ROUTER_WAKE] = cycle


@kernel
def wake_element(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to the current PE's compute element in `cycle` or earlier."""
    if cycle < s.arena[block + f.BLOCK_ELEMENT_WAKE]:
        s.arena[block + f.BLOCK_ELEMENT_WAKE] = cycle


@kernel
def wake_attention(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to the current PE's main thread and operations in `cycle` or earlier."""
    if cycle < s.arena[block + f.BLOCK_ATTENTION]:
        s.arena[block + f.BLOCK_ATTENTION] = cycle
        wake_element(s, block, cycle)
    elif cycle >= f.FAR:
        put_into_heap(s, block, cycle)


# --- lists ---------------------------------------------------------------------------------------


@kernel
def enlist(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to a PE in the window of `cycle`."""
    shift = s.timing[f.T_WINDOW_SHIFT]
    slots = s.arena[block + f.BLOCK_SLOTS]
    if (cycle >> shift) - (s.clock[f.NOW] >> shift) >= NUM_SLOTS:
        if share_of(s, block) == s.clock[f.SHARE]:
            put_into_heap(s, block, cycle)
            return
        # Only its own share may touch the heap: it shall look as soon as the wheel reaches.
        cycle = s.clock[f.NOW] + (NUM_SLOTS - 1 << shift)
    slot = (cycle >> shift) & (NUM_SLOTS - 1)
    if slots >> slot & 1 == 0:
        s.arena[block + f.BLOCK_SLOTS] = slots | 1 << slot
        row = (slots >> f.LIST_SHIFT) + s.clock[f.SHARE]
        count = s.wheel_counts[row, slot]
        s.wheel[slot, s.lists[row, f.LIST_START] + count] = block
        s.wheel_counts[row, slot] = count + 1
        s.clock[f.WRITTEN_SLOTS] |= 1 << slot


@kernel
def share_of(s: Arrays, block: int) -> int:
    """Return the number of the share that a PE belongs to."""
    return s.lists[s.arena[block + f.BLOCK_SLOTS] >> f.LIST_SHIFT, f.LIST_SHARE]


@kernel
def first_list(s: Arrays, phase: int) -> int:
    """Return the first list of the part of a share and a phase."""
    num_shares = s.clock[f.NUM_SHARES]
    return (phase * num_shares + s.clock[f.SHARE]) * num_shares


@kernel
def next_window(bound: Bound, until: int) -> int:
    """Return the first cycle of the next window with a PE to visit, or NEVER.

    NOW of the first share advances to it, but not beyond `until`: the host may schedule events
    from there on.
    """
    s = opened(bound, 0)
    shift = s.timing[f.T_WINDOW_SHIFT]
    slots, first = 0, f.NEVER
    for share in range(s.clock[f.NUM_SHARES]):
        other = opened(bound, share)
        slots |= other.clock[f.WRITTEN_SLOTS]
        for phase in range(s.clock[f.NUM_PHASES]):
            first = min(first, other.clock[f.HEAP_FIRSTS + phase])
    now = s.clock[f.NOW]
    if slots:
        window = now >> shift
        turn = window & (NUM_SLOTS - 1)
        turned = (slots >> turn | slots << NUM_SLOTS - turn) & _ALL_SLOTS
        first = min(first, window + trailing_zeros(turned) << shift)
    elif first == f.NEVER:
        return f.NEVER
    start = max(now, first >> shift << shift)
    s.clock[f.NOW] = min(start, until)
    return start


@kernel
def count_pes(s: Arrays, slot: int) -> int:
    """Return the number of PEs in the lists of a window."""
    count = 0
    for row in range(s.wheel_counts.shape[0]):
        count += s.wheel_counts[row, slot]
    return count


# --- heaps ---------------------------------------------------------------------------------------


@kernel
def phase_of(s: Arrays, block: int) -> int:
    """Return the phase in which a PE is visited."""
    return s.lists[s.arena[block + f.BLOCK_SLOTS] >> f.LIST_SHIFT, f.LIST_PHASE]


@shared
def put_into_heap(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit to a PE of the share beyond the range of the wheel."""
    pe = s.arena[block + f.BLOCK_PE]
    phase = phase_of(s, block)
    heap = s.clock[f.HEAP_STARTS + phase]
    place = s.heap_places[pe]
    if place == 0:
        place = s.clock[f.HEAP_SIZES + phase] + 1
        s.clock[f.HEAP_SIZES + phase] = place
    elif s.heap_cycles[pe] <= cycle:
        return
    s.heap_cycles[pe] = cycle
    while place > 1 and s.heap_cycles[s.heap[heap + (place >> 1)]] > cycle:
        other = s.heap[heap + (place >> 1)]
        s.heap[heap + place] = other
        s.heap_places[other] = place
        place >>= 1
    s.heap[heap + place] = pe
    s.heap_places[pe] = place
    if place == 1:
        s.clock[f.HEAP_FIRSTS + phase] = cycle


@shared
def deal_out(s: Arrays, phase: int, end: int) -> None:
    """Move PEs due before `end` from a heap to the wheel; all their units are due."""
    heap = s.clock[f.HEAP_STARTS + phase]
    while s.clock[f.HEAP_FIRSTS + phase] < end:
        pe = s.heap[heap + 1]
        s.heap_places[pe] = 0
        size = s.clock[f.HEAP_SIZES + phase] - 1
        s.clock[f.HEAP_SIZES + phase] = size
        s.clock[f.HEAP_FIRSTS + phase] = f.NEVER
        if size:
            sink(s, heap, s.heap[heap + size + 1], size)
            s.clock[f.HEAP_FIRSTS + phase] = s.heap_cycles[s.heap[heap + 1]]
        cycle = s.heap_cycles[pe]
        block = s.blocks[pe]
        wake_attention(s, block, cycle)
        wake_element(s, block, cycle)
        wake_router(s, block, cycle)
        enlist(s, block, cycle)


@kernel
def sink(s: Arrays, heap: int, pe: int, size: int) -> None:
    """Sift a PE down from the empty root of a heap."""
    cycle = s.heap_cycles[pe]
    place = 1
    while 2 * place <= size:
        below = heap + 2 * place
        if 2 * place < size and s.heap_cycles[s.heap[below + 1]] < s.heap_cycles[s.heap[below]]:
            below += 1
        if s.heap_cycles[s.heap[below]] >= cycle:
            break
        s.heap[heap + place] = s.heap[below]
        s.heap_places[s.heap[below]] = place
        place = below - heap
    s.heap[heap + place] = pe
    s.heap_places[pe] = place
