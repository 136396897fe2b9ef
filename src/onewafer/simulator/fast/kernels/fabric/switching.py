"""Switched colors: positions, commands and filters of a router (M90–M101).

If a color is switched at any PE, its routes at all PEs are marked (`IS_SWITCHED`), and come here
unless they are settled (see `switch_routes`); other colors pay a test of one bit. Wavelets of such
colors carry a tag that says whether they are control wavelets. A router reads the state of the
start of the cycle: a switch that changed in the current cycle also keeps its previous state.
"""

from __future__ import annotations

from onewafer.geometry import Direction
from onewafer.image import TEARDOWN_TASK
from onewafer.simulator.arithmetic.control import (
    ADVANCE,
    ADVANCE_MARK,
    CONTROL_MARK,
    RESET,
    TEARDOWN,
    is_control,
    is_ignored,
    opcode_of,
    popped,
)
from onewafer.simulator.arithmetic.filters import (
    next_count,
    next_limit,
    next_passing,
    next_then,
    passes_count,
)
from onewafer.simulator.arithmetic.registers import ALL_POP
from onewafer.simulator.fast.kernels.bookkeeping.agenda import (
    note,
    wake_attention,
    wake_element,
    wake_router,
)
from onewafer.simulator.fast.kernels.bookkeeping.recording import record
from onewafer.simulator.fast.kernels.fabric.fifo import (
    WORD,
    head_of,
    put,
    ready_cycle,
    room_cycle,
    tag_place,
    take,
)
from onewafer.simulator.fast.kernels.fabric.links import carry, end_wait, send, wait
from onewafer.simulator.fast.kernels.fabric.marks import set_tag, unmark
from onewafer.simulator.fast.kernels.fabric.switch_routes import unsettle_routes
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays, int64
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import EventKind

_RAMP = int(Direction.RAMP)
_NUM_LINKS = 4
_LINK_BUSY = int(StallReason.LINK_BUSY)
_NO_CREDIT = int(StallReason.NO_CREDIT)
_NO_ROUTE = int(StallReason.NO_ROUTE)
_SWITCH = int(StallReason.SWITCH)
_HOP = int(EventKind.HOP)
_RAMP_ARRIVAL = int(EventKind.RAMP_ARRIVAL)
_HALF = 0xFFFF


@shared
def serve_switched(
    s: Arrays, block: int, source: int, route: int, color: int, taken: int, cycle: int
) -> int:
    """Move the oldest wavelet of a source through a switch if possible; return its ports."""
    row = s.arena[route + f.ROUTE_SWITCH]
    port = s.fifos[s.arena[source + f.FIFO_ROW], f.FIFOS_PORT]
    word = marked_word(s, source)
    position = in_force(s, row, f.SWITCH_POSITION, cycle)
    passes = passes_filter(s, row, word, cycle)
    is_torn = in_force(s, row, f.SWITCH_IS_TORN, cycle) != 0
    if is_torn or not accepts(s, row, position, port, passes):
        needs_queue = passes and s.arena[block + f.BLOCK_IS_CONTENDED] & f.HAS_QUEUES == 0
        may_wait = is_torn or may_take(s, row, port, needs_queue)
        wait(s, source, cycle, _SWITCH if may_wait else _NO_ROUTE)
        return 0
    transmit = s.switches[row, f.SWITCH_SETS + 2 * position + 1]
    ports = transmit | (f.RAMP_INPUT if port == _RAMP else 0)
    if taken & ports:
        wait(s, source, cycle, _LINK_BUSY)
        wake_router(s, block, cycle + 1)
        return 0
    is_delivered = transmit >> _RAMP & 1 != 0 and passes
    if is_held_up_at_switch(s, block, source, row, transmit, is_delivered, cycle):
        return 0
    move_by_switch(s, block, source, row, color, transmit, is_delivered, cycle)
    return ports


@kernel
def marked_word(s: Arrays, fifo: int) -> int:
    """Return the oldest wavelet of a FIFO with tags, with the marks of its tag."""
    word = int64(s.arena[head_of(s, fifo) + 1]) & WORD
    tag = s.arena[tag_place(s, fifo, s.arena[fifo + f.FIFO_HEAD])]
    if tag & f.ADVANCE_TAG:
        word |= ADVANCE_MARK
    return word | CONTROL_MARK if tag & f.CONTROL_TAG else word


@kernel
def in_force(s: Arrays, row: int, field: int, cycle: int) -> int:
    """Return a field of a switch with an `OLD` column as of the start of `cycle` (M92)."""
    if s.switches[row, f.SWITCH_CHANGED] == cycle:
        return s.switches[row, field + f.NUM_OLD_FIELDS]
    return s.switches[row, field]


@kernel
def accepts(s: Arrays, row: int, position: int, port: int, passes: bool) -> bool:
    """Tell whether a position accepts a wavelet from a port and has an output (M57, M90)."""
    receive = s.switches[row, f.SWITCH_SETS + 2 * position]
    if receive < 0 or receive >> port & 1 == 0:
        return False
    transmit = s.switches[row, f.SWITCH_SETS + 2 * position + 1]
    for direction in range(_NUM_LINKS):
        if transmit >> direction & 1 and s.switches[row, f.SWITCH_BUFFERS + direction] == 0:
            return False
    lacks_queue = transmit >> _RAMP & 1 != 0 and s.switches[row, f.SWITCH_CHANNEL] == 0
    return not (lacks_queue and passes)


@kernel
def may_take(s: Arrays, row: int, port: int, passes: bool) -> bool:
    """Tell whether some position of the switch accepts a wavelet (M97).

    A wavelet whose color has no queue yet does not pass: the program may bind one (M137).
    """
    for position in range(s.switches[row, f.SWITCH_NUM_POSITIONS]):
        if accepts(s, row, position, port, passes):
            return True
    return False


@kernel
def passes_filter(s: Arrays, row: int, word: int, cycle: int) -> bool:
    """Tell whether a wavelet passes the filter to the compute element (M94, M100, M101)."""
    if is_control(word):
        if is_ignored(word):
            return False
        if s.switches[row, f.SWITCH_FILTER] != f.COUNTER_FILTER:
            return True
        if s.switches[row, f.SWITCH_FILTERS_CONTROL] == 0:
            return True
    if s.switches[row, f.SWITCH_FILTER] == f.NO_FILTER:
        return True
    if s.switches[row, f.SWITCH_FILTER] == f.RANGE_FILTER:
        index = word >> 16 & _HALF
        is_above = index >= s.switches[row, f.SWITCH_MINIMUM]
        return is_above and index <= s.switches[row, f.SWITCH_MAXIMUM]
    counter = in_force(s, row, f.SWITCH_COUNTER, cycle)
    passing = in_force(s, row, f.SWITCH_PASSING, cycle)
    return passes_count(counter, passing, is_control(word))


@kernel
def is_held_up_at_switch(
    s: Arrays, block: int, source: int, row: int, transmit: int, is_delivered: bool, cycle: int
) -> bool:
    """Tell whether a target has no room in this cycle; if so, note the wait (M51)."""
    for direction in range(_NUM_LINKS):
        if transmit >> direction & 1 == 0:
            continue
        if s.timing[f.T_HAS_LINK_WINDOW]:
            free = s.links[_NUM_LINKS * s.arena[block + f.BLOCK_PE] + direction, f.LINK_FREE]
            if free > cycle:
                wait(s, source, cycle, _LINK_BUSY)
                wake_router(s, block, free)
                return True
        buffer = s.switches[row, f.SWITCH_BUFFERS + direction]
        if lacks_room(s, block, source, buffer, s.timing[f.T_CREDIT], cycle):
            return True
    if not is_delivered:
        return False
    return lacks_room(s, block, source, s.switches[row, f.SWITCH_CHANNEL], 1, cycle)


@kernel
def lacks_room(s: Arrays, block: int, source: int, target: int, delay: int, cycle: int) -> bool:
    """Tell whether a target is full; if so, note the wait."""
    room = room_cycle(s, target, delay)
    if room <= cycle:
        return False
    if room == f.FAR:
        s.arena[target + f.FIFO_STATE] |= f.IS_AWAITED
    wait(s, source, cycle, _NO_CREDIT)
    wake_router(s, block, room)
    return True


@kernel
def move_by_switch(
    s: Arrays,
    block: int,
    source: int,
    row: int,
    color: int,
    transmit: int,
    is_delivered: bool,
    cycle: int,
) -> None:
    """Move the oldest wavelet of a source, and execute its switch commands."""
    word = marked_word(s, source)
    take(s, source, cycle)
    s.arena[source + f.FIFO_LAST_MOVE] = cycle
    if word & (CONTROL_MARK | ADVANCE_MARK):
        unmark(s, source, 1)
    if s.arena[source + f.FIFO_STATE]:
        end_wait(s, source, cycle)
    ready = ready_cycle(s, source)
    if ready < f.FAR:
        wake_router(s, block, max(cycle + 1, ready))
    else:
        if s.arena[block + f.BLOCK_IS_CONTENDED] & f.IS_ASKED:
            wake_attention(s, block, cycle + 1)
        if s.arena[block + f.BLOCK_NUM_SOURCES] <= f.SOURCE_GROUPS:
            s.arena[block + f.BLOCK_ACTIVE] &= ~(1 << (s.arena[source + f.FIFO_SHAPE] & 0xFF))
    if word & (CONTROL_MARK | ADVANCE_MARK):
        wake_router(s, block, cycle + 1)
    word = execute(s, row, transmit >> _RAMP & 1 != 0, word, cycle)
    if is_delivered:
        deliver_marked(s, block, s.switches[row, f.SWITCH_CHANNEL], cycle, word)
        record(s, cycle, block, _RAMP_ARRIVAL, color, word)
    arrival = cycle + s.timing[f.T_HOP]
    for direction in range(_NUM_LINKS):
        if transmit >> direction & 1:
            buffer = s.switches[row, f.SWITCH_BUFFERS + direction]
            mark_next(s, buffer, word)
            send(s, buffer, arrival, word & WORD)
            if s.timing[f.T_HAS_LINK_WINDOW]:
                carry(s, _NUM_LINKS * s.arena[block + f.BLOCK_PE] + direction, cycle)
            record(s, cycle, block, _HOP, color, direction)
    note(s, cycle + 1)


@kernel
def mark_next(s: Arrays, fifo: int, word: int) -> None:
    """Mark the next wavelet of a buffer or channel with tags if it is a control wavelet."""
    if is_control(word):
        set_tag(s, fifo, s.arena[fifo + f.FIFO_TAIL], f.CONTROL_TAG)


@kernel
def deliver_marked(s: Arrays, block: int, channel: int, cycle: int, word: int) -> None:
    """Hand a wavelet to the ramp (M40); the picker may wait for it."""
    readable = cycle + s.timing[f.T_RAMP]
    mark_next(s, channel, word)
    put(s, channel, readable, word & WORD)
    wake_element(s, block, readable)
    if s.arena[channel + f.FIFO_STARTS_TASK]:
        wake_attention(s, block, readable)


@kernel
def execute(s: Arrays, row: int, has_ramp: bool, word: int, cycle: int) -> int:
    """Update the switch for a departing wavelet; return the word to send (M92, M93, M101)."""
    is_counted = has_ramp and s.switches[row, f.SWITCH_FILTER] == f.COUNTER_FILTER
    if not is_counted and word & (CONTROL_MARK | ADVANCE_MARK) == 0:
        return word
    if s.switches[row, f.SWITCH_CHANGED] != cycle:
        for field in range(f.NUM_OLD_FIELDS):
            s.switches[row, field + f.NUM_OLD_FIELDS] = s.switches[row, field]
        s.switches[row, f.SWITCH_CHANGED] = cycle
    if is_counted:
        count(s, row, word)
    if word & ADVANCE_MARK:
        s.switches[row, f.SWITCH_POSITION] = following(s, row)
        word &= ~ADVANCE_MARK
    if is_control(word):
        word = obey(s, row, word, cycle)
    if (
        s.switches[row, f.SWITCH_POSITION] != s.switches[row, f.SWITCH_POSITION + f.NUM_OLD_FIELDS]
        or s.switches[row, f.SWITCH_IS_TORN] != s.switches[row, f.SWITCH_IS_TORN + f.NUM_OLD_FIELDS]
    ):
        unsettle_routes(s, row)
    return word


@kernel
def obey(s: Arrays, row: int, word: int, cycle: int) -> int:
    """Execute the first command of a control wavelet; return the word after it (M92, M93)."""
    opcode = opcode_of(word)
    pops = s.switches[row, f.SWITCH_POPS] >> opcode & 1
    if opcode == ADVANCE:
        before = s.switches[row, f.SWITCH_POSITION]
        s.switches[row, f.SWITCH_POSITION] = following(s, row)
        if (
            s.switches[row, f.SWITCH_POSITION] == before
            and s.switches[row, f.SWITCH_POPS] != ALL_POP
        ):
            pops = 0
    elif opcode == RESET:
        s.switches[row, f.SWITCH_POSITION] = 0
    elif opcode == TEARDOWN:
        s.switches[row, f.SWITCH_IS_TORN] = 1
        note_teardown(s, s.switches[row, f.SWITCH_PE], s.switches[row, f.SWITCH_COLOR], cycle)
    return popped(word) if pops else word


@shared
def note_teardown(s: Arrays, pe: int, color: int, cycle: int) -> None:
    """Note in a PE's registers that a color was torn down in `cycle` (M130, M133)."""
    if s.pes[pe, f.PE_PROGRAM] == f.NONE:
        return
    s.torn_colors[pe] = int64(s.torn_colors[pe]) | int64(1) << color
    s.pending_tasks[pe] = int64(s.pending_tasks[pe]) | int64(1) << TEARDOWN_TASK
    wake_attention(s, s.blocks[pe], cycle + 1)


@kernel
def count(s: Arrays, row: int, word: int) -> None:
    """Count a wavelet in a counter filter, if the filter counts its kind (M101)."""
    field = f.SWITCH_COUNTS_DATA
    if is_control(word):
        if is_ignored(word):
            return
        field = f.SWITCH_COUNTS_CONTROL
    if s.switches[row, field]:
        counter, limit = s.switches[row, f.SWITCH_COUNTER], s.switches[row, f.SWITCH_LIMIT]
        passing, then = s.switches[row, f.SWITCH_PASSING], s.switches[row, f.SWITCH_THEN]
        s.switches[row, f.SWITCH_COUNTER] = next_count(counter, limit)
        s.switches[row, f.SWITCH_LIMIT] = next_limit(counter, limit, then)
        s.switches[row, f.SWITCH_PASSING] = next_passing(counter, limit, passing, then)
        s.switches[row, f.SWITCH_THEN] = next_then(counter, limit, then)


@kernel
def following(s: Arrays, row: int) -> int:
    """Return the switch position after the current one."""
    position = s.switches[row, f.SWITCH_POSITION]
    for later in range(position + 1, s.switches[row, f.SWITCH_NUM_POSITIONS]):
        if s.switches[row, f.SWITCH_SETS + 2 * later] >= 0:
            return later
    return 0 if s.switches[row, f.SWITCH_IS_RING] else position
