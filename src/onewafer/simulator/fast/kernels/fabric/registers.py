"""Registers of a router: routes and switches as a program reads and writes them (M130–M133).

Registers of queues are in `queues`; they and the mask of exceptions (M147) are dispatched here.

A program accesses them by loads and stores beyond the memory, which are faults at first, so other
programs have no overhead. A written word is pending in the PE until its router, or the next access,
reaches a later cycle.
"""

from __future__ import annotations

from onewafer.image import ALL_MASKED, COLORS_OF_A_WORD, MASKABLE
from onewafer.simulator.arithmetic.control import NUM_ENTRIES
from onewafer.simulator.arithmetic.exceptions import (
    EXCEPTIONS_NUMBER,
    EXCEPTIONS_REGISTER,
    is_exceptions_register,
)
from onewafer.simulator.arithmetic.filters import filter_word, written_passing
from onewafer.simulator.arithmetic.queue_words import color_in, is_of_queues
from onewafer.simulator.arithmetic.registers import (
    COLOR_REGISTER,
    COUNTER_REGISTER,
    LIMIT_REGISTER,
    MASK_NUMBER,
    NUM_WAYS,
    PENDING_REGISTER,
    SWITCH_REGISTER,
    bits_in,
    color_word,
    first_of,
    is_ring_in,
    is_torn_in,
    is_valid,
    kind_of,
    number_of,
    pop_mode_of,
    pops_of,
    position_bits,
    position_in,
    receive_of,
    register_at,
    rewritten,
    second_bits,
    switch_word,
    transmit_of,
)
from onewafer.simulator.fast.kernels.bookkeeping.agenda import wake_router
from onewafer.simulator.fast.kernels.fabric.queues import (
    attach,
    find_queue_register,
    read_queue_register,
    write_queue_register,
)
from onewafer.simulator.fast.kernels.fabric.switch_rows import row_of
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

_HALF = 0xFFFF


@shared
def find_register(s: Arrays, pe: int, address: int, num_bytes: int) -> int:
    """Return the register of router or queues at an address, or NONE."""
    program = s.pes[pe, f.PE_PROGRAM]
    if s.programs[program, f.PROGRAM_HAS_REGISTERS] == 0:
        return f.NONE
    if s.programs[program, f.PROGRAM_CHECKED] and is_exceptions_register(address, num_bytes):
        return EXCEPTIONS_REGISTER
    if s.programs[program, f.PROGRAM_HAS_QUEUES]:
        register = find_queue_register(s, pe, address, num_bytes)
        if register != f.NONE:
            return register
    register = register_at(address, num_bytes)
    if register < 0 or kind_of(register) == PENDING_REGISTER:
        return register
    row = row_of(s, pe, number_of(register))
    if row == f.NONE:
        return f.NONE
    is_of_filter = kind_of(register) >= COUNTER_REGISTER
    return (
        f.NONE
        if is_of_filter and s.switches[row, f.SWITCH_FILTER] != f.COUNTER_FILTER
        else register
    )


@shared
def read_register(s: Arrays, block: int, register: int, cycle: int) -> int:
    """Return a register as of the start of `cycle`; torn-down colors are reported once."""
    settle_register(s, block, cycle)
    pe = s.arena[block + f.BLOCK_PE]
    if is_of_queues(register):
        return read_queue_register(s, pe, register)
    if kind_of(register) == PENDING_REGISTER:
        if number_of(register) == MASK_NUMBER:
            return int64(s.control_masks[pe])
        if number_of(register) == EXCEPTIONS_NUMBER:
            return ALL_MASKED ^ int64(s.unmasked_exceptions[pe])
        shift = COLORS_OF_A_WORD * number_of(register)
        torn = int64(s.torn_colors[pe])
        s.torn_colors[pe] = torn & ~(_HALF << shift)
        return torn >> shift & _HALF
    row = row_of(s, pe, number_of(register))
    if kind_of(register) == COLOR_REGISTER:
        swaps, pop_mode = s.switches[row, f.SWITCH_SWAPS], s.switches[row, f.SWITCH_POP_MODE]
        return color_word(
            s.switches[row, f.SWITCH_WAYS], swaps, pop_mode, s.switches[row, f.SWITCH_IS_TORN]
        )
    if kind_of(register) >= COUNTER_REGISTER:
        counter, limit = s.switches[row, f.SWITCH_COUNTER], s.switches[row, f.SWITCH_LIMIT]
        return filter_word(kind_of(register), counter, limit, s.switches[row, f.SWITCH_PASSING])
    bits = 0
    for number in range(1, NUM_WAYS):
        way = s.switches[row, f.SWITCH_WAYS + number]
        field = position_bits(way) if kind_of(register) == SWITCH_REGISTER else second_bits(way)
        bits |= field << 4 * (number - 1)
    if kind_of(register) != SWITCH_REGISTER:
        return bits
    return switch_word(bits, s.switches[row, f.SWITCH_POSITION], s.switches[row, f.SWITCH_IS_RING])


@shared
def write_register(s: Arrays, block: int, register: int, word: int, cycle: int) -> None:
    """Write a register; the word takes effect after `cycle`."""
    settle_register(s, block, cycle)
    if is_of_queues(register):
        write_queue_register(s, block, register, word, cycle)
        return
    pe = s.arena[block + f.BLOCK_PE]
    if kind_of(register) == PENDING_REGISTER:
        if number_of(register) == MASK_NUMBER:
            s.control_masks[pe] = word % NUM_ENTRIES
        elif number_of(register) == EXCEPTIONS_NUMBER:
            s.unmasked_exceptions[pe] = ~word & MASKABLE
        return
    s.pes[pe, f.PE_WRITE_CYCLE] = cycle
    s.pes[pe, f.PE_WRITE_REGISTER] = register
    s.pes[pe, f.PE_WRITE_WORD] = word
    wake_router(s, block, cycle + 1)


@shared
def begin_cycle(s: Arrays, block: int, cycle: int) -> None:
    """Apply a register write from before `cycle`; if one is still pending, schedule a visit."""
    settle_register(s, block, cycle)
    if s.pes[s.arena[block + f.BLOCK_PE], f.PE_WRITE_CYCLE] != f.NEVER:
        wake_router(s, block, cycle + 1)


@shared
def settle_register(s: Arrays, block: int, cycle: int) -> None:
    """Apply the pending register write if it is from before `cycle`."""
    pe = s.arena[block + f.BLOCK_PE]
    if s.pes[pe, f.PE_WRITE_CYCLE] >= cycle:
        return
    s.pes[pe, f.PE_WRITE_CYCLE] = f.NEVER
    register, word = s.pes[pe, f.PE_WRITE_REGISTER], s.pes[pe, f.PE_WRITE_WORD]
    if is_of_queues(register):
        attach(s, pe, number_of(register), color_in(word))
        return
    row = row_of(s, pe, number_of(register))
    if kind_of(register) >= COUNTER_REGISTER:
        write_filter(s, row, kind_of(register), word)
        return
    if kind_of(register) == COLOR_REGISTER:
        s.switches[row, f.SWITCH_POP_MODE] = pop_mode_of(word)
        s.switches[row, f.SWITCH_IS_TORN] = is_torn_in(word)
        s.switches[row, f.SWITCH_WAYS] = first_of(word)
    elif kind_of(register) == SWITCH_REGISTER:
        s.switches[row, f.SWITCH_POSITION] = position_in(word)
        s.switches[row, f.SWITCH_IS_RING] = is_ring_in(word)
    before = s.switches[row, f.SWITCH_WAYS]
    for number in range(1, NUM_WAYS):
        way = s.switches[row, f.SWITCH_WAYS + number]
        way = rewritten(way, kind_of(register), bits_in(word, number), before)
        s.switches[row, f.SWITCH_WAYS + number] = way
        if is_valid(way):
            before = way
    derive(s, row)


@kernel
def write_filter(s: Arrays, row: int, kind: int, word: int) -> None:
    """Set a register of a counter filter (M102)."""
    if kind == COUNTER_REGISTER:
        s.switches[row, f.SWITCH_COUNTER] = word
    elif kind == LIMIT_REGISTER:
        s.switches[row, f.SWITCH_LIMIT] = word
    else:
        s.switches[row, f.SWITCH_PASSING] = written_passing(kind, word)


@kernel
def derive(s: Arrays, row: int) -> None:
    """Derive the direction sets and opcodes of a switch from its positions and pop mode."""
    s.switches[row, f.SWITCH_POPS] = pops_of(s.switches[row, f.SWITCH_POP_MODE])
    for number in range(NUM_WAYS):
        way = s.switches[row, f.SWITCH_WAYS + number]
        is_there = is_valid(way)
        s.switches[row, f.SWITCH_SETS + 2 * number] = receive_of(way) if is_there else f.NONE
        s.switches[row, f.SWITCH_SETS + 2 * number + 1] = transmit_of(way) if is_there else 0
