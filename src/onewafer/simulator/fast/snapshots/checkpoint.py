"""The arrays as tables of a snapshot, and back: whole-array operations, for a wafer of any size.

Wake-ups are not stored: visiting a PE without work changes nothing (see `agenda`), so a restored
machine visits all PEs once. Time stamps in free slots of FIFOs tell which credits are in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import IN_MAP
from onewafer.simulator.arithmetic.control import ADVANCE_MARK, CONTROL_MARK
from onewafer.simulator.fast.build.switch_tables import find_turned
from onewafer.simulator.fast.reports.counters import count_link_wavelets, count_of_blocks
from onewafer.simulator.fast.snapshots.columns import WORD, kept_columns
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.protocol.leftovers import Waiting
from onewafer.simulator.state import snapshot as tables
from onewafer.simulator.state.snapshot import Snapshot, dtype_of
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.protocol.engine import LoadedProgram

    Integers = NDArray[np.int64]
    Columns = dict[str, Integers]

_LOG2_MASK = 0x1F
_FORMS = np.zeros(8, np.int64)
_FORMS[[f.SCALAR, f.POINTER, f.VECTOR, f.INPUT, f.OUTPUT, f.RING]] = (
    tables.SCALAR,
    tables.POINTER,
    tables.VECTOR,
    tables.INPUT,
    tables.OUTPUT,
    tables.FIFO,
)
"""The form of an operand in a snapshot by its kind; blocks are handled below."""
_FORMS[3] = tables.BLOCK


def export_snapshot(s: Arrays, loaded: LoadedProgram, *, cycle: int) -> Snapshot:
    """Return the complete state of a machine between two runs."""
    base = int(s.clock[f.BASE])
    moved = count_link_wavelets(s)
    stalls = s.pes[:, f.PE_STALLS : f.PE_STALLS + len(StallReason)].copy()
    departures = _departures(s, cycle, base)
    launches, arguments = _launches(s)
    return Snapshot(
        cycle=cycle,
        end=int(s.clock[f.LAST_END]) + base,
        state=loaded.state,
        stalls=stalls,
        elements=_elements(s, base),
        routers=_table(
            "routers",
            pe=np.arange(len(s.pes)),
            wavelets_to_ramp=moved[:, Direction.RAMP],
            wake=np.full(len(s.pes), tables.UNKNOWN),
        ),
        links=_links(s, moved, base),
        departures=departures,
        **_queues(s, cycle, base),
        operations=_operations(s, base),
        launches=launches,
        launch_arguments=arguments,
        fifos=_rings(s),
        switches=_switches(s, loaded.image),
    )


def export_waiting(s: Arrays, *, cycle: int) -> Waiting:
    """Return the waiting wavelets; if there are none, without reading each queue."""
    offset = s.fifos[:, f.FIFOS_OFFSET]
    if (s.arena[offset + f.FIFO_HEAD] == s.arena[offset + f.FIFO_TAIL]).all():
        names = ("arrivals", "sources", "wavelets")
        return Waiting(*(np.zeros(0, dtype_of(name)) for name in names))
    queues = _queues(s, cycle, int(s.clock[f.BASE]))
    return Waiting(queues["arrivals"], queues["sources"], queues["wavelets"])


def _table(name: str, **columns: NDArray[np.generic]) -> tables.Table:
    """Return a table from its columns, all of one length."""
    table = np.zeros(len(next(iter(columns.values()))), dtype_of(name))
    for column in tables.COLUMNS[name]:
        table[column] = columns[column]
    return table


def _elements(s: Arrays, base: int) -> tables.Table:
    pes = np.flatnonzero(s.pes[:, f.PE_PROGRAM] >= 0)
    rows = s.pes[pes]
    block = s.blocks[pes]
    bulk = rows[:, f.PE_BULK]
    bulk_row = np.where(bulk == f.NONE, 0, s.arena[np.maximum(bulk, 0) + f.OP_ROW])
    columns = {
        **kept_columns(f.PE_KEPT, lambda place: rows[:, place], base),
        **kept_columns(f.BLOCK_KEPT, lambda place: s.arena[block + place], base),
    }
    columns["dsd_elements"] += count_of_blocks(s, f.BLOCK_ELEMENTS)[pes]
    columns["data_path_cycles"] += count_of_blocks(s, f.BLOCK_PATH_CYCLES)[pes]
    return _table(
        "elements",
        pe=pes,
        bulk_thread=np.where(bulk == f.NONE, f.NONE, s.operations[bulk_row, f.OPS_THREAD]),
        wake=np.full(len(pes), tables.UNKNOWN),
        **columns,
    )


def _links(s: Arrays, moved: Integers, base: int) -> tables.Table:
    links = moved[:, : Direction.RAMP]
    pe, direction = np.nonzero(links)
    # Without a window a link that carried something before this cycle is free in it.
    free_at = np.zeros(len(pe), np.int64)
    if s.timing[f.T_HAS_LINK_WINDOW]:
        free_at = s.links[4 * pe + direction, f.LINK_FREE] + base
    return _table(
        "links", pe=pe, direction=direction, free_at=free_at, wavelets=links[pe, direction]
    )


def _departures(s: Arrays, cycle: int, base: int) -> tables.Table:
    """Return the recent departures that M55 depends on, of each link in order."""
    if not s.timing[f.T_HAS_LINK_WINDOW]:
        return np.zeros(0, dtype_of("departures"))
    window = int(s.timing[f.T_WINDOW_WORDS])
    age = np.arange(window)
    place = (s.links[:, f.LINK_WAVELETS, None] + age) % window
    cycles = np.take_along_axis(s.links[:, f.LINK_DEPARTURES :], place, axis=1) + base
    link, nth = np.nonzero(cycles + int(s.timing[f.T_WINDOW_CYCLES]) > cycle)
    return _table("departures", pe=link // 4, direction=link % 4, cycle=cycles[link, nth])


def _queues(s: Arrays, cycle: int, base: int) -> dict[str, tables.Table]:
    """Return the tables of sources and channels."""
    rows = np.flatnonzero(s.fifos[:, f.FIFOS_OFFSET])
    offset = s.fifos[rows, f.FIFOS_OFFSET]
    is_channel = s.fifos[rows, f.FIFOS_SENDER] == f.NONE
    held, number = _numbers(s.arena[offset + f.FIFO_HEAD], s.arena[offset + f.FIFO_TAIL])
    at = offset[held]
    places = 1 << (s.arena[at + f.FIFO_SHAPE] >> 8 & _LOG2_MASK).astype(np.int64)
    place = number & (places - 1)
    ready = s.arena[at + f.FIFO_RING + 2 * place].astype(np.int64) + base
    word = s.arena[at + f.FIFO_RING + 2 * place + 1].astype(np.int64) & WORD
    color = s.fifos[rows[held], f.FIFOS_COLOR]
    tagged = np.flatnonzero(have_tags(s, rows)[held])
    tag = s.arena[(at + f.FIFO_RING + 2 * places + place)[tagged]].astype(np.int64)
    word[tagged] |= np.where(tag & f.CONTROL_TAG, CONTROL_MARK, 0)
    word[tagged] |= np.where(tag & f.ADVANCE_TAG, ADVANCE_MARK, 0)
    color[tagged] = np.where(color[tagged] == f.ANY_COLOR, tag & f.COLOR_MASK, color[tagged])

    arrived = np.flatnonzero(is_channel[held])
    awaited = np.flatnonzero(is_channel & (s.arena[offset + f.FIFO_STATE] & f.IS_AWAITED != 0))
    left, release = _credits(s, rows, cycle - base)
    used = np.bincount(held, minlength=len(rows)) + np.bincount(left, minlength=len(rows))
    last_move = s.arena[offset + f.FIFO_LAST_MOVE].astype(np.int64)
    last_move = np.where(last_move == f.NOT_YET, f.NONE, np.maximum(last_move + base, 0))
    chosen = np.flatnonzero(~is_channel & ((last_move != f.NONE) | (used > 0)))
    source_of = np.full(len(rows), f.NONE)
    source_of[chosen] = np.arange(len(chosen))
    waiting = np.flatnonzero(~is_channel[held])
    return {
        "sources": _sources(s, rows[chosen], last_move[chosen], used[chosen], base),
        "wavelets": _table(
            "wavelets",
            source=source_of[held[waiting]],
            ready=ready[waiting],
            color=color[waiting],
            word=word[waiting],
        ),
        "credits": _table("credits", source=source_of[left], cycle=release + base),
        "arrivals": _table(
            "arrivals",
            pe=s.fifos[rows[held[arrived]], f.FIFOS_PE],
            color=color[arrived],
            ready=ready[arrived],
            word=word[arrived],
        ),
        "awaited_channels": _table(
            "awaited_channels",
            pe=s.fifos[rows[awaited], f.FIFOS_PE],
            color=s.fifos[rows[awaited], f.FIFOS_COLOR],
        ),
    }


def have_tags(s: Arrays, rows: Integers) -> NDArray[np.bool_]:
    """Return, for each queue, whether its wavelets carry tags, see `fields.ANY_COLOR`."""
    return s.arena[s.fifos[rows, f.FIFOS_OFFSET] + f.FIFO_SHAPE] & f.HAS_TAGS != 0


def _sources(
    s: Arrays, rows: Integers, last_move: Integers, used: Integers, base: int
) -> tables.Table:
    state = s.arena[s.fifos[rows, f.FIFOS_OFFSET] + f.FIFO_STATE].astype(np.int64)
    port: Integers = s.fifos[rows, f.FIFOS_PORT]
    is_queue = port == int(Direction.RAMP)
    queue: Integers = s.fifos[rows, f.FIFOS_NUMBER]
    color: Integers = s.fifos[rows, f.FIFOS_COLOR]
    return _table(
        "sources",
        pe=s.fifos[rows, f.FIFOS_PE],
        port=port,
        number=np.where(is_queue, queue, color),
        last_move=last_move,
        reason=(state & f.REASON_MASK) - 1,
        waiting_since=s.fifos[rows, f.FIFOS_WAITING_SINCE] + base,
        used=used,
        is_awaited=state & f.IS_AWAITED != 0,
    )


def _numbers(head: NDArray[np.int32], tail: NDArray[np.int32]) -> tuple[Integers, Integers]:
    """Return (row, number) of all wavelets from head to before tail, row by row."""
    count = (tail - head).astype(np.int64)
    row = np.repeat(np.arange(len(count)), count)
    first = np.cumsum(count) - count
    return row, head[row] + np.arange(len(row)) - first[row]


def _credits(s: Arrays, rows: Integers, now: int) -> tuple[Integers, Integers]:
    """Return (index in `rows`, cycle) of the credits in flight, in order."""
    is_buffer = s.fifos[rows, f.FIFOS_SENDER] != f.NONE
    is_buffer &= s.fifos[rows, f.FIFOS_PORT] != int(Direction.RAMP)
    chosen = np.flatnonzero(is_buffer)
    offset = s.fifos[rows[chosen], f.FIFOS_OFFSET]
    head, tail = s.arena[offset + f.FIFO_HEAD], s.arena[offset + f.FIFO_TAIL]
    capacity = s.arena[offset + f.FIFO_SHAPE] >> 16
    first: NDArray[np.int32] = np.minimum(tail - capacity, head)
    buffer, number = _numbers(first, head)
    places = 1 << (s.arena[offset + f.FIFO_SHAPE] >> 8 & _LOG2_MASK).astype(np.int64)
    place = number & (places[buffer] - 1)
    release = s.arena[offset[buffer] + f.FIFO_RING + 2 * place].astype(np.int64)
    release += int(s.timing[f.T_CREDIT])
    pending = np.flatnonzero(release > now)
    return chosen[buffer[pending]], release[pending]


def _operations(s: Arrays, base: int) -> tables.Table:
    rows = np.flatnonzero(s.operations[:, f.OPS_OFFSET])
    offset: Integers = s.operations[rows, f.OPS_OFFSET]
    blocks: NDArray[np.int32] = s.blocks
    pe = np.searchsorted(blocks, offset, side="right") - 1
    block = s.blocks[pe]
    slot = (offset - s.arena[block + f.BLOCK_OPERATIONS]) // f.NUM_OP_WORDS
    live = np.flatnonzero(s.arena[block + f.BLOCK_LIVE] >> slot & 1)
    rows, offset, pe = rows[live], offset[live], pe[live]
    program = s.programs[s.pes[pe, f.PE_PROGRAM]]

    def word(field: int) -> Integers:
        return s.arena[offset + field].astype(np.int64)

    config = word(f.OP_CONFIG)
    columns: Columns = {
        "pe": pe,
        "thread": s.operations[rows, f.OPS_THREAD],
        "kind": word(f.OP_KIND) & f.KIND_MASK,
        "config": np.where(config < 0, f.NONE, config - program[:, f.PROGRAM_CONFIGS]),
        "is_prepared": _are_prepared(s, program, offset),
        **kept_columns(f.OP_KEPT, word, base),
        **kept_columns(f.OPS_KEPT, lambda place: s.operations[rows, place], base),
    }
    first = program[:, f.PROGRAM_DSDS], s.pes[pe, f.PE_RINGS]
    for name, at in (("dest", f.OP_DEST), ("src0", f.OP_SRC0), ("src1", f.OP_SRC1)):
        columns |= _operand(s, offset + at, name, *first)
    return _table("operations", **columns)


def _are_prepared(s: Arrays, program: Integers, offset: Integers) -> Integers:
    """Return, for each operation, whether a map loop has set it up (M122)."""
    code = program[:, f.PROGRAM_CODE] + s.arena[offset + f.OP_PC]
    is_memory_only = s.arena[offset + f.OP_STEPS] == 0
    return ((s.code[code, f.CODE_AUX] == IN_MAP) & is_memory_only).astype(np.int64)


def _operand(
    s: Arrays, at: Integers, name: str, first_dsd: Integers, first_ring: Integers
) -> Columns:
    """Return the four columns of an operand."""

    def word(field: int) -> Integers:
        return s.arena[at + field].astype(np.int64)

    form = _FORMS[word(f.OPERAND_KIND)]
    is_input, is_output = form == tables.INPUT, form == tables.OUTPUT
    base = word(f.OPERAND_BASE)
    is_fabric = is_input | is_output
    fifo = np.where(is_fabric, s.arena[np.where(is_fabric, base, 0) + f.FIFO_ROW], 0)
    base = np.where(form == tables.SCALAR, base & WORD, base)
    base = np.where(form == tables.POINTER, base & WORD, base)
    base = np.where(is_input, s.fifos[fifo, f.FIFOS_COLOR], base)
    base = np.where(is_output, s.fifos[fifo, f.FIFOS_NUMBER], base)
    base = np.where(form == tables.FIFO, base - first_ring, base)
    dsd = word(f.OPERAND_DSD)  # of fabric output: its tag
    stride = word(f.OPERAND_STEP) // np.maximum(word(f.OPERAND_BYTES), 1)
    skipped = np.where(form == tables.BLOCK, word(f.OPERAND_STEP), 0)
    stride = np.where(form == tables.VECTOR, stride, skipped)
    flags = word(f.OPERAND_STEP) & WORD | (is_output & (dsd & f.CONTROL_TAG != 0))
    extra = np.where(is_output, dsd & f.COLOR_MASK, 0)
    return {
        f"{name}_form": form,
        f"{name}_base": base,
        f"{name}_stride": np.where(is_fabric, flags, stride),
        f"{name}_extra": np.where(form == tables.BLOCK, dsd - first_dsd, extra),
    }


def _launches(s: Arrays) -> tuple[tables.Table, tables.Table]:
    pes = np.flatnonzero(s.launches[:, f.LAUNCH_ENTRY] != f.NONE)
    rows = s.launches[pes]
    launch, nth = _numbers(
        np.zeros(len(pes), np.int32), rows[:, f.LAUNCH_NUM_ARGUMENTS].astype(np.int32)
    )
    at = f.LAUNCH_ARGUMENTS + 2 * nth
    return (
        _table("launches", pe=pes, entry=rows[:, f.LAUNCH_ENTRY]),
        _table(
            "launch_arguments",
            pe=pes[launch],
            register=rows[launch, at],
            word=rows[launch, at + 1] & WORD,
        ),
    )


def _rings(s: Arrays) -> tables.Table:
    """Return the FIFOs that are or were in use."""
    rings: Integers = s.rings
    is_used = rings[:, (f.RINGS_WIDTH, f.RINGS_FOUND_EMPTY, f.RINGS_FOUND_FULL)].any(axis=1)
    used = np.flatnonzero(is_used)
    first: Integers = s.pes[:, f.PE_RINGS]
    pe = np.searchsorted(first, used, side="right") - 1
    rings = rings[used]
    return _table(
        "fifos",
        pe=pe,
        number=used - first[pe],
        **kept_columns(f.RINGS_KEPT, lambda place: rings[:, place], 0),
    )


def _switches(s: Arrays, image: WaferImage) -> tables.Table:
    """Return the switches that differ from their state at load; between two cycles (M92)."""
    switches = s.switches[find_turned(s, image)]
    return _table(
        "switches",
        pe=switches[:, f.SWITCH_PE],
        color=switches[:, f.SWITCH_COLOR],
        **kept_columns(f.SWITCH_KEPT, lambda place: switches[:, place], 0),
    )
