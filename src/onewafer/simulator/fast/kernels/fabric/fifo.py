"""FIFOs with time stamps: units affect each other only through FIFOs.

Every wavelet has the cycle from which it can be taken; when it is taken, the cycle of removal is
stored in its slot. So units can be visited in any order, and each sees the state at the start of
its cycle (M1): a wavelet counts from its cycle on, and a slot counts as free `delay` cycles after
the removal; `delay` is 1 inside a PE (M41) and `credit_cycles` between routers (M53). Events of
this cycle or later do not count yet.

Wavelets are numbered; wavelet n lies in slot n modulo the size of the ring, a power of two that is
not less than the capacity. Wavelet n fits if wavelet n − capacity has left; its slot still holds
the cycle of its removal.
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
    """Return a 32-bit word in the signed form of the arena."""
    return (word ^ _SIGN) - _SIGN


@kernel
def last_place(s: Arrays, fifo: int) -> int:
    """Return the index of the last slot of a ring: a mask."""
    return (1 << (s.arena[fifo + f.FIFO_SHAPE] >> 8 & 0x1F)) - 1


@kernel
def capacity_of(s: Arrays, fifo: int) -> int:
    """Return the capacity of a FIFO in wavelets."""
    return s.arena[fifo + f.FIFO_SHAPE] >> 16


@kernel
def place_of(s: Arrays, fifo: int, number: int) -> int:
    """Return the arena offset of wavelet `number`."""
    return fifo + f.FIFO_RING + 2 * (number & last_place(s, fifo))


@kernel
def head_of(s: Arrays, fifo: int) -> int:
    """Return the arena offset of the oldest wavelet."""
    return place_of(s, fifo, s.arena[fifo + f.FIFO_HEAD])


@kernel
def ready_cycle(s: Arrays, fifo: int) -> int:
    """Return the cycle from which the oldest wavelet can be taken; FAR: the FIFO is empty."""
    head = s.arena[fifo + f.FIFO_HEAD]
    if head == s.arena[fifo + f.FIFO_TAIL]:
        return f.FAR
    return s.arena[place_of(s, fifo, head)]


@kernel
def room_cycle(s: Arrays, fifo: int, delay: int) -> int:
    """Return the cycle from which another wavelet fits; FAR: not known yet."""
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
    """Return the arena offset of a wavelet's tag in a FIFO with tags."""
    places = 1 << (s.arena[fifo + f.FIFO_SHAPE] >> 8 & 0x1F)
    return fifo + f.FIFO_RING + 2 * places + (number & (places - 1))
