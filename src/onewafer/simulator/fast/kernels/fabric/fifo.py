"""FIFOs that carry the time: units affect each other only through FIFOs.

Every wavelet has the cycle from which it can be taken; when it is taken, that cycle is left in its
place. So whoever looks, in whatever order, sees the state of the start of its cycle (M1): a wavelet
counts from its cycle on, and a place counts as free from `delay` after it was left, which is 1
inside a PE (M41) and `credit_cycles` between routers (M53). What happens in this cycle or later is
stamped later and does not count yet.

Wavelets are numbered; wavelet n lies in place n modulo the size of the ring, a power of two that is
not less than the capacity. Wavelet n fits if wavelet n − capacity has left, and its place still
knows when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.machine_code.compilation import kernel
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import int64

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays

WORD = 0xFFFF_FFFF
_SIGN = 0x8000_0000


@kernel
def to_signed(word: int) -> int:
    """Return a word as the arena holds it."""
    return (word ^ _SIGN) - _SIGN


@kernel
def last_place(s: Arrays, fifo: int) -> int:
    """Return the number of the last place of a ring: a mask."""
    return (1 << (s.arena[fifo + f.FIFO_SHAPE] >> 8 & 0x1F)) - 1


@kernel
def capacity_of(s: Arrays, fifo: int) -> int:
    """Return how many wavelets a FIFO takes."""
    return s.arena[fifo + f.FIFO_SHAPE] >> 16


@kernel
def place_of(s: Arrays, fifo: int, number: int) -> int:
    """Return where wavelet `number` is in the arena."""
    return fifo + f.FIFO_RING + 2 * (number & last_place(s, fifo))


@kernel
def head_of(s: Arrays, fifo: int) -> int:
    """Return where the oldest wavelet is in the arena."""
    return place_of(s, fifo, s.arena[fifo + f.FIFO_HEAD])


@kernel
def ready_cycle(s: Arrays, fifo: int) -> int:
    """Return the cycle from which the oldest wavelet can be taken; FAR: there is none."""
    head = s.arena[fifo + f.FIFO_HEAD]
    if head == s.arena[fifo + f.FIFO_TAIL]:
        return f.FAR
    return s.arena[place_of(s, fifo, head)]


@kernel
def room_cycle(s: Arrays, fifo: int, delay: int) -> int:
    """Return from when another wavelet fits; FAR: that is not known yet."""
    before = s.arena[fifo + f.FIFO_TAIL] - capacity_of(s, fifo)
    if before >= s.arena[fifo + f.FIFO_HEAD]:
        return f.FAR
    return s.arena[place_of(s, fifo, before)] + delay


@kernel
def put(s: Arrays, fifo: int, ready: int, word: int) -> None:
    """Append a wavelet that can be taken from cycle `ready` on."""
    tail = s.arena[fifo + f.FIFO_TAIL]
    place = place_of(s, fifo, tail)
    s.arena[place] = ready
    s.arena[place + 1] = to_signed(word)
    s.arena[fifo + f.FIFO_TAIL] = tail + 1


@kernel
def take(s: Arrays, fifo: int, cycle: int) -> int:
    """Remove and return the oldest wavelet, in `cycle`."""
    head = s.arena[fifo + f.FIFO_HEAD]
    place = place_of(s, fifo, head)
    word = int64(s.arena[place + 1]) & WORD
    s.arena[place] = cycle
    s.arena[fifo + f.FIFO_HEAD] = head + 1
    return word


@kernel
def tag_place(s: Arrays, fifo: int, number: int) -> int:
    """Return where the tag of a wavelet of a FIFO with tags is."""
    places = 1 << (s.arena[fifo + f.FIFO_SHAPE] >> 8 & 0x1F)
    return fifo + f.FIFO_RING + 2 * places + (number & (places - 1))
