"""Tables of a snapshot into the arrays of a machine that was just built: see `checkpoint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import DSD_OPERATIONS, NUM_COLORS, DsdOperation
from onewafer.simulator.arithmetic.control import ADVANCE_MARK, CONTROL_MARK
from onewafer.simulator.arithmetic.outputs import (
    ADVANCES,
    HALF_BYTES,
    IS_CONTROL,
    PACKS,
    TAKES_CONTROL,
    UNMARKS,
)
from onewafer.simulator.fast.build.switch_tables import derive_sets
from onewafer.simulator.fast.kernels.bookkeeping.agenda import NUM_SLOTS
from onewafer.simulator.fast.kernels.compute_element.exceptions import RAISING_BITS
from onewafer.simulator.fast.kernels.compute_element.operation import ENDLESS
from onewafer.simulator.fast.reports.counters import count_link_wavelets
from onewafer.simulator.fast.snapshots.checkpoint import have_tags
from onewafer.simulator.fast.snapshots.columns import restore_columns, signed, since_base, to_field
from onewafer.simulator.fast.snapshots.rebinding import attach_all, home_colors
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.record import Holds
from onewafer.simulator.state import snapshot as tables
from onewafer.simulator.state.schema import FIRST_THREAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.simulator.fast.build.injection import Injector
    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.state.snapshot import Snapshot, Table

    Integers = NDArray[np.int64]

_KINDS = {
    tables.SCALAR: f.SCALAR,
    tables.POINTER: f.POINTER,
    tables.VECTOR: f.VECTOR,
    tables.BLOCK: f.BLOCK,
    tables.INPUT: f.INPUT,
    tables.OUTPUT: f.OUTPUT,
    tables.FIFO: f.RING,
}
_WIDTHS: dict[str | None, int] = {None: 0, "u16": 2, "f16": 2, "u32": 4, "f32": 4}
_BYTES = {
    f.OP_DEST: np.array([_WIDTHS[DSD_OPERATIONS[kind].dest] for kind in DsdOperation]),
    f.OP_SRC0: np.array([_WIDTHS[DSD_OPERATIONS[kind].src0] for kind in DsdOperation]),
    f.OP_SRC1: np.array([_WIDTHS[DSD_OPERATIONS[kind].src1] for kind in DsdOperation]),
}
"""Bytes of an element of each operand, by kind of operation."""
_MAIN_RANK = 1
_OPPOSITE = np.array([direction.opposite for direction in Direction], np.int64)
_RAMP = int(Direction.RAMP)


def restore(s: Arrays, injector: Injector, snapshot: Snapshot) -> Arrays:
    """Fill newly built arrays from a snapshot and return them; no PE is woken."""
    s.clock[f.BASE] = snapshot.cycle & ~((NUM_SLOTS << int(s.timing[f.T_WINDOW_SHIFT])) - 1)
    s.clock[f.NOW] = snapshot.cycle - s.clock[f.BASE]
    s.clock[f.LAST_END] = snapshot.end - s.clock[f.BASE]
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
    for field in (f.BLOCK_ELEMENT_WAKE, f.BLOCK_ROUTER_WAKE, f.BLOCK_ATTENTION):
        s.arena[s.blocks + field] = f.FAR


def _into(matrix: Integers, rows: Integers) -> Callable[[int, Integers], None]:
    """Return a function that writes columns of rows of a matrix."""

    def write(column: int, values: Integers) -> None:
        matrix[rows, column] = values

    return write


def _into_arena(s: Arrays, offsets: Integers) -> Callable[[int, Integers], None]:
    """Return a function that writes arena words relative to offsets."""

    def write(field: int, values: Integers) -> None:
        s.arena[offsets + field] = values

    return write


def _find(keys: Integers, wanted: Integers) -> Integers:
    """Return the index of each wanted key among distinct keys."""
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
    rows = np.flatnonzero((s.fifos[:, f.FIFOS_OFFSET] > 0) & (s.fifos[:, f.FIFOS_SENDER] != f.NONE))
    port: Integers = s.fifos[rows, f.FIFOS_PORT]
    queue: Integers = s.fifos[rows, f.FIFOS_NUMBER]
    color: Integers = s.fifos[rows, f.FIFOS_COLOR]
    number = np.where(port == _RAMP, queue, color)
    keys = _source_keys(s.fifos[rows, f.FIFOS_PE], port, number)
    found = rows[_find(keys, _source_keys(table["pe"], table["port"], table["number"]))]
    offset = s.fifos[found, f.FIFOS_OFFSET]
    s.arena[offset + f.FIFO_LAST_MOVE] = to_field(
        table["last_move"], Holds.LAST_TIME, s.clock[f.BASE]
    )
    s.arena[offset + f.FIFO_STATE] = table["reason"] + 1 | table["is_awaited"] * f.IS_AWAITED
    s.fifos[found, f.FIFOS_WAITING_SINCE] = table["waiting_since"] - s.clock[f.BASE]

    is_host = table["number"] >= tables.HOST_QUEUE
    wavelets = snapshot.wavelets
    wavelets = wavelets[~is_host[wavelets["source"]]]
    at = offset[wavelets["source"]]
    _fill(s, found[wavelets["source"]], wavelets)
    _restore_credits(s, offset[snapshot.credits["source"]], snapshot.credits["cycle"])
    waiting = np.unique(at)
    block = s.arena[waiting + f.FIFO_OWNER]
    groups = np.left_shift(1, s.arena[waiting + f.FIFO_SHAPE] & 0xFF)
    np.bitwise_or.at(s.arena, block + f.BLOCK_ACTIVE, groups.astype(np.int32))


def _running(at: Integers) -> Integers:
    """Return the running number of each row within its FIFO, in order."""
    order = np.argsort(at, kind="stable")
    fifo = at[order]
    running = np.empty(len(at), np.int64)
    running[order] = np.arange(len(at)) - np.searchsorted(fifo, fifo)
    return running


def _fill(s: Arrays, rows: Integers, wavelets: Table) -> None:
    """Put wavelets into empty FIFOs, in order; `rows` has the FIFO of each."""
    at = s.fifos[rows, f.FIFOS_OFFSET]
    number = _running(at)
    place = at + f.FIFO_RING + 2 * number
    s.arena[place] = since_base(wavelets["ready"], s.clock[f.BASE])
    s.arena[place + 1] = signed(wavelets["word"])
    tagged = np.flatnonzero(have_tags(s, rows))
    places = 1 << (s.arena[at + f.FIFO_SHAPE] >> 8 & 0x1F).astype(np.int64)
    color = np.where(s.fifos[rows, f.FIFOS_COLOR] == f.ANY_COLOR, wavelets["color"], 0)
    tag = color | np.where(wavelets["word"] & CONTROL_MARK, f.CONTROL_TAG, 0)
    tag |= np.where(wavelets["word"] & ADVANCE_MARK, f.ADVANCE_TAG, 0)
    s.arena[(at + f.FIFO_RING + 2 * places + number)[tagged]] = tag[tagged]
    s.arena[at[tagged[tag[tagged] & f.MARK_TAGS != 0]] + f.FIFO_SHAPE] |= f.HOLDS_MARKED
    fifos, counts = np.unique(at, return_counts=True)
    s.arena[fifos + f.FIFO_TAIL] = counts


def _restore_credits(s: Arrays, at: Integers, release: Integers) -> None:
    """Stamp the slots of departed wavelets, those before wavelet 0."""
    fifos, counts = np.unique(at, return_counts=True)
    number = _running(at) - counts[np.searchsorted(fifos, at)]
    places = 1 << (s.arena[at + f.FIFO_SHAPE] >> 8 & 0x1F).astype(np.int64)
    left = release - int(s.timing[f.T_CREDIT])
    s.arena[at + f.FIFO_RING + 2 * (number & (places - 1))] = since_base(left, s.clock[f.BASE])


def _restore_channels(s: Arrays, snapshot: Snapshot) -> None:
    arrivals, awaited = snapshot.arrivals, snapshot.awaited_channels
    rows = np.flatnonzero((s.fifos[:, f.FIFOS_OFFSET] > 0) & (s.fifos[:, f.FIFOS_SENDER] == f.NONE))
    keys = s.fifos[rows, f.FIFOS_PE] * NUM_COLORS + s.fifos[rows, f.FIFOS_COLOR]

    def row_of(table: Table) -> Integers:
        return rows[_find(keys, table["pe"] * NUM_COLORS + table["color"])]

    _fill(s, row_of(arrivals), arrivals)
    s.arena[s.fifos[row_of(awaited), f.FIFOS_OFFSET] + f.FIFO_STATE] = f.IS_AWAITED


def _restore_links(s: Arrays, snapshot: Snapshot) -> None:
    """Set the counters of FIFOs to the link counts of the snapshot, and the links' windows."""
    wanted = np.zeros((len(s.pes), len(Direction)), np.int64)
    links, departures = snapshot.links, snapshot.departures
    wanted[links["pe"], links["direction"]] = links["wavelets"]
    wanted[snapshot.routers["pe"], _RAMP] = snapshot.routers["wavelets_to_ramp"]
    missing = (wanted - count_link_wavelets(s)).reshape(-1)
    fifos = s.fifos
    is_channel = fifos[:, f.FIFOS_SENDER] == f.NONE
    rows = np.flatnonzero(is_channel | (fifos[:, f.FIFOS_PORT] != _RAMP))
    owners: Integers = fifos[rows, f.FIFOS_PE]
    senders: Integers = fifos[rows, f.FIFOS_SENDER]
    sender = np.where(senders == f.NONE, owners, senders)
    keys, first = np.unique(
        sender * len(Direction) + _OPPOSITE[fifos[rows, f.FIFOS_PORT]], return_index=True
    )
    fifos[rows[first], f.FIFOS_PUSHED] += missing[keys]
    if s.timing[f.T_HAS_LINK_WINDOW]:
        s.links[4 * links["pe"] + links["direction"], f.LINK_FREE] = (
            links["free_at"] - s.clock[f.BASE]
        )
        link = 4 * departures["pe"] + departures["direction"]
        s.links[link, f.LINK_DEPARTURES + _running(link)] = departures["cycle"] - s.clock[f.BASE]
        s.links[:, f.LINK_WAVELETS] = np.bincount(link, minlength=len(s.links))


# --- switches and rings --------------------------------------------------------------------------


def _restore_switches(s: Arrays, table: Table) -> None:
    keys = s.switches[:-1, f.SWITCH_PE] * NUM_COLORS + s.switches[:-1, f.SWITCH_COLOR]
    row = _find(keys, table["pe"] * NUM_COLORS + table["color"])
    restore_columns(f.SWITCH_KEPT, _into(s.switches, row), table, 0)
    for number in row:
        derive_sets(s.switches[number])


def _restore_rings(s: Arrays, table: Table) -> None:
    row = s.pes[table["pe"], f.PE_RINGS] + table["number"]
    restore_columns(f.RINGS_KEPT, _into(s.rings, row), table, 0)


# --- operations ----------------------------------------------------------------------------------


def _restore_operations(s: Arrays, table: Table) -> None:
    row = _rows_of_threads(s, table["pe"], table["thread"])
    op = s.operations[row, f.OPS_OFFSET]
    pe, kind, base = table["pe"], table["kind"], s.clock[f.BASE]
    program = s.programs[s.pes[pe, f.PE_PROGRAM]]
    is_asynchronous = table["config"] != f.NONE
    config = np.where(is_asynchronous, table["config"] + program[:, f.PROGRAM_CONFIGS], f.NONE)
    rank = np.full(len(row), _MAIN_RANK)
    rank[is_asynchronous] = s.configs[config[is_asynchronous], f.CONFIG_RANK]
    forms = {at: _restore_operand(s, table, op, at) for at in (f.OP_DEST, f.OP_SRC0, f.OP_SRC1)}
    is_input = [forms[at] == tables.INPUT for at in (f.OP_SRC0, f.OP_SRC1)]
    is_fabric = is_input[0] | is_input[1] | (forms[f.OP_DEST] == tables.OUTPUT)
    is_ring = np.any([form == tables.FIFO for form in forms.values()], axis=0)
    minds = np.zeros(len(row), np.bool_)
    minds[is_asynchronous] = s.configs[config[is_asynchronous], f.CONFIG_ENDS] != 0
    minds &= _have_tagged_input(s, op, f.OP_SRC0) | _have_tagged_input(s, op, f.OP_SRC1)
    is_packed = _are_packed(s, op)
    is_watched = is_ring | minds | _mark_wavelets(s, op) | is_packed
    accumulates = (forms[f.OP_DEST] == tables.POINTER) & (table["length"] > 1)
    accumulates &= _BYTES[f.OP_SRC0][kind] > 0
    accumulator = np.where(forms[f.OP_SRC1] == tables.SCALAR, f.OP_SRC1, 0)
    accumulator = np.where(forms[f.OP_SRC0] == tables.SCALAR, f.OP_SRC0, accumulator)
    words = {
        f.OP_KIND: kind | program[:, f.PROGRAM_CHECKED] * (RAISING_BITS >> kind & 1),
        f.OP_CONFIG: config,
        f.OP_RANK: rank,
        f.OP_STEPS: np.where(is_fabric | is_ring, f.STEPWISE, 0)
        | np.where(is_watched, f.WATCHED, 0)
        | np.where(is_packed, f.PACKED, 0),
        f.OP_IS_ENDLESS: is_fabric & (table["length"] == ENDLESS),
        f.OP_ACCUMULATOR: np.where(accumulates, accumulator, 0),
    }
    for field, values in words.items():
        s.arena[op + field] = values
    restore_columns(f.OP_KEPT, _into_arena(s, op), table, base)
    restore_columns(f.OPS_KEPT, _into(s.operations, row), table, base)
    s.operations[row, f.OPS_RESUME] = np.where(table["is_prepared"], 0, s.timing[f.T_RESUME])
    _put_on_threads(s, table, op)


def _put_on_threads(s: Arrays, table: Table, op: Integers) -> None:
    """Mark the live operations, and those that the data path served at the snapshot.

    A BLOCK in the first cycle ends the waits of served operations, see `data_path.hold`.
    """
    pe = table["pe"]
    block = s.blocks[pe]
    slot = (op - s.arena[block + f.BLOCK_OPERATIONS]) // f.NUM_OP_WORDS
    bit = np.left_shift(1, slot).astype(np.int32)
    np.bitwise_or.at(s.arena, block + f.BLOCK_LIVE, bit)
    cut = s.clock[f.BASE] + s.clock[f.NOW]
    armed = (table["start"] < cut) & (table["finish_at"] == tables.NEVER)
    armed &= ~_are_held(s, op, pe=pe, thread=table["thread"])
    np.bitwise_or.at(s.arena, (block + f.BLOCK_ARMED)[armed], bit[armed])


def _are_held(s: Arrays, op: Integers, *, pe: Integers, thread: Integers) -> NDArray[np.bool_]:
    """Return, for each operation, whether its blocked microthread holds it (M146)."""
    is_blocked = s.blocked_colors[pe].astype(np.int64) >> FIRST_THREAD + thread & 1 != 0
    return is_blocked & ((s.arena[op + f.OP_STEPS] != 0) | (s.arena[op + f.OP_HAS_STARTED] == 0))


def _rows_of_threads(s: Arrays, pe: Integers, thread: Integers) -> Integers:
    """Return the rows of the operations of threads."""
    rows = np.flatnonzero(s.operations[:, f.OPS_OFFSET])
    blocks: NDArray[np.int32] = s.blocks
    offset: Integers = s.operations[rows, f.OPS_OFFSET]
    owner = np.searchsorted(blocks, offset, side="right") - 1
    return rows[_find(16 * owner + s.operations[rows, f.OPS_THREAD], 16 * pe + thread)]


def _have_tagged_input(s: Arrays, op: Integers, at: int) -> NDArray[np.bool_]:
    """Return, for each operation, whether an operand's channel may have control wavelets."""
    is_input = s.arena[op + at + f.OPERAND_KIND] == f.INPUT
    channel = np.where(is_input, s.arena[op + at + f.OPERAND_BASE], 0)
    return is_input & (s.arena[channel + f.FIFO_SHAPE] & f.HAS_TAGS != 0)


def _mark_wavelets(s: Arrays, op: Integers) -> NDArray[np.bool_]:
    """Return, for each operation, whether it sends or receives marked wavelets (M48–M49)."""
    found = np.zeros(len(op), np.bool_)
    for at, kind, flags in ((f.OP_DEST, f.OUTPUT, UNMARKS | ADVANCES), *_TAKING):
        is_fabric = s.arena[op + at + f.OPERAND_KIND] == kind
        found |= is_fabric & (s.arena[op + at + f.OPERAND_STEP] & flags != 0)
    return found


def _are_packed(s: Arrays, op: Integers) -> NDArray[np.bool_]:
    """Return, for each operation, whether two of its elements share a wavelet (M150)."""
    found = np.zeros(len(op), np.bool_)
    for at in (f.OP_DEST, f.OP_SRC0, f.OP_SRC1):
        is_fabric = np.isin(s.arena[op + at + f.OPERAND_KIND], (f.INPUT, f.OUTPUT))
        is_half = s.arena[op + at + f.OPERAND_BYTES] == HALF_BYTES
        found |= is_fabric & is_half & (s.arena[op + at + f.OPERAND_STEP] & PACKS != 0)
    return found


_TAKING = ((f.OP_SRC0, f.INPUT, TAKES_CONTROL), (f.OP_SRC1, f.INPUT, TAKES_CONTROL))


def _restore_operand(s: Arrays, table: Table, op: Integers, at: int) -> Integers:
    """Write one operand of each operation; return its form."""
    name = {f.OP_DEST: "dest", f.OP_SRC0: "src0", f.OP_SRC1: "src1"}[at]
    form, base = table[f"{name}_form"], table[f"{name}_base"]
    stride, extra = table[f"{name}_stride"], table[f"{name}_extra"]
    pe, num_bytes = table["pe"], _BYTES[at][table["kind"]]
    program = s.programs[s.pes[pe, f.PE_PROGRAM]]
    rows = np.arange(len(pe))
    is_input, is_output = form == tables.INPUT, form == tables.OUTPUT
    home = np.where(is_input, home_colors(s, pe, base), 0)
    channel = s.pes[pe, f.PE_CHANNELS] + program[rows, f.PROGRAM_COLORS + home]
    queue = s.pes[pe, f.PE_OUTPUTS] + program[rows, f.PROGRAM_QUEUES + np.where(is_output, base, 0)]
    is_plain = (form == tables.SCALAR) | (form == tables.POINTER)
    base = np.where(is_plain, signed(base), base)
    base = np.where(is_input, channel, np.where(is_output, queue, base))
    is_ring = form == tables.FIFO
    base = np.where(is_ring, base + s.pes[pe, f.PE_RINGS], base)
    dsd = program[:, f.PROGRAM_DSDS] + extra
    is_block = form == tables.BLOCK
    step = np.where(form == tables.VECTOR, stride * num_bytes, 1)
    step[is_block] = stride[is_block]
    step[is_output] = signed(stride[is_output] & ~IS_CONTROL)
    step[is_input] = stride[is_input]
    kind = np.select([form == number for number in _KINDS], list(_KINDS.values()))
    s.arena[op + at + f.OPERAND_KIND] = kind
    s.arena[op + at + f.OPERAND_BASE] = base
    s.arena[op + at + f.OPERAND_STEP] = step
    s.arena[op + at + f.OPERAND_BYTES] = num_bytes
    tag = extra | np.where(stride & IS_CONTROL, f.CONTROL_TAG, 0)
    s.arena[op + at + f.OPERAND_DSD] = np.where(is_output, tag, dsd)
    s.rings[base[is_ring], f.RINGS_WRITER if at == f.OP_DEST else f.RINGS_READER] = op[is_ring]
    s.arena[base[is_input] + f.FIFO_READER] = op[is_input]
    s.fifos[s.arena[base[is_output] + f.FIFO_ROW], f.FIFOS_WRITER] = op[is_output]
    return form


# --- compute elements ----------------------------------------------------------------------------


def _restore_elements(s: Arrays, snapshot: Snapshot) -> None:
    table, state, base = snapshot.elements, snapshot.state, s.clock[f.BASE]
    pe, bulk = table["pe"], table["bulk_thread"]
    has_bulk = bulk != f.NONE
    bulk_op = np.full(len(pe), f.NONE)
    rows = _rows_of_threads(s, pe[has_bulk], bulk[has_bulk])
    bulk_op[has_bulk] = s.operations[rows, f.OPS_OFFSET]
    restore_columns(f.PE_KEPT, _into(s.pes, pe), table, base)
    restore_columns(f.BLOCK_KEPT, _into_arena(s, s.blocks[pe]), table, base)
    s.pes[pe, f.PE_BULK] = bulk_op
    s.pes[pe, f.PE_PC] = state.program_counters[pe]
    s.pes[pe, f.PE_RETURN_DEPTH] = state.return_depths[pe]
    s.pes[:, f.PE_STALLS : f.PE_STALLS + snapshot.stalls.shape[1]] = snapshot.stalls


def _restore_launches(s: Arrays, snapshot: Snapshot) -> None:
    launches, arguments = snapshot.launches, snapshot.launch_arguments
    s.launches[launches["pe"], f.LAUNCH_ENTRY] = launches["entry"]
    counts = np.bincount(arguments["pe"], minlength=len(s.launches))
    s.launches[launches["pe"], f.LAUNCH_NUM_ARGUMENTS] = counts[launches["pe"]]
    at = f.LAUNCH_ARGUMENTS + 2 * _running(arguments["pe"])
    s.launches[arguments["pe"], at] = arguments["register"]
    s.launches[arguments["pe"], at + 1] = arguments["word"]
