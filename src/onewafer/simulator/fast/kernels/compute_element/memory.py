"""Words in PE memory: little-endian, at any byte address (M10, M11)."""

from __future__ import annotations

from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

_ADDRESS_MASK = 0xFFFF
_WORD_BYTES, _HALF_BYTES = 4, 2


@kernel
def read(s: Arrays, pe: int, address: int, num_bytes: int) -> int:
    """Return the word at `address`, which wraps at 64 KiB; 0 and a fault if it is outside."""
    at = int64(address) & _ADDRESS_MASK
    if at + num_bytes > s.memory.shape[1]:
        note_outside(s, at, num_bytes)
        return 0
    word = int64(s.memory[pe, at])
    if num_bytes >= _HALF_BYTES:
        word |= int64(s.memory[pe, at + 1]) << 8
    if num_bytes == _WORD_BYTES:
        word |= int64(s.memory[pe, at + 2]) << 16 | int64(s.memory[pe, at + 3]) << 24
    return word


@kernel
def write(s: Arrays, pe: int, address: int, word: int, num_bytes: int) -> None:
    """Store the low bytes of `word` at `address`, or note a fault."""
    at = int64(address) & _ADDRESS_MASK
    if at + num_bytes > s.memory.shape[1]:
        note_outside(s, at, num_bytes)
        return
    s.memory[pe, at] = word & 0xFF
    if num_bytes >= _HALF_BYTES:
        s.memory[pe, at + 1] = word >> 8 & 0xFF
    if num_bytes == _WORD_BYTES:
        s.memory[pe, at + 2] = word >> 16 & 0xFF
        s.memory[pe, at + 3] = word >> 24 & 0xFF


@shared
def note_outside(s: Arrays, address: int, num_bytes: int) -> None:
    """Note a fault, unless there is one already."""
    if s.clock[f.FAULT]:
        return
    s.clock[f.FAULT] = f.MEMORY_FAULT
    s.clock[f.FAULT_DETAIL] = address
    s.clock[f.FAULT_OTHER] = num_bytes
