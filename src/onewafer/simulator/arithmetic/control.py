"""The word of a control wavelet: eight commands, an entry and data (M91).

A wavelet in flight is a number: its 32 bits, and `CONTROL_MARK` if it is a control wavelet. A
command is three bits, `ignore << 2 | opcode`; the list of eight begins with its low end in bits
22–29 of the word and goes on in bits 0–15, where a wavelet with one command has its data.
"""

from __future__ import annotations

from onewafer.simulator.arithmetic.compiled import jitable

CONTROL_MARK = 1 << 32
ADVANCE_MARK = 1 << 33
"""A mark of wavelets in output queues: they advance the switch as they leave their first router
(M49)."""
MEMORY_MARK = 0xC000_0000
"""Bits of the word of a control wavelet in memory, which commands do not use (M48)."""
NO_OPERATION, ADVANCE, RESET, TEARDOWN = range(4)
"""Opcodes of a command."""

_LIST_SHIFT = 22
_NUM_LOW_BITS = 8
_LOW_BITS = (1 << _NUM_LOW_BITS) - 1
_HIGH_BITS = 0xFFFF
_COMMAND_BITS = 3
_IGNORED_NO_OPERATION = 4
_LAST_COMMAND = 7 * _COMMAND_BITS
_OTHER_BITS = CONTROL_MARK | 0xC03F_0000
_ENTRY_SHIFT, _ENTRY_BITS = 16, 0x3F
NUM_ENTRIES = _ENTRY_BITS + 1
"""Entries that a control wavelet can name."""


@jitable
def is_control(word: int) -> bool:
    """Tell whether a wavelet is a control wavelet."""
    return word & CONTROL_MARK != 0


@jitable
def opcode_of(word: int) -> int:
    """Return the action of command 0."""
    return word >> _LIST_SHIFT & 3


@jitable
def is_ignored(word: int) -> bool:
    """Tell whether command 0 keeps the wavelet out of the compute element (M94)."""
    return word >> (_LIST_SHIFT + 2) & 1 != 0


@jitable
def control_task_of(entry: int, offset: int) -> int:
    """Return the control task of an entry, relative to the offset of a queue (M145)."""
    return (entry + offset) % NUM_ENTRIES


@jitable
def entry_of(word: int) -> int:
    """Return the control task that the wavelet starts."""
    return word >> _ENTRY_SHIFT & _ENTRY_BITS


@jitable
def kept_word(word: int, mask: int) -> int:
    """Return the word of a received control wavelet in its form in memory (M48, M143).

    The SDK says that the mask is combined with the first six bits of the index, which are the
    entry. It does not say whether received or sent words are masked: masking both would cancel out
    in a PE that forwards wavelets; here, received words are masked (a decision of this project).
    """
    return word ^ mask << _ENTRY_SHIFT | MEMORY_MARK


@jitable
def popped(word: int) -> int:
    """Return the wavelet without command 0: later commands move up, an ignored NOP is appended."""
    commands = (word >> _LIST_SHIFT & _LOW_BITS) | (word & _HIGH_BITS) << _NUM_LOW_BITS
    commands = commands >> _COMMAND_BITS | _IGNORED_NO_OPERATION << _LAST_COMMAND
    moved = (commands & _LOW_BITS) << _LIST_SHIFT | commands >> _NUM_LOW_BITS
    return word & _OTHER_BITS | moved
