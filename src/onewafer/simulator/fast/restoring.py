"""Tables of a snapshot into the arrays of a machine that was just built: see `checkpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import DSD_OPERATIONS, NUM_COLORS, DsdOperation
from onewafer.simulator import snapshot as tables
from onewafer.simulator.arithmetic.control import ADVANCE_MARK, CONTROL_MARK
from onewafer.simulator.arithmetic.outputs import (
    ADVANCES,
    HALF_BYTES,
    IS_CONTROL,
    PACKS,
    TAKES_CONTROL,
    UNMARKS,
)
from onewafer.simulator.fast.agenda import NUM_SLOTS
from onewafer.simulator.fast.checkpoint import have_tags
from onewafer.simulator.fast.counters import count_link_wavelets
from onewafer.simulator.fast.exceptions import RAISING_BITS
from onewafer.simulator.fast.fields import (
    ADVANCE_TAG,
    ANY_COLOR,
    BASE,
    BLOCK,
    BLOCK_ACTIVE,
    BLOCK_ARMED,
    BLOCK_ATTENTION,
    BLOCK_ELEMENT_WAKE,
    BLOCK_LIVE,
    BLOCK_OPERATIONS,
    BLOCK_PATH_FREE,
    BLOCK_ROUTER_WAKE,
    CONFIG_ENDS,
    CONFIG_RANK,
    CONTROL_TAG,
    FAR,
    FIFO_LAST_MOVE,
    FIFO_OWNER,
    FIFO_READER,
    FIFO_RING,
    FIFO_ROW,
    FIFO_SHAPE,
    FIFO_STATE,
    FIFO_TAIL,
    FIFOS_COLOR,
    FIFOS_NUMBER,
    FIFOS_OFFSET,
    FIFOS_PE,
    FIFOS_PORT,
    FIFOS_PUSHED,
    FIFOS_SENDER,
    FIFOS_WAITING_SINCE,
    FIFOS_WRITER,
    HAS_TAGS,
    HOLDS_MARKED,
    INPUT,
    IS_AWAITED,
    LAST_END,
    LAUNCH_ARGUMENTS,
    LAUNCH_ENTRY,
    LAUNCH_NUM_ARGUMENTS,
    LINK_DEPARTURES,
    LINK_FREE,
    LINK_WAVELETS,
    LONG_AGO,
    MARK_TAGS,
    NEVER,
    NONE,
    NOT_YET,
    NOW,
    NUM_OP_WORDS,
    OP_ACCUMULATOR,
    OP_CONFIG,
    OP_DEST,
    OP_ELEMENT_CYCLES,
    OP_FINISH,
    OP_HAS_STARTED,
    OP_IS_ENDLESS,
    OP_KIND,
    OP_LAST_SERVED,
    OP_LENGTH,
    OP_NEXT,
    OP_PC,
    OP_RANK,
    OP_REASON,
    OP_REMAINING,
    OP_SCALAR,
    OP_SRC0,
    OP_SRC1,
    OP_STEPS,
    OPERAND_BASE,
    OPERAND_BYTES,
    OPERAND_DSD,
    OPERAND_KIND,
    OPERAND_STEP,
    OPS_OFFSET,
    OPS_RESUME,
    OPS_START,
    OPS_THREAD,
    OPS_WAITING_SINCE,
    OUTPUT,
    PACKED,
    PE_BULK,
    PE_BULK_SINCE,
    PE_CHANNELS,
    PE_COUNTER_HELD,
    PE_COUNTER_START,
    PE_ELEMENTS,
    PE_INSTRUCTIONS,
    PE_LAST_PICKED,
    PE_MAIN,
    PE_MAIN_CYCLES,
    PE_MAIN_FREE,
    PE_MAIN_NEXT,
    PE_OUTPUTS,
    PE_PATH_CYCLES,
    PE_PC,
    PE_PROGRAM,
    PE_RETURN_DEPTH,
    PE_RINGS,
    PE_STALLED_SINCE,
    PE_STALLS,
    PE_TASK_STARTS,
    POINTER,
    PROGRAM_CHECKED,
    PROGRAM_COLORS,
    PROGRAM_CONFIGS,
    PROGRAM_DSDS,
    PROGRAM_QUEUES,
    RING,
    RINGS_COUNT,
    RINGS_FOUND_EMPTY,
    RINGS_FOUND_FULL,
    RINGS_HEAD,
    RINGS_READER,
    RINGS_WIDTH,
    RINGS_WRITER,
    SCALAR,
    STEPWISE,
    SWITCH_COLOR,
    SWITCH_PE,
    T_CREDIT,
    T_HAS_LINK_WINDOW,
    T_RESUME,
    T_WINDOW_SHIFT,
    VECTOR,
    WATCHED,
)
from onewafer.simulator.fast.operation import ENDLESS
from onewafer.simulator.fast.rebinding import attach_all, home_colors
from onewafer.simulator.fast.switch_tables import STATE, derive_sets
from onewafer.simulator.state import FIRST_THREAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.simulator.fast.arrays import Arrays
    from onewafer.simulator.fast.injection import Injector
    from onewafer.simulator.snapshot import Snapshot, Table

    Integers = NDArray[np.int64]

_KINDS = {
    tables.SCALAR: SCALAR,
    tables.POINTER: POINTER,
    tables.VECTOR: VECTOR,
    tables.BLOCK: BLOCK,
    tables.INPUT: INPUT,
    tables.OUTPUT: OUTPUT,
    tables.FIFO: RING,
}
_WIDTHS: dict[str | None, int] = {None: 0, "u16": 2, "f16": 2, "u32": 4, "f32": 4}
_BYTES = {
    OP_DEST: np.array([_WIDTHS[DSD_OPERATIONS[kind].dest] for kind in DsdOperation]),
    OP_SRC0: np.array([_WIDTHS[DSD_OPERATIONS[kind].src0] for kind in DsdOperation]),
    OP_SRC1: np.array([_WIDTHS[DSD_OPERATIONS[kind].src1] for kind in DsdOperation]),
}
"""Bytes of an element of each operand, by kind of operation."""
_MAIN_RANK = 1
_OPPOSITE = np.array([direction.opposite for direction in Direction], np.int64)
_RAMP = int(Direction.RAMP)


def restore(s: Arrays, injector: Injector, snapshot: Snapshot) -> Arrays:
    """Fill arrays that were just built; return those to go on with. Nothing is woken."""
    s.clock[BASE] = snapshot.cycle & ~((NUM_SLOTS << int(s.timing[T_WINDOW_SHIFT])) - 1)
    s.clock[NOW] = snapshot.cycle - s.clock[BASE]
    s.clock[LAST_END] = snapshot.end - s.clock[BASE]
    _put_to_sleep(s)
    s = _refill_host_queues(s, injector, snapshot)
    _restore_sources(s, snapshot)
    attach_all(s)
    _restore_channels(s, snapshot)
    _restore_links(s, snapshot)
    _restore_switches(s, snapshot.switches)
    _restore_rings(s, snapshot.fifos)
    _restore_operations(s, snapshot.operations)
    _restore_elements(s, snapshot)
    _restore_launches(s, snapshot)
    return s


def _put_to_sleep(s: Arrays) -> None:
    for field in (BLOCK_ELEMENT_WAKE, BLOCK_ROUTER_WAKE, BLOCK_ATTENTION):
        s.arena[s.blocks + field] = FAR


def _since_base(s: Arrays, cycles: Integers) -> Integers:
    """Return cycles as the arena holds them."""
    return np.clip(cycles - s.clock[BASE], LONG_AGO, FAR)


def _last_time(s: Arrays, cycles: Integers) -> Integers:
    """Return cycles in which something was served last, as the arena holds them."""
    return np.where(cycles == NONE, NOT_YET, _since_base(s, cycles))


def _signed(words: Integers) -> NDArray[np.int32]:
    return (words & 0xFFFF_FFFF).astype(np.uint32).view(np.int32)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """Return where each wanted key is among distinct keys."""
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))]
    if len(wanted) and (keys[found] != wanted).any():
        raise KeyError("a queue, switch or thread that this program does not have")
    return found


# --- FIFOs ---------------------------------------------------------------------------------------


def _refill_host_queues(s: Arrays, injector: Injector, snapshot: Snapshot) -> Arrays:
    sources = snapshot.sources
    for source in np.flatnonzero(sources["number"] >= tables.HOST_QUEUE).tolist():
        pe, number = int(sources["pe"][source]), int(sources["number"][source])
        chosen = snapshot.wavelets[snapshot.wavelets["source"] == source]
        for ready, color, word in chosen[["ready", "color", "word"]].tolist():
            s = injector.put(s, pe, number, color, [word], cycle=ready)
        if not len(chosen):  # an empty queue still knows when it was served last
            s = injector.put(s, pe, number, 0, [], cycle=snapshot.cycle)
    return s


def _source_keys(pe: Integers, port: Integers, number: Integers) -> Integers:
    return (pe * len(Direction) + port) * (2 * tables.HOST_QUEUE) + number


def _restore_sources(s: Arrays, snapshot: Snapshot) -> None:
    table = snapshot.sources
    rows = np.flatnonzero((s.fifos[:, FIFOS_OFFSET] > 0) & (s.fifos[:, FIFOS_SENDER] != NONE))
    port: Integers = s.fifos[rows, FIFOS_PORT]
    queue: Integers = s.fifos[rows, FIFOS_NUMBER]
    color: Integers = s.fifos[rows, FIFOS_COLOR]
    number = np.where(port == _RAMP, queue, color)
    keys = _source_keys(s.fifos[rows, FIFOS_PE], port, number)
    found = rows[_find(keys, _source_keys(table["pe"], table["port"], table["number"]))]
    offset = s.fifos[found, FIFOS_OFFSET]
    s.arena[offset + FIFO_LAST_MOVE] = _last_time(s, table["last_move"])
    s.arena[offset + FIFO_STATE] = table["reason"] + 1 | table["is_awaited"] * IS_AWAITED
    s.fifos[found, FIFOS_WAITING_SINCE] = table["waiting_since"] - s.clock[BASE]

    is_host = table["number"] >= tables.HOST_QUEUE
    wavelets = snapshot.wavelets
    wavelets = wavelets[~is_host[wavelets["source"]]]
    at = offset[wavelets["source"]]
    _fill(s, found[wavelets["source"]], wavelets)
    _restore_credits(s, offset[snapshot.credits["source"]], snapshot.credits["cycle"])
    waiting = np.unique(at)
    block = s.arena[waiting + FIFO_OWNER]
    groups = np.left_shift(1, s.arena[waiting + FIFO_SHAPE] & 0xFF)
    np.bitwise_or.at(s.arena, block + BLOCK_ACTIVE, groups.astype(np.int32))


def _running(at: Integers) -> Integers:
    """Return the running number of each thing among those of its FIFO, in order."""
    order = np.argsort(at, kind="stable")
    fifo = at[order]
    running = np.empty(len(at), np.int64)
    running[order] = np.arange(len(at)) - np.searchsorted(fifo, fifo)
    return running


def _fill(s: Arrays, rows: Integers, wavelets: Table) -> None:
    """Put wavelets into empty FIFOs, in order; `rows` has the FIFO of each."""
    at = s.fifos[rows, FIFOS_OFFSET]
    number = _running(at)
    place = at + FIFO_RING + 2 * number
    s.arena[place] = _since_base(s, wavelets["ready"])
    s.arena[place + 1] = _signed(wavelets["word"])
    tagged = np.flatnonzero(have_tags(s, rows))
    places = 1 << (s.arena[at + FIFO_SHAPE] >> 8 & 0x1F).astype(np.int64)
    color = np.where(s.fifos[rows, FIFOS_COLOR] == ANY_COLOR, wavelets["color"], 0)
    tag = color | np.where(wavelets["word"] & CONTROL_MARK, CONTROL_TAG, 0)
    tag |= np.where(wavelets["word"] & ADVANCE_MARK, ADVANCE_TAG, 0)
    s.arena[(at + FIFO_RING + 2 * places + number)[tagged]] = tag[tagged]
    s.arena[at[tagged[tag[tagged] & MARK_TAGS != 0]] + FIFO_SHAPE] |= HOLDS_MARKED
    fifos, counts = np.unique(at, return_counts=True)
    s.arena[fifos + FIFO_TAIL] = counts


def _restore_credits(s: Arrays, at: Integers, release: Integers) -> None:
    """Stamp the places that wavelets have left, the last ones before wavelet 0."""
    fifos, counts = np.unique(at, return_counts=True)
    number = _running(at) - counts[np.searchsorted(fifos, at)]
    places = 1 << (s.arena[at + FIFO_SHAPE] >> 8 & 0x1F).astype(np.int64)
    left = release - int(s.timing[T_CREDIT])
    s.arena[at + FIFO_RING + 2 * (number & (places - 1))] = _since_base(s, left)


def _restore_channels(s: Arrays, snapshot: Snapshot) -> None:
    arrivals, awaited = snapshot.arrivals, snapshot.awaited_channels
    rows = np.flatnonzero((s.fifos[:, FIFOS_OFFSET] > 0) & (s.fifos[:, FIFOS_SENDER] == NONE))
    keys = s.fifos[rows, FIFOS_PE] * NUM_COLORS + s.fifos[rows, FIFOS_COLOR]

    def row_of(table: Table) -> Integers:
        return rows[_find(keys, table["pe"] * NUM_COLORS + table["color"])]

    _fill(s, row_of(arrivals), arrivals)
    s.arena[s.fifos[row_of(awaited), FIFOS_OFFSET] + FIFO_STATE] = IS_AWAITED


def _restore_links(s: Arrays, snapshot: Snapshot) -> None:
    """Let the counters of FIFOs add up to what links carried; set the windows of links."""
    wanted = np.zeros((len(s.pes), len(Direction)), np.int64)
    links, departures = snapshot.links, snapshot.departures
    wanted[links["pe"], links["direction"]] = links["wavelets"]
    wanted[snapshot.routers["pe"], _RAMP] = snapshot.routers["wavelets_to_ramp"]
    missing = (wanted - count_link_wavelets(s)).reshape(-1)
    fifos = s.fifos
    is_channel = fifos[:, FIFOS_SENDER] == NONE
    rows = np.flatnonzero(is_channel | (fifos[:, FIFOS_PORT] != _RAMP))
    owners: Integers = fifos[rows, FIFOS_PE]
    senders: Integers = fifos[rows, FIFOS_SENDER]
    sender = np.where(senders == NONE, owners, senders)
    keys, first = np.unique(
        sender * len(Direction) + _OPPOSITE[fifos[rows, FIFOS_PORT]], return_index=True
    )
    fifos[rows[first], FIFOS_PUSHED] += missing[keys]
    if s.timing[T_HAS_LINK_WINDOW]:
        s.links[4 * links["pe"] + links["direction"], LINK_FREE] = links["free_at"] - s.clock[BASE]
        link = 4 * departures["pe"] + departures["direction"]
        s.links[link, LINK_DEPARTURES + _running(link)] = departures["cycle"] - s.clock[BASE]
        s.links[:, LINK_WAVELETS] = np.bincount(link, minlength=len(s.links))


# --- switches and rings --------------------------------------------------------------------------


def _restore_switches(s: Arrays, table: Table) -> None:
    keys = s.switches[:-1, SWITCH_PE] * NUM_COLORS + s.switches[:-1, SWITCH_COLOR]
    row = _find(keys, table["pe"] * NUM_COLORS + table["color"])
    for name, field in STATE.items():
        s.switches[row, field] = table[name]
    for number in row:
        derive_sets(s.switches[number])


def _restore_rings(s: Arrays, table: Table) -> None:
    row = s.pes[table["pe"], PE_RINGS] + table["number"]
    s.rings[row, RINGS_HEAD] = table["head"]
    s.rings[row, RINGS_COUNT] = table["count"]
    s.rings[row, RINGS_WIDTH] = table["width"]
    s.rings[row, RINGS_FOUND_EMPTY] = table["found_empty"]
    s.rings[row, RINGS_FOUND_FULL] = table["found_full"]


# --- operations ----------------------------------------------------------------------------------


def _restore_operations(s: Arrays, table: Table) -> None:
    row = _rows_of_threads(s, table["pe"], table["thread"])
    op = s.operations[row, OPS_OFFSET]
    pe, kind, base = table["pe"], table["kind"], s.clock[BASE]
    program = s.programs[s.pes[pe, PE_PROGRAM]]
    is_asynchronous = table["config"] != NONE
    config = np.where(is_asynchronous, table["config"] + program[:, PROGRAM_CONFIGS], NONE)
    rank = np.full(len(row), _MAIN_RANK)
    rank[is_asynchronous] = s.configs[config[is_asynchronous], CONFIG_RANK]
    forms = {at: _restore_operand(s, table, op, at) for at in (OP_DEST, OP_SRC0, OP_SRC1)}
    is_input = [forms[at] == tables.INPUT for at in (OP_SRC0, OP_SRC1)]
    is_fabric = is_input[0] | is_input[1] | (forms[OP_DEST] == tables.OUTPUT)
    is_ring = np.any([form == tables.FIFO for form in forms.values()], axis=0)
    minds = np.zeros(len(row), np.bool_)
    minds[is_asynchronous] = s.configs[config[is_asynchronous], CONFIG_ENDS] != 0
    minds &= _have_tagged_input(s, op, OP_SRC0) | _have_tagged_input(s, op, OP_SRC1)
    is_packed = _are_packed(s, op)
    is_watched = is_ring | minds | _mark_wavelets(s, op) | is_packed
    accumulates = (forms[OP_DEST] == tables.POINTER) & (table["length"] > 1)
    accumulates &= _BYTES[OP_SRC0][kind] > 0
    accumulator = np.where(forms[OP_SRC1] == tables.SCALAR, OP_SRC1, 0)
    accumulator = np.where(forms[OP_SRC0] == tables.SCALAR, OP_SRC0, accumulator)
    finish = table["finish_at"]
    words = {
        OP_KIND: kind | program[:, PROGRAM_CHECKED] * (RAISING_BITS >> kind & 1),
        OP_CONFIG: config,
        OP_RANK: rank,
        OP_PC: table["pc"],
        OP_STEPS: np.where(is_fabric | is_ring, STEPWISE, 0)
        | np.where(is_watched, WATCHED, 0)
        | np.where(is_packed, PACKED, 0),
        OP_IS_ENDLESS: is_fabric & (table["length"] == ENDLESS),
        OP_LENGTH: table["length"],
        OP_NEXT: table["next_element"],
        OP_ACCUMULATOR: np.where(accumulates, accumulator, 0),
        OP_SCALAR: _signed(table["scalar"]),
        OP_REMAINING: table["remaining"],
        OP_ELEMENT_CYCLES: table["element_cycles"],
        OP_HAS_STARTED: table["has_started"],
        OP_LAST_SERVED: _last_time(s, table["last_served"]),
        OP_FINISH: np.where(finish == tables.NEVER, FAR, _since_base(s, finish)),
        OP_REASON: table["reason"],
    }
    for field, values in words.items():
        s.arena[op + field] = values
    s.operations[row, OPS_START] = table["start"] - base
    s.operations[row, OPS_RESUME] = np.where(table["is_prepared"], 0, s.timing[T_RESUME])
    s.operations[row, OPS_WAITING_SINCE] = table["waiting_since"] - base
    _put_on_threads(s, table, op)


def _put_on_threads(s: Arrays, table: Table, op: Integers) -> None:
    """Note which operations are live, and which of them the data path served until the cut.

    A BLOCK in the first cycle ends the waits of those that it served, see `data_path.hold`.
    """
    pe = table["pe"]
    block = s.blocks[pe]
    slot = (op - s.arena[block + BLOCK_OPERATIONS]) // NUM_OP_WORDS
    bit = np.left_shift(1, slot).astype(np.int32)
    np.bitwise_or.at(s.arena, block + BLOCK_LIVE, bit)
    cut = s.clock[BASE] + s.clock[NOW]
    armed = (table["start"] < cut) & (table["finish_at"] == tables.NEVER)
    armed &= ~_are_held(s, op, pe=pe, thread=table["thread"])
    np.bitwise_or.at(s.arena, (block + BLOCK_ARMED)[armed], bit[armed])


def _are_held(s: Arrays, op: Integers, *, pe: Integers, thread: Integers) -> NDArray[np.bool_]:
    """Tell of each operation whether a blocked microthread keeps it from going on (M146)."""
    is_blocked = s.blocked_colors[pe].astype(np.int64) >> FIRST_THREAD + thread & 1 != 0
    return is_blocked & ((s.arena[op + OP_STEPS] != 0) | (s.arena[op + OP_HAS_STARTED] == 0))


def _rows_of_threads(s: Arrays, pe: Integers, thread: Integers) -> Integers:
    """Return the rows of the operations of threads."""
    rows = np.flatnonzero(s.operations[:, OPS_OFFSET])
    blocks: NDArray[np.int32] = s.blocks
    offset: Integers = s.operations[rows, OPS_OFFSET]
    owner = np.searchsorted(blocks, offset, side="right") - 1
    return rows[_find(16 * owner + s.operations[rows, OPS_THREAD], 16 * pe + thread)]


def _have_tagged_input(s: Arrays, op: Integers, at: int) -> NDArray[np.bool_]:
    """Tell of each operation whether control wavelets may come by the channel of an operand."""
    is_input = s.arena[op + at + OPERAND_KIND] == INPUT
    channel = np.where(is_input, s.arena[op + at + OPERAND_BASE], 0)
    return is_input & (s.arena[channel + FIFO_SHAPE] & HAS_TAGS != 0)


def _mark_wavelets(s: Arrays, op: Integers) -> NDArray[np.bool_]:
    """Tell of each operation whether wavelets are marked, or taken for their marks (M48–M49)."""
    found = np.zeros(len(op), np.bool_)
    for at, kind, flags in ((OP_DEST, OUTPUT, UNMARKS | ADVANCES), *_TAKING):
        is_fabric = s.arena[op + at + OPERAND_KIND] == kind
        found |= is_fabric & (s.arena[op + at + OPERAND_STEP] & flags != 0)
    return found


def _are_packed(s: Arrays, op: Integers) -> NDArray[np.bool_]:
    """Tell of each operation whether two of its elements share a wavelet (M150)."""
    found = np.zeros(len(op), np.bool_)
    for at in (OP_DEST, OP_SRC0, OP_SRC1):
        is_fabric = np.isin(s.arena[op + at + OPERAND_KIND], (INPUT, OUTPUT))
        is_half = s.arena[op + at + OPERAND_BYTES] == HALF_BYTES
        found |= is_fabric & is_half & (s.arena[op + at + OPERAND_STEP] & PACKS != 0)
    return found


_TAKING = ((OP_SRC0, INPUT, TAKES_CONTROL), (OP_SRC1, INPUT, TAKES_CONTROL))


def _restore_operand(s: Arrays, table: Table, op: Integers, at: int) -> Integers:
    """Write one operand of each operation; return its form."""
    name = {OP_DEST: "dest", OP_SRC0: "src0", OP_SRC1: "src1"}[at]
    form, base = table[f"{name}_form"], table[f"{name}_base"]
    stride, extra = table[f"{name}_stride"], table[f"{name}_extra"]
    pe, num_bytes = table["pe"], _BYTES[at][table["kind"]]
    program = s.programs[s.pes[pe, PE_PROGRAM]]
    rows = np.arange(len(pe))
    is_input, is_output = form == tables.INPUT, form == tables.OUTPUT
    home = np.where(is_input, home_colors(s, pe, base), 0)
    channel = s.pes[pe, PE_CHANNELS] + program[rows, PROGRAM_COLORS + home]
    queue = s.pes[pe, PE_OUTPUTS] + program[rows, PROGRAM_QUEUES + np.where(is_output, base, 0)]
    is_plain = (form == tables.SCALAR) | (form == tables.POINTER)
    base = np.where(is_plain, _signed(base), base)
    base = np.where(is_input, channel, np.where(is_output, queue, base))
    is_ring = form == tables.FIFO
    base = np.where(is_ring, base + s.pes[pe, PE_RINGS], base)
    dsd = program[:, PROGRAM_DSDS] + extra
    is_block = form == tables.BLOCK
    step = np.where(form == tables.VECTOR, stride * num_bytes, 1)
    step[is_block] = stride[is_block]
    step[is_output] = _signed(stride[is_output] & ~IS_CONTROL)
    step[is_input] = stride[is_input]
    kind = np.select([form == number for number in _KINDS], list(_KINDS.values()))
    s.arena[op + at + OPERAND_KIND] = kind
    s.arena[op + at + OPERAND_BASE] = base
    s.arena[op + at + OPERAND_STEP] = step
    s.arena[op + at + OPERAND_BYTES] = num_bytes
    tag = extra | np.where(stride & IS_CONTROL, CONTROL_TAG, 0)
    s.arena[op + at + OPERAND_DSD] = np.where(is_output, tag, dsd)
    s.rings[base[is_ring], RINGS_WRITER if at == OP_DEST else RINGS_READER] = op[is_ring]
    s.arena[base[is_input] + FIFO_READER] = op[is_input]
    s.fifos[s.arena[base[is_output] + FIFO_ROW], FIFOS_WRITER] = op[is_output]
    return form


# --- compute elements ----------------------------------------------------------------------------


def _restore_elements(s: Arrays, snapshot: Snapshot) -> None:
    table, state, base = snapshot.elements, snapshot.state, s.clock[BASE]
    pe, started, bulk = table["pe"], table["counter_started_at"], table["bulk_thread"]
    has_bulk = bulk != NONE
    bulk_op = np.full(len(pe), NONE)
    rows = _rows_of_threads(s, pe[has_bulk], bulk[has_bulk])
    bulk_op[has_bulk] = s.operations[rows, OPS_OFFSET]
    columns = {
        PE_MAIN: table["main_thread"],
        PE_MAIN_FREE: table["main_free"] - base,
        PE_MAIN_NEXT: table["main_next"] - base,
        PE_LAST_PICKED: table["last_picked"],
        PE_STALLED_SINCE: table["stalled_since"] - base,
        PE_COUNTER_HELD: table["counter_held"],
        PE_COUNTER_START: np.where(started == NONE, NEVER, started - base),
        PE_BULK: bulk_op,
        PE_BULK_SINCE: table["bulk_since"] - base,
        PE_MAIN_CYCLES: table["main_thread_cycles"],
        PE_PATH_CYCLES: table["data_path_cycles"],
        PE_INSTRUCTIONS: table["instructions"],
        PE_ELEMENTS: table["dsd_elements"],
        PE_TASK_STARTS: table["task_starts"],
        PE_PC: state.program_counters[pe],
        PE_RETURN_DEPTH: state.return_depths[pe],
    }
    for column, values in columns.items():
        s.pes[pe, column] = values
    s.pes[:, PE_STALLS : PE_STALLS + snapshot.stalls.shape[1]] = snapshot.stalls
    s.arena[s.blocks[pe] + BLOCK_PATH_FREE] = _since_base(s, table["path_free_at"])


def _restore_launches(s: Arrays, snapshot: Snapshot) -> None:
    launches, arguments = snapshot.launches, snapshot.launch_arguments
    s.launches[launches["pe"], LAUNCH_ENTRY] = launches["entry"]
    counts = np.bincount(arguments["pe"], minlength=len(s.launches))
    s.launches[launches["pe"], LAUNCH_NUM_ARGUMENTS] = counts[launches["pe"]]
    at = LAUNCH_ARGUMENTS + 2 * _running(arguments["pe"])
    s.launches[arguments["pe"], at] = arguments["register"]
    s.launches[arguments["pe"], at + 1] = arguments["word"]
