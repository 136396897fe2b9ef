"""Registers of a PE's queues: binding to other colors, and telling when they are empty (M134–M137).

An input queue keeps its channel, stored under the color that it serves at load (`PROGRAM_INPUTS`);
the switch of its current color leads there. So only programs that access their queues have the
overhead. In their PEs no operation runs ahead of the clock: while the compute element acts in a
cycle, queues have their state of the start of the cycle.
"""

from __future__ import annotations

from onewafer.image import NUM_COLORS, TEARDOWN_TASK
from onewafer.simulator.arithmetic.queue_words import (
    ALL_QUEUES,
    ALL_QUEUES_REGISTER,
    GOES_TO_HOST,
    HAS_NO_COLOR,
    HOLDS_WAVELETS,
    INPUT_QUEUE_REGISTER,
    IS_FILTERED,
    IS_TAKEN,
    IS_USED,
    NO_COLOR,
    NO_OBSTACLE,
    NUM_QUEUES,
    OUTPUT_QUEUE_REGISTER,
    STATUS,
    asked_of,
    color_in,
    flushes_word,
    has_filter_in,
    queue_register_at,
    queue_word,
    with_flushed,
    written_flushes,
)
from onewafer.simulator.arithmetic.registers import kind_of, number_of
from onewafer.simulator.fast.kernels.bookkeeping.agenda import wake_attention, wake_router
from onewafer.simulator.fast.kernels.fabric.fifo import capacity_of
from onewafer.simulator.fast.kernels.fabric.switch_rows import row_of
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64

# --- which queue ---------------------------------------------------------------------------------


@shared
def find_queue_register(s: Arrays, pe: int, address: int, num_bytes: int) -> int:
    """Return the register at an address, or NONE; only bound queues have a register."""
    register = queue_register_at(address, num_bytes)
    if register == f.NONE or kind_of(register) == ALL_QUEUES_REGISTER:
        return register
    return f.NONE if s.queue_colors[pe, place_of_color(register)] == NO_COLOR else register


@kernel
def place_of_color(register: int) -> int:
    """Return the index of a queue's color among those of its PE."""
    number = number_of(register)
    return number if kind_of(register) == INPUT_QUEUE_REGISTER else NUM_QUEUES + number


@kernel
def channel_of_queue(s: Arrays, pe: int, queue: int) -> int:
    """Return the channel of a bound input queue."""
    program = s.pes[pe, f.PE_PROGRAM]
    home = s.programs[program, f.PROGRAM_INPUTS + queue]
    return s.pes[pe, f.PE_CHANNELS] + s.programs[program, f.PROGRAM_COLORS + home]


@kernel
def output_of_queue(s: Arrays, pe: int, queue: int) -> int:
    """Return the arena offset of an output queue; 0: no DSD uses it."""
    distance = s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_QUEUES + queue]
    return 0 if distance == f.NONE else s.pes[pe, f.PE_OUTPUTS] + distance


@shared
def color_now(s: Arrays, pe: int, dsd: int, is_input: bool) -> int:
    """Return the color of a fabric DSD; NONE: its queue serves no or another color (M43, M135)."""
    side = 0 if is_input else NUM_QUEUES
    bound = int64(s.queue_colors[pe, side + s.dsds[dsd, f.DSD_QUEUE]])
    if bound == NO_COLOR:
        return s.dsds[dsd, f.DSD_COLOR]
    named = s.dsds[dsd, f.DSD_NAMED]
    return bound if named == f.NONE or named == bound else f.NONE


@shared
def home_of_dsd(s: Arrays, pe: int, dsd: int, color: int) -> int:
    """Return the color under which the channel of a fabin DSD is stored."""
    queue = s.dsds[dsd, f.DSD_QUEUE]
    if s.queue_colors[pe, queue] == NO_COLOR:
        return color
    return s.programs[s.pes[pe, f.PE_PROGRAM], f.PROGRAM_INPUTS + queue]


@shared
def home_of_color(s: Arrays, pe: int, color: int) -> int:
    """Return the color under which the channel that serves a color is stored, or NONE."""
    program = s.pes[pe, f.PE_PROGRAM]
    first = s.programs[program, f.PROGRAM_CHANNELS]
    for way in range(first, first + s.programs[program, f.PROGRAM_NUM_CHANNELS]):
        served = s.ways[way, f.WAY_COLOR]
        queue = number_of_channel(s, s.pes[pe, f.PE_CHANNELS] + s.ways[way, f.WAY_CHANNEL])
        if queue >= 0 and s.queue_colors[pe, queue] != NO_COLOR:
            served = int64(s.queue_colors[pe, queue])
        if served == color:
            return s.ways[way, f.WAY_COLOR]
    return f.NONE


@kernel
def number_of_channel(s: Arrays, channel: int) -> int:
    """Return the input queue of a channel, or NONE."""
    return s.fifos[s.arena[channel + f.FIFO_ROW], f.FIFOS_NUMBER]


# --- read and write ------------------------------------------------------------------------------


@shared
def read_queue_register(s: Arrays, pe: int, register: int) -> int:
    """Return a register as of the start of the cycle."""
    number = number_of(register)
    if kind_of(register) == ALL_QUEUES_REGISTER:
        if number < STATUS:
            return flushes_word(int64(s.queue_flushes[pe]), number)
        shift = NUM_QUEUES * (number - STATUS)
        full = full_queues(s, pe) >> shift & ALL_QUEUES
        return empty_queues(s, pe) >> shift & ALL_QUEUES | full << NUM_QUEUES
    color = int64(s.queue_colors[pe, place_of_color(register)])
    is_input = kind_of(register) == INPUT_QUEUE_REGISTER
    return queue_word(color, 1 if is_input and has_filter(s, pe, color) else 0)


@shared
def write_queue_register(s: Arrays, block: int, register: int, word: int, cycle: int) -> None:
    """Set a register; an input queue's color takes effect in the next cycle (M132)."""
    pe = s.arena[block + f.BLOCK_PE]
    if kind_of(register) == ALL_QUEUES_REGISTER:
        flushes = written_flushes(int64(s.queue_flushes[pe]), number_of(register), word)
        s.queue_flushes[pe] = flushes
        if asked_of(flushes):
            s.arena[block + f.BLOCK_IS_CONTENDED] |= f.IS_ASKED
            wake_attention(s, block, cycle + 1)
        return
    color = color_in(word)
    obstacle = obstacle_of(s, pe, register, color, has_filter_in(word))
    if obstacle != NO_OBSTACLE:
        s.clock[f.FAULT] = f.BIND_FAULT
        s.clock[f.FAULT_DETAIL] = register
        s.clock[f.FAULT_OTHER] = obstacle << 8 | color
        return
    s.queue_colors[pe, place_of_color(register)] = color
    if kind_of(register) == INPUT_QUEUE_REGISTER:
        s.pes[pe, f.PE_WRITE_CYCLE] = cycle
        s.pes[pe, f.PE_WRITE_REGISTER] = register
        s.pes[pe, f.PE_WRITE_WORD] = word
        wake_router(s, block, cycle + 1)


@shared
def attach(s: Arrays, pe: int, queue: int, color: int) -> None:
    """Point the switch of a color to an input queue, and that of its last color nowhere."""
    channel = channel_of_queue(s, pe, queue)
    fifo = s.arena[channel + f.FIFO_ROW]
    before = row_of(s, pe, s.fifos[fifo, f.FIFOS_COLOR])
    if before != f.NONE:
        s.switches[before, f.SWITCH_CHANNEL] = 0
    after = row_of(s, pe, color)
    if after != f.NONE:
        s.switches[after, f.SWITCH_CHANNEL] = channel
    s.fifos[fifo, f.FIFOS_COLOR] = color


@shared
def obstacle_of(s: Arrays, pe: int, register: int, color: int, with_filter: bool) -> int:
    """Return the obstacle to a queue serving a color; none if it already does (M135)."""
    if color == s.queue_colors[pe, place_of_color(register)]:
        return NO_OBSTACLE
    is_output = kind_of(register) == OUTPUT_QUEUE_REGISTER
    fifo = 0
    if is_output:
        fifo = output_of_queue(s, pe, number_of(register))
    else:
        fifo = channel_of_queue(s, pe, number_of(register))
    if fifo and is_used(s, fifo, is_output):
        return IS_USED
    if fifo and s.arena[fifo + f.FIFO_HEAD] != s.arena[fifo + f.FIFO_TAIL]:
        return HOLDS_WAVELETS
    if color >= NUM_COLORS:
        return HAS_NO_COLOR
    if is_output:
        return NO_OBSTACLE
    if home_of_color(s, pe, color) != f.NONE:
        return IS_TAKEN
    row = row_of(s, pe, color)
    if row != f.NONE and s.switches[row, f.SWITCH_CHANNEL] != 0:
        return GOES_TO_HOST
    return IS_FILTERED if has_filter(s, pe, color) and not with_filter else NO_OBSTACLE


@kernel
def is_used(s: Arrays, fifo: int, is_output: bool) -> bool:
    """Tell whether a live operation uses a queue."""
    if is_output:
        return s.fifos[s.arena[fifo + f.FIFO_ROW], f.FIFOS_WRITER] != f.NONE
    return s.arena[fifo + f.FIFO_READER] != 0


@kernel
def has_filter(s: Arrays, pe: int, color: int) -> bool:
    """Tell whether a color has a filter at a PE."""
    row = row_of(s, pe, color)
    return row != f.NONE and s.switches[row, f.SWITCH_FILTER] != f.NO_FILTER


# --- empty queues --------------------------------------------------------------------------------


@shared
def empty_queues(s: Arrays, pe: int) -> int:
    """Return the bit set of the empty queues: input queues, then output queues."""
    program = s.pes[pe, f.PE_PROGRAM]
    held = 0
    first = s.programs[program, f.PROGRAM_CHANNELS]
    for way in range(first, first + s.programs[program, f.PROGRAM_NUM_CHANNELS]):
        channel = s.pes[pe, f.PE_CHANNELS] + s.ways[way, f.WAY_CHANNEL]
        queue = number_of_channel(s, channel)
        if queue >= 0 and s.arena[channel + f.FIFO_HEAD] != s.arena[channel + f.FIFO_TAIL]:
            held |= 1 << queue
    for queue in range(NUM_QUEUES):
        output = output_of_queue(s, pe, queue)
        if output and s.arena[output + f.FIFO_HEAD] != s.arena[output + f.FIFO_TAIL]:
            held |= 1 << NUM_QUEUES + queue
    return ((1 << 2 * NUM_QUEUES) - 1) & ~held


@shared
def full_queues(s: Arrays, pe: int) -> int:
    """Return the bit set of the full queues: input queues, then output queues."""
    program = s.pes[pe, f.PE_PROGRAM]
    full = 0
    first = s.programs[program, f.PROGRAM_CHANNELS]
    for way in range(first, first + s.programs[program, f.PROGRAM_NUM_CHANNELS]):
        channel = s.pes[pe, f.PE_CHANNELS] + s.ways[way, f.WAY_CHANNEL]
        queue = number_of_channel(s, channel)
        if queue >= 0 and is_full(s, channel):
            full |= 1 << queue
    for queue in range(NUM_QUEUES):
        output = output_of_queue(s, pe, queue)
        if output and is_full(s, output):
            full |= 1 << NUM_QUEUES + queue
    return full


@kernel
def is_full(s: Arrays, fifo: int) -> bool:
    """Tell whether a queue is full."""
    return s.arena[fifo + f.FIFO_TAIL] - s.arena[fifo + f.FIFO_HEAD] >= capacity_of(s, fifo)


@shared
def tell_empty_queues(s: Arrays, block: int) -> None:
    """Report the queues that are empty at the start of the cycle, if asked to (M136)."""
    pe = s.arena[block + f.BLOCK_PE]
    flushes = int64(s.queue_flushes[pe])
    told = asked_of(flushes) & empty_queues(s, pe)
    if told == 0:
        return
    flushes = with_flushed(flushes, told)
    s.queue_flushes[pe] = flushes
    s.pending_tasks[pe] = int64(s.pending_tasks[pe]) | int64(1) << TEARDOWN_TASK
    if asked_of(flushes) == 0:
        s.arena[block + f.BLOCK_IS_CONTENDED] &= ~f.IS_ASKED


@shared
def look_again(s: Arrays, block: int, cycle: int) -> None:
    """Schedule a visit in the next cycle if input queues have just become empty."""
    pe = s.arena[block + f.BLOCK_PE]
    if asked_of(int64(s.queue_flushes[pe])) & ALL_QUEUES & empty_queues(s, pe):
        wake_attention(s, block, cycle + 1)
