"""Which PEs have to be looked at in which window of cycles: a wheel of lists, and a heap.

A list of the wheel holds the PEs of one window, each at most once: a bit mask in the PE's block
says where it stands. Nothing is ever taken off a list before its window. Looking at a PE that has
nothing to do is harmless, because a look only acts on what has become possible by that cycle, and
what is still to come asks again (all rules speak of cycles, none of looks). What is due later than
the wheel reaches waits in a binary heap, each PE once, at the earliest cycle it asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.compilation import kernel, shared
from onewafer.simulator.fast.fields import (
    BLOCK_ATTENTION,
    BLOCK_ELEMENT_WAKE,
    BLOCK_PE,
    BLOCK_ROUTER_WAKE,
    BLOCK_SLOTS,
    FAR,
    HEAP_SIZE,
    LAST_END,
    NEVER,
    NOW,
    T_WINDOW_SHIFT,
)

if TYPE_CHECKING:
    from onewafer.simulator.fast.arrays import Arrays

NUM_SLOTS = 16
"""Windows that the wheel holds; a power of two."""


@kernel
def note(s: Arrays, cycle: int) -> None:
    """Remember that something goes on until `cycle` (M80)."""
    if cycle > s.clock[LAST_END]:
        s.clock[LAST_END] = cycle


# --- what a PE asks for itself while it is looked at ---------------------------------------------


@kernel
def wake_router(s: Arrays, block: int, cycle: int) -> None:
    """Look at the router of the PE at hand again in `cycle`, or before."""
    if cycle < s.arena[block + BLOCK_ROUTER_WAKE]:
        s.arena[block + BLOCK_ROUTER_WAKE] = cycle


@kernel
def wake_element(s: Arrays, block: int, cycle: int) -> None:
    """Look at the compute element of the PE at hand again in `cycle`, or before."""
    if cycle < s.arena[block + BLOCK_ELEMENT_WAKE]:
        s.arena[block + BLOCK_ELEMENT_WAKE] = cycle


@kernel
def wake_attention(s: Arrays, block: int, cycle: int) -> None:
    """Look at main thread and operations of the PE at hand again in `cycle`, or before."""
    if cycle < s.arena[block + BLOCK_ATTENTION]:
        s.arena[block + BLOCK_ATTENTION] = cycle
        wake_element(s, block, cycle)
    elif cycle >= FAR:
        put_into_heap(s, block, cycle)


# --- lists ---------------------------------------------------------------------------------------


@kernel
def enlist(s: Arrays, block: int, cycle: int) -> None:
    """Look at a PE in the window of `cycle`."""
    shift = s.timing[T_WINDOW_SHIFT]
    if (cycle >> shift) - (s.clock[NOW] >> shift) >= NUM_SLOTS:
        put_into_heap(s, block, cycle)
        return
    slot = (cycle >> shift) & (NUM_SLOTS - 1)
    slots = s.arena[block + BLOCK_SLOTS]
    if slots >> slot & 1 == 0:
        s.arena[block + BLOCK_SLOTS] = slots | 1 << slot
        count = s.wheel_counts[slot]
        s.wheel[slot, count] = block
        s.wheel_counts[slot] = count + 1


@kernel
def next_window(s: Arrays, until: int) -> int:
    """Return the first cycle of the next window in which a PE has to be looked at, or NEVER.

    NOW moves there, but not beyond `until`: the host may still schedule something from there on.
    """
    shift = s.timing[T_WINDOW_SHIFT]
    while True:
        now = s.clock[NOW]
        window = now >> shift
        while s.clock[HEAP_SIZE] and (first_in_heap(s) >> shift) - window < NUM_SLOTS:
            deal_out_first(s)
        for i in range(NUM_SLOTS):
            if s.wheel_counts[(window + i) & (NUM_SLOTS - 1)]:
                start = max(now, window + i << shift)
                s.clock[NOW] = min(start, until)
                return start
        if s.clock[HEAP_SIZE] == 0:
            return NEVER
        first = first_in_heap(s)
        if first >= until:
            s.clock[NOW] = until
            return first
        s.clock[NOW] = max(now, first >> shift << shift)


# --- the heap ------------------------------------------------------------------------------------


@kernel
def first_in_heap(s: Arrays) -> int:
    """Return the earliest cycle that the heap knows."""
    return s.heap_cycles[s.heap[1]]


@shared
def put_into_heap(s: Arrays, block: int, cycle: int) -> None:
    """Look at a PE in a cycle that the wheel does not reach, unless that comes before."""
    pe = s.arena[block + BLOCK_PE]
    place = s.heap_places[pe]
    if place == 0:
        place = s.clock[HEAP_SIZE] + 1
        s.clock[HEAP_SIZE] = place
    elif s.heap_cycles[pe] <= cycle:
        return
    s.heap_cycles[pe] = cycle
    while place > 1 and s.heap_cycles[s.heap[place >> 1]] > cycle:
        s.heap[place] = s.heap[place >> 1]
        s.heap_places[s.heap[place]] = place
        place >>= 1
    s.heap[place] = pe
    s.heap_places[pe] = place


@shared
def deal_out_first(s: Arrays) -> None:
    """Move the first PE of the heap to the wheel; whatever it waited for, it looks at it all."""
    first = s.heap[1]
    s.heap_places[first] = 0
    size = s.clock[HEAP_SIZE] - 1
    s.clock[HEAP_SIZE] = size
    if size:
        sink(s, s.heap[size + 1], size)
    cycle = s.heap_cycles[first]
    block = s.blocks[first]
    wake_attention(s, block, cycle)
    wake_element(s, block, cycle)
    wake_router(s, block, cycle)
    enlist(s, block, cycle)


@kernel
def sink(s: Arrays, pe: int, size: int) -> None:
    """Put a PE into the empty first place of the heap, or below it."""
    cycle = s.heap_cycles[pe]
    place = 1
    while 2 * place <= size:
        below = 2 * place
        if below < size and s.heap_cycles[s.heap[below + 1]] < s.heap_cycles[s.heap[below]]:
            below += 1
        if s.heap_cycles[s.heap[below]] >= cycle:
            break
        s.heap[place] = s.heap[below]
        s.heap_places[s.heap[place]] = place
        place = below
    s.heap[place] = pe
    s.heap_places[pe] = place
