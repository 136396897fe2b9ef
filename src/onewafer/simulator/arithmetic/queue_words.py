"""The words by which programs read their queues and bind them to other colors (M134–M137).

A program that accesses its queues has registers for them, beside those of the router. Their numbers
follow the router's: a kind, times 32, plus the number of the queue, or of one of the words about
all queues of a side.

    queue of either side   bits 4–8 the color, bit 0 whether a filter stands before an input queue
    flushed                a bit for each queue that became empty since it was asked
    asked                  a bit for each queue that shall report when it is empty
    status                 bits 0–7 the queues that are empty, 8–15 those that are full
"""

from __future__ import annotations

from onewafer.image import (
    ASKED_WORDS,
    FLUSHED_WORDS,
    INPUT_QUEUE_WORDS,
    OUTPUT_QUEUE_WORDS,
    STATUS_WORDS,
)
from onewafer.simulator.arithmetic.compiled import jitable

INPUT_QUEUE_REGISTER, OUTPUT_QUEUE_REGISTER, ALL_QUEUES_REGISTER = 8, 9, 10
"""Kinds, behind those of `registers`."""
FLUSHED, ASKED, STATUS = 0, ASKED_WORDS - FLUSHED_WORDS, STATUS_WORDS - FLUSHED_WORDS
"""Words about all queues: for input queues; the word for output queues follows each."""
_NUM_WORDS = STATUS + 2
KIND_SHIFT = 5

NUM_QUEUES = 8
"""Queues of each side."""
ALL_QUEUES = (1 << NUM_QUEUES) - 1
NO_COLOR = 0xFF
"""In `MachineState.queue_colors`: the program has not initialised the queue."""
FLUSHED_SHIFT = 2 * NUM_QUEUES
"""Position in `MachineState.queue_flushes`, which holds the asked queues (input, then output
queues); from this position on, the queues that have become empty."""

NO_OBSTACLE, IS_USED, HOLDS_WAVELETS, HAS_NO_COLOR, IS_TAKEN, GOES_TO_HOST, IS_FILTERED = range(7)
"""Why a queue cannot be bound to a color (M135), the first that holds."""

_COLOR_SHIFT, _COLOR_MASK = 4, 31
_HAS_FILTER = 1


@jitable
def queue_register_at(address: int, num_bytes: int) -> int:
    """Return the register at a byte address, or −1; they are read as 16 bits."""
    word = address >> 1
    if address & 1 or num_bytes != 2:  # noqa: PLR2004  # bytes of a register
        return -1
    if OUTPUT_QUEUE_WORDS <= word < OUTPUT_QUEUE_WORDS + NUM_QUEUES:
        return OUTPUT_QUEUE_REGISTER << KIND_SHIFT | word - OUTPUT_QUEUE_WORDS
    if INPUT_QUEUE_WORDS <= word < INPUT_QUEUE_WORDS + NUM_QUEUES:
        return INPUT_QUEUE_REGISTER << KIND_SHIFT | word - INPUT_QUEUE_WORDS
    if FLUSHED_WORDS <= word < FLUSHED_WORDS + _NUM_WORDS:
        return ALL_QUEUES_REGISTER << KIND_SHIFT | word - FLUSHED_WORDS
    return -1


@jitable
def is_of_queues(register: int) -> bool:
    """Tell whether a register belongs to the queues, not to the router."""
    return register >= INPUT_QUEUE_REGISTER << KIND_SHIFT


@jitable
def queue_word(color: int, has_filter: int) -> int:
    """Return the register of a queue that serves a color."""
    return color << _COLOR_SHIFT | (_HAS_FILTER if has_filter else 0)


@jitable
def color_in(word: int) -> int:
    """Return the color in the register of a queue."""
    return word >> _COLOR_SHIFT & _COLOR_MASK


@jitable
def has_filter_in(word: int) -> bool:
    """Tell whether the register of a queue allows a filter before the queue."""
    return word & _HAS_FILTER != 0


@jitable
def asked_of(flushes: int) -> int:
    """Return the queues that were asked to report: input queues, then output queues."""
    return flushes & (1 << FLUSHED_SHIFT) - 1


@jitable
def with_flushed(flushes: int, empty: int) -> int:
    """Return the flushes after all asked queues of `empty` have reported."""
    told = asked_of(flushes) & empty
    return flushes & ~told | told << FLUSHED_SHIFT


@jitable
def flushes_word(flushes: int, number: int) -> int:
    """Return the register of the queues that were asked, or have become empty."""
    shift = NUM_QUEUES * (number & 1)
    if number < ASKED:
        shift += FLUSHED_SHIFT
    return flushes >> shift & ALL_QUEUES


@jitable
def written_flushes(flushes: int, number: int, word: int) -> int:
    """Return the flushes after a register was written: new requests, and cleared reports."""
    queues = (word & ALL_QUEUES) << NUM_QUEUES * (number & 1)
    if number < ASKED:
        return flushes & ~(queues << FLUSHED_SHIFT)
    return flushes | queues if number < STATUS else flushes
