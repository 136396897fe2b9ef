"""Words in PE memory: little-endian, at any byte address (M10, M11)."""

from __future__ import annotations

from onewafer.simulator.fast.arrays import Arrays, int64
from onewafer.simulator.fast.compilation import kernel
from onewafer.simulator.fast.fields import FAULT, FAULT_DETAIL, FAULT_OTHER, MEMORY_FAULT

_ADDRESS_MASK = 0xFFFF


@kernel
def read(s: Arrays, pe: int, address: int, num_bytes: int) -> int:
    """Return the word at `address`, which wraps at 64 KiB; 0 and a fault if it is outside."""
    address &= _ADDRESS_MASK
    if address + num_bytes > s.memory.shape[1]:
        note_outside(s, address, num_bytes)
        return 0
    word = int64(0)
    for i in range(num_bytes):
        word |= int64(s.memory[pe, address + i]) << (8 * i)
    return word


@kernel
def write(s: Arrays, pe: int, address: int, word: int, num_bytes: int) -> None:
    """Store the low bytes of `word` at `address`, or note a fault."""
    address &= _ADDRESS_MASK
    if address + num_bytes > s.memory.shape[1]:
        note_outside(s, address, num_bytes)
        return
    for i in range(num_bytes):
        s.memory[pe, address + i] = word >> (8 * i) & 0xFF


@kernel
def note_outside(s: Arrays, address: int, num_bytes: int) -> None:
    """Note a fault, unless there is one already."""
    if s.clock[FAULT]:
        return
    s.clock[FAULT] = MEMORY_FAULT
    s.clock[FAULT_DETAIL] = address
    s.clock[FAULT_OTHER] = num_bytes
