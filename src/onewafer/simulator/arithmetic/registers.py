"""The words of a router's registers, as programs read and write them (M130–M133).

The state of a color in a router is four *ways*, one a switch position, and a few flags. A way is a
number: its receive set, its transmit set, which of the two are its own, and whether it is valid. A
set that is not its own is inherited from the valid position before it.

    way        bits 0–4 receive, 5–9 transmit, 10 the receive set is its own, 11 the transmit set
               is, 12 it is valid

A register has an address in words and a number here: its kind times 32, plus its color.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import ROUTER_WORDS, TORN_DOWN_WORDS
from onewafer.simulator.arithmetic.compiled import jitable
from onewafer.simulator.arithmetic.control import ADVANCE, NO_OPERATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.image import SwitchPosition

NO_REGISTER = -1
COLOR_REGISTER, SWITCH_REGISTER, SIDES_REGISTER = 0, 1, 2
"""Kinds: routes; positions; the second own side of positions."""
COUNTER_REGISTER, LIMIT_REGISTER, MAXIMUM_REGISTER, PASSING_REGISTER = 3, 4, 5, 6
"""Kinds: those of a counter filter, see `filters`."""
PENDING_REGISTER = 7
"""The last kind: the torn-down colors, and registers without a color (`MASK_NUMBER`)."""
MASK_NUMBER = 2
"""The mask of kept control wavelets, among registers of the last kind (M143)."""
KIND_SHIFT = 5
_NUMBER_MASK = 31
_NUM_COLORS = 24
_LAST_PLACE = (PENDING_REGISTER << KIND_SHIFT) - 1
_FIRST_PENDING = TORN_DOWN_WORDS - ROUTER_WORDS

NUM_WAYS = 4
_SET = 31
_TRANSMIT_SHIFT = 5
OWNS_RECEIVE, OWNS_TRANSMIT, IS_VALID = 1 << 10, 1 << 11, 1 << 12
_OWNS = OWNS_RECEIVE | OWNS_TRANSMIT
_RAMP, _NO_DIRECTION = 4, 5
_SELECTS_RECEIVE = 8
"""In the four bits of a position: it changes the receive set; else the transmit set."""
_HAS_SECOND = 8
"""In the four bits of a position's second side: it has one."""
_VERTICAL_SWAP, _HORIZONTAL_SWAP = 1 << 10, 1 << 11
_POP_SHIFT, _POP_MASK = 12, 3
_IS_TORN = 1 << 14
_IS_RING, _POSITION_SHIFT = 1 << 12, 13
_HORIZONTAL_LINKS, _VERTICAL_LINKS = 0b0011, 0b1100
ALL_POP = 0b1111


@jitable
def register_at(address: int, num_bytes: int) -> int:
    """Return the register at a byte address, or `NO_REGISTER`; they are read as 16 bits."""
    place = (address >> 1) - ROUTER_WORDS
    if address & 1 or num_bytes != 2 or place < 0 or place > _LAST_PLACE:  # noqa: PLR2004  # bytes
        return NO_REGISTER
    if place & _NUMBER_MASK < _NUM_COLORS:
        return place
    word = place - _FIRST_PENDING
    return PENDING_REGISTER << KIND_SHIFT | word if word in (0, 1, MASK_NUMBER) else NO_REGISTER


@jitable
def kind_of(register: int) -> int:
    """Return the kind of a register."""
    return register >> KIND_SHIFT


@jitable
def number_of(register: int) -> int:
    """Return the color of a register; for the last kind, the number of the register."""
    return register & _NUMBER_MASK


# --- ways ----------------------------------------------------------------------------------------


@jitable
def receive_of(way: int) -> int:
    """Return the directions from which a way takes wavelets."""
    return way & _SET


@jitable
def transmit_of(way: int) -> int:
    """Return the directions to which a way sends wavelets."""
    return way >> _TRANSMIT_SHIFT & _SET


@jitable
def is_valid(way: int) -> bool:
    """Tell whether a switch can be in the position."""
    return way & IS_VALID != 0


def way_at_load(receive: int, transmit: int, before: int) -> int:
    """Return the way of a configured position; it owns the sets that differ from those before it.

    A way without a difference owns both sets.
    """
    own = 0
    if receive != receive_of(before):
        own |= OWNS_RECEIVE
    if transmit != transmit_of(before):
        own |= OWNS_TRANSMIT
    return IS_VALID | (own or _OWNS) | receive | transmit << _TRANSMIT_SHIFT


def ways_at_load(positions: Sequence[SwitchPosition | None]) -> list[int]:
    """Return the four ways of a configuration; the last ones may be invalid."""
    ways: list[int] = []
    before = 0
    for position in positions:
        if position is None:
            ways.append(0)
        else:
            before = way_at_load(position.rx, position.tx, before)
            ways.append(before)
    return ways + [0] * (NUM_WAYS - len(ways))


@jitable
def lowest(directions: int) -> int:
    """Return the first direction of a set, or the number for an empty set."""
    for direction in range(_RAMP + 1):
        if directions >> direction & 1:
            return direction
    return _NO_DIRECTION


@jitable
def position_bits(way: int) -> int:
    """Return the four bits of a position in a switch register."""
    selects = _SELECTS_RECEIVE if way & OWNS_RECEIVE else 0
    if way & IS_VALID == 0:
        return selects | _NO_DIRECTION
    return selects | lowest(receive_of(way) if selects else transmit_of(way))


@jitable
def with_position_bits(way: int, bits: int, before: int) -> int:
    """Return a way after a program wrote its position bits; other parts stay."""
    if bits == position_bits(way):
        return way
    direction = bits & 7
    own = OWNS_RECEIVE if bits & _SELECTS_RECEIVE else OWNS_TRANSMIT
    if direction > _RAMP:
        return own
    if own == OWNS_RECEIVE:
        return IS_VALID | own | 1 << direction | transmit_of(before) << _TRANSMIT_SHIFT
    return IS_VALID | own | receive_of(before) | 1 << direction + _TRANSMIT_SHIFT


@jitable
def second_bits(way: int) -> int:
    """Return the four bits of a position's second own set."""
    owns_both = way & IS_VALID and way & _OWNS == _OWNS
    return _HAS_SECOND | lowest(transmit_of(way)) if owns_both else 0


@jitable
def with_second_bits(way: int, bits: int, before: int) -> int:
    """Return a way after a program wrote its second own set."""
    if bits == second_bits(way) or way & IS_VALID == 0 or way & OWNS_RECEIVE == 0:
        return way
    kept = IS_VALID | OWNS_RECEIVE | receive_of(way)
    direction = bits & 7
    if bits & _HAS_SECOND == 0 or direction > _RAMP:
        return kept | transmit_of(before) << _TRANSMIT_SHIFT
    return kept | OWNS_TRANSMIT | 1 << direction + _TRANSMIT_SHIFT


@jitable
def inherited(way: int, before: int) -> int:
    """Return a way whose inherited sets come from `before`, the valid position before it."""
    if way & IS_VALID == 0:
        return way
    if way & OWNS_RECEIVE == 0:
        way = way & ~_SET | receive_of(before)
    if way & OWNS_TRANSMIT == 0:
        way = way & ~(_SET << _TRANSMIT_SHIFT) | transmit_of(before) << _TRANSMIT_SHIFT
    return way


@jitable
def rewritten(way: int, kind: int, bits: int, before: int) -> int:
    """Return position 1, 2 or 3 after a register was written; `before` is the valid one before.

    `bits` are the position's own in a register of positions or of second sides.
    """
    if kind == SWITCH_REGISTER:
        way = with_position_bits(way, bits, before)
    elif kind == SIDES_REGISTER:
        way = with_second_bits(way, bits, before)
    return inherited(way, before)


# --- registers of a color ------------------------------------------------------------------------


@jitable
def color_word(first: int, swaps: int, pop_mode: int, is_torn: int) -> int:
    """Return the register of a color's routes; `swaps` are the links at which it is swapped."""
    word = transmit_of(first) | receive_of(first) << _TRANSMIT_SHIFT | pop_mode << _POP_SHIFT
    if swaps & _VERTICAL_LINKS:
        word |= _VERTICAL_SWAP
    if swaps & _HORIZONTAL_LINKS:
        word |= _HORIZONTAL_SWAP
    return word | _IS_TORN if is_torn else word


@jitable
def first_of(word: int) -> int:
    """Return position 0 from a register of routes."""
    receive = word >> _TRANSMIT_SHIFT & _SET
    return IS_VALID | _OWNS | receive | (word & _SET) << _TRANSMIT_SHIFT


@jitable
def pop_mode_of(word: int) -> int:
    """Return the pop mode in a register of routes."""
    return word >> _POP_SHIFT & _POP_MASK


@jitable
def is_torn_in(word: int) -> int:
    """Return whether a register of routes says that the color is torn down, 0 or 1."""
    return 1 if word & _IS_TORN else 0


@jitable
def switch_word(bits: int, position: int, is_ring: int) -> int:
    """Return the register of a switch from the bits of its positions, its state and its mode."""
    return bits | position << _POSITION_SHIFT | (_IS_RING if is_ring else 0)


@jitable
def position_in(word: int) -> int:
    """Return the position in force that a register of a switch names."""
    return word >> _POSITION_SHIFT & 3


@jitable
def is_ring_in(word: int) -> int:
    """Return whether a register of a switch says that it is a ring, 0 or 1."""
    return 1 if word & _IS_RING else 0


@jitable
def bits_in(word: int, position: int) -> int:
    """Return the four bits of position 1, 2 or 3 in a register."""
    return word >> 4 * (position - 1) & 15


@jitable
def pops_of(pop_mode: int) -> int:
    """Return the opcodes, a bit set, after which a pop mode moves the list of commands up (M93)."""
    if pop_mode == 0:
        return 0
    if pop_mode == 1:
        return ALL_POP
    return 1 << ADVANCE if pop_mode == 2 else 1 << ADVANCE | 1 << NO_OPERATION  # noqa: PLR2004  # modes
