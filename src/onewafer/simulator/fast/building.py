"""From a loaded program to the arrays of the kernels, at cycle 0."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS, PatchTarget
from onewafer.simulator.fast.arrays import Arrays
from onewafer.simulator.fast.epoch import EPOCH_CYCLES
from onewafer.simulator.fast.fields import (
    ANY_COLOR,
    BLOCK_ATTENTION,
    BLOCK_ELEMENT_WAKE,
    BLOCK_IS_CONTENDED,
    BLOCK_NUM_SOURCES,
    BLOCK_OPERATIONS,
    BLOCK_PE,
    BLOCK_ROUTER_WAKE,
    BLOCK_SOURCES,
    EVENT_FIELDS,
    FAR,
    FAULT_PE,
    FIFO_LAST_MOVE,
    FIFO_OWNER,
    FIFO_RING,
    FIFO_ROUTE,
    FIFO_ROW,
    FIFO_SHAPE,
    FIFO_STARTS_TASK,
    FIFOS_COLOR,
    FIFOS_NUMBER,
    FIFOS_OFFSET,
    FIFOS_PE,
    FIFOS_PORT,
    FIFOS_SENDER,
    FIFOS_WRITER,
    HAS_QUEUES,
    HAS_REGISTERS,
    HAS_TAGS,
    IS_RECORDING,
    IS_STRICT,
    LAUNCH_ARGUMENTS,
    LAUNCH_ENTRY,
    LINE_WORDS,
    LINK_DEPARTURES,
    LONG_AGO,
    NEVER,
    NONE,
    NOT_YET,
    NUM_BUSY_FIELDS,
    NUM_CLOCK_FIELDS,
    NUM_FIFO_FIELDS,
    NUM_OP_WORDS,
    NUM_OPERATION_FIELDS,
    NUM_PE_FIELDS,
    NUM_RING_FIELDS,
    NUM_TASK_IDS,
    OP_REASON,
    OP_ROW,
    OPS_OFFSET,
    OPS_THREAD,
    PE_BULK,
    PE_CHANNELS,
    PE_COUNTER_START,
    PE_LAST_PICKED,
    PE_NUM_OPERATIONS,
    PE_OUTPUTS,
    PE_PATCHES,
    PE_PROGRAM,
    PE_RINGS,
    PE_WRITE_CYCLE,
    PE_X,
    PE_Y,
    REBASE_AT,
    RINGS_ADDRESS,
    RINGS_BYTES,
    RINGS_EMPTY_ACTION,
    RINGS_FULL_ACTION,
    RINGS_POP,
    RINGS_PUSH,
    SOURCE_GROUPS,
    T_HAS_LINK_WINDOW,
)
from onewafer.simulator.fast.switch_tables import find_switched_colors, make_switches
from onewafer.simulator.fast.tables import log2_places, make_tables, make_timing
from onewafer.simulator.fast.wiring import (
    find_buffers,
    find_contention,
    lay_out,
    swapped_ramps,
    write_routes,
)
from onewafer.simulator.loading import changeable_colors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator.engine import LoadedProgram
    from onewafer.simulator.fast.tables import ProgramLayout, ProgramTables
    from onewafer.simulator.fast.wiring import Arena, Fabric
    from onewafer.simulator.state import MachineState

    Integers = NDArray[np.int64]

FIRST_EVENT_ROWS = 1 << 13
_SPARE_WORDS = 1 << 16
"""Spare words of the arena, for the host's queues."""


def build(loaded: LoadedProgram) -> tuple[Arrays, Fabric]:
    """Return the arrays of a machine on which nothing has happened, and the plan of its arena."""
    image, architecture, state = loaded.image, loaded.architecture, loaded.state
    num_pes = image.width * image.height
    changeable = changeable_colors(image, architecture)
    switched = find_switched_colors(image, architecture) | changeable
    tables = make_tables(image.programs, architecture, switched)
    fabric = lay_out(image, tables, architecture, switched, changeable)
    timing = make_timing(architecture.timing)
    arena = make_arena(fabric.places.end + _SPARE_WORDS)
    patches, first_patch = _make_patches(image, tables)
    pes = _make_pes(image, fabric)
    pes[:, PE_PATCHES] = first_patch
    channel_of = _channel_offsets(fabric)
    fifos = _write_fifos(
        arena, fabric, channel_of, architecture.timing.router_buffer_words, image.width
    )
    rings, pes[:, PE_RINGS] = _make_rings(image)
    operations = _write_operations(arena, fabric, image, tables)
    _write_headers(arena, fabric)
    arena[fabric.places.block + BLOCK_IS_CONTENDED] |= _reached(image)
    needs_table = bool((fabric.outputs.color == ANY_COLOR).any())
    window_words = architecture.timing.link_window_words
    arrays = Arrays(
        arena=arena,
        clock=_make_clock(loaded, tables.num_busy),
        timing=timing,
        pes=pes,
        fifos=fifos,
        operations=operations,
        links=_make_links(num_pes if timing[T_HAS_LINK_WINDOW] else 1, window_words),
        ramp_routes=route_table(fabric) if needs_table else np.zeros((0, NUM_COLORS), np.int32),
        swapped_ramps=swapped_ramps(fabric.traffic),
        programs=tables.programs,
        code=tables.code,
        patches=patches,
        dsds=tables.dsds,
        configs=tables.configs,
        tasks=tables.tasks,
        ways=tables.ways,
        switches=_make_switches(image, fabric, channel_of),
        rings=rings,
        launches=_make_launches(image, num_pes),
        blocks=fabric.places.block.astype(np.int32),
        heap_places=np.zeros(num_pes, np.int32),
        heap_cycles=np.empty(num_pes, np.int64),
        candidates=np.zeros(_most_sources(fabric), np.int64),
        events=np.zeros((FIRST_EVENT_ROWS if loaded.sink else 1, EVENT_FIELDS), np.int64),
        **_shared_with(state),
        **dict.fromkeys(("wheel", "wheel_counts", "lists", "heap", "signals")),
    )
    return arrays, fabric


def _shared_with(state: MachineState) -> dict[str, NDArray[Any]]:
    """Return the arrays of the machine's state that kernels use as they are."""
    names = {field.name for field in fields(state)} & set(Arrays._fields)
    return {name: getattr(state, name) for name in names}


def _reached(image: WaferImage) -> NDArray[np.int32]:
    """Return which registers the program of each PE reaches, as flags of `BLOCK_IS_CONTENDED`."""
    flags = [
        HAS_REGISTERS * p.reaches_registers | HAS_QUEUES * p.reaches_queues for p in image.programs
    ]
    return np.array([*flags, 0], np.int32)[image.program_of_pe.reshape(-1)]


def _most_sources(fabric: Fabric) -> int:
    """Return the most sources that a router can have, the host's queues included."""
    of_host = 1 + np.bincount(fabric.streams.pe, minlength=len(fabric.num_sources))
    return int((fabric.num_sources + of_host).max(initial=1))


def make_arena(num_words: int) -> Arena:
    """Return words, all zero, that begin with a cache line."""
    words = np.zeros(num_words + LINE_WORDS, np.int32)
    skipped = -(words.ctypes.data // words.itemsize) % LINE_WORDS
    return words[skipped : skipped + num_words]


def route_table(fabric: Fabric) -> NDArray[np.int32]:
    """Return the routes of the wavelets that PEs send, `[num_pes, colors]`."""
    routes = fabric.ramp_routes
    table = np.zeros((len(fabric.num_sources), NUM_COLORS), np.int32)
    table[routes.pe, routes.color] = routes.offset
    return table


# --- the arena -----------------------------------------------------------------------------------


def _write_headers(arena: Arena, fabric: Fabric) -> None:
    block = fabric.places.block
    arena[block + BLOCK_PE] = np.arange(len(block))
    for field in (BLOCK_ELEMENT_WAKE, BLOCK_ROUTER_WAKE, BLOCK_ATTENTION):
        arena[block + field] = FAR
    arena[block + BLOCK_OPERATIONS] = fabric.places.operations
    arena[block + BLOCK_NUM_SOURCES] = fabric.num_sources


def _write_operations(
    arena: Arena, fabric: Fabric, image: WaferImage, tables: ProgramTables
) -> Integers:
    """Write the operations; return their matrix."""
    program_of_pe = image.program_of_pe.reshape(-1)
    first = np.cumsum(fabric.num_operations) - fabric.num_operations
    operations = np.zeros((int(fabric.num_operations.sum()) + 1, NUM_OPERATION_FIELDS), np.int64)
    for number, layout in enumerate(tables.layouts):
        pes = np.flatnonzero(program_of_pe == number)
        for slot, thread in enumerate(layout.threads):
            offset = fabric.places.operations[pes] + NUM_OP_WORDS * slot
            operations[first[pes] + slot, OPS_OFFSET] = offset
            operations[first[pes] + slot, OPS_THREAD] = thread
            arena[offset + OP_ROW] = first[pes] + slot
            arena[offset + OP_REASON] = NONE
    return operations


def _channel_offsets(fabric: Fabric) -> Integers:
    """Return the offset of the channel of `pe · colors + color`; 0: no channel."""
    channels = fabric.channels
    channel_of = np.zeros(len(fabric.places.block) * NUM_COLORS, np.int64)
    offsets = fabric.places.channels[channels.pe] + channels.distance
    channel_of[channels.pe * NUM_COLORS + channels.color] = offsets
    return channel_of


def _make_switches(image: WaferImage, fabric: Fabric, channel_of: Integers) -> Integers:
    pe, color = fabric.switches.pe, fabric.switches.color
    channel = channel_of[pe * NUM_COLORS + color]
    buffers = find_buffers(fabric, pe, color, image.width)
    routes = fabric.link_routes.find(pe, color), fabric.ramp_routes.find(pe, color)
    return make_switches(image, (pe, color), channel, buffers, routes)


def _make_rings(image: WaferImage) -> tuple[Integers, Integers]:
    """Return the FIFOs that programs allocate, all empty, and the first one of each PE."""
    program_of_pe = image.program_of_pe.reshape(-1).astype(np.int64)
    counts = np.append(np.array([len(p.fifos) for p in image.programs], np.int64), 0)
    of_pe = counts[program_of_pe]
    first = np.cumsum(of_pe) - of_pe
    rings = np.zeros((int(of_pe.sum()) + 1, NUM_RING_FIELDS), np.int64)
    for number, program in enumerate(image.programs):
        pes = np.flatnonzero(program_of_pe == number)
        for index, fifo in enumerate(program.fifos):
            rows = first[pes] + index
            rings[rows, RINGS_ADDRESS] = fifo.address
            rings[rows, RINGS_BYTES] = fifo.num_bytes
            rings[rows, RINGS_PUSH] = fifo.activate_push
            rings[rows, RINGS_POP] = fifo.activate_pop
            rings[rows, RINGS_EMPTY_ACTION] = fifo.empty_action
            rings[rows, RINGS_FULL_ACTION] = fifo.full_action
    return rings, first


def _write_fifos(
    arena: Arena, fabric: Fabric, channel_of: Integers, buffer_capacity: int, width: int
) -> Integers:
    """Write FIFOs and routes; return the matrix of FIFOs, with rows for the host's queues."""
    places, buffers = fabric.places, fabric.buffers
    outputs, channels = fabric.outputs, fabric.channels
    num_pes = len(places.block)
    of_buffers = places.buffers[buffers.pe] + fabric.buffer_words * buffers.number
    of_outputs = places.outputs[outputs.pe] + outputs.distance
    of_channels = places.channels[channels.pe] + channels.distance
    write_routes(arena, fabric, channel_of, width)

    num_outputs = np.bincount(outputs.pe, minlength=num_pes)
    number = num_outputs[buffers.pe] + buffers.number
    receives = fabric.traffic.receive[buffers.pe, buffers.color] >> buffers.port & 1
    route = fabric.link_routes.find(buffers.pe, buffers.color) * receives
    output_route = fabric.ramp_routes.find(outputs.pe, np.maximum(outputs.color, 0))
    output_route[outputs.color == ANY_COLOR] = ANY_COLOR
    capacity = np.full(len(buffers.pe), buffer_capacity)
    sources = np.concatenate((of_outputs, of_buffers))
    source_pe = np.concatenate((outputs.pe, buffers.pe))
    source_number = np.concatenate((outputs.number, number))
    source_route = np.concatenate((output_route, route))
    offset = np.concatenate((sources, of_channels))
    pe = np.concatenate((source_pe, channels.pe))
    capacity = np.concatenate((outputs.capacity, capacity, channels.capacity))
    group = np.concatenate((source_number % SOURCE_GROUPS, 0 * channels.pe))

    arena[places.block[source_pe] + BLOCK_SOURCES + source_number] = sources
    arena[offset + FIFO_OWNER] = places.block[pe]
    arena[offset + FIFO_ROW] = np.arange(len(offset))
    _shape_rings(arena, offset, capacity, group)
    marked = fabric.switches.color
    if fabric.traffic.swap.any():  # to a color that may have no switch anywhere (M59)
        marked = np.concatenate((marked, marked ^ 1))
    is_tagged = np.isin(buffers.color, marked)
    has_tags = np.concatenate((outputs.has_tags, is_tagged, channels.has_tags))
    arena[offset + FIFO_SHAPE] |= (HAS_TAGS * has_tags).astype(np.int32)
    arena[sources + FIFO_ROUTE] = source_route
    arena[sources + FIFO_LAST_MOVE] = NOT_YET
    arena[of_channels + FIFO_STARTS_TASK] = channels.starts_task
    contended = find_contention(arena, source_pe, source_route, fabric.switches.pe, num_pes)
    arena[places.block[contended] + BLOCK_IS_CONTENDED] = 1
    return _make_fifos(fabric, offset, pe)


def _shape_rings(arena: Arena, offset: Integers, capacity: Integers, group: Integers) -> None:
    """Set the capacities of FIFOs; all their places are free since long ago."""
    for words in np.unique(capacity).tolist():
        chosen = np.flatnonzero(capacity == words)
        log2 = log2_places(words)
        arena[offset[chosen] + FIFO_SHAPE] = words << 16 | log2 << 8 | group[chosen]
        for place in range(1 << log2):
            arena[offset[chosen] + FIFO_RING + 2 * place] = LONG_AGO


def _make_fifos(fabric: Fabric, offset: Integers, pe: Integers) -> Integers:
    outputs, buffers, channels = fabric.outputs, fabric.buffers, fabric.channels
    ramp = int(Direction.RAMP)
    num_host_queues = len(fabric.num_sources) + len(fabric.streams.pe)
    fifos = np.zeros((len(offset) + num_host_queues, NUM_FIFO_FIELDS), np.int64)
    fifos[:, FIFOS_PORT] = ramp
    rows = fifos[: len(offset)]
    rows[:, FIFOS_OFFSET] = offset
    rows[:, FIFOS_PE] = pe
    rows[:, FIFOS_COLOR] = np.concatenate((outputs.color, buffers.color, channels.color))
    rows[:, FIFOS_NUMBER] = np.concatenate((outputs.queue, 0 * buffers.pe, channels.queue))
    rows[:, FIFOS_PORT] = (
        np.concatenate((0 * outputs.pe, buffers.port - ramp, 0 * channels.pe)) + ramp
    )
    rows[:, FIFOS_SENDER] = np.concatenate(
        (0 * outputs.pe, buffers.sender, np.full(len(channels.pe), NONE))
    )
    rows[:, FIFOS_WRITER] = NONE
    return fifos


# --- matrices ------------------------------------------------------------------------------------


def _make_clock(loaded: LoadedProgram, num_busy: int) -> Integers:
    clock = np.zeros(NUM_CLOCK_FIELDS + NUM_BUSY_FIELDS * num_busy, np.int64)
    clock[REBASE_AT] = EPOCH_CYCLES
    clock[IS_RECORDING] = loaded.sink is not None
    clock[IS_STRICT] = loaded.checking.is_strict
    clock[FAULT_PE] = NONE
    return clock


def _make_pes(image: WaferImage, fabric: Fabric) -> Integers:
    num_pes = image.width * image.height
    index = np.arange(num_pes)
    pes = np.zeros((num_pes, NUM_PE_FIELDS), np.int64)
    pes[:, PE_X] = index % image.width
    pes[:, PE_Y] = index // image.width
    pes[:, PE_PROGRAM] = image.program_of_pe.reshape(-1)
    pes[:, PE_LAST_PICKED] = NUM_TASK_IDS - 1
    pes[:, PE_COUNTER_START] = NEVER
    pes[:, PE_WRITE_CYCLE] = NEVER
    pes[:, PE_BULK] = NONE
    pes[:, PE_CHANNELS] = fabric.places.channels
    pes[:, PE_OUTPUTS] = fabric.places.outputs
    pes[:, PE_NUM_OPERATIONS] = fabric.num_operations
    return pes


def _make_links(num_pes: int, window_words: int) -> Integers:
    links = np.zeros((4 * num_pes, LINK_DEPARTURES + window_words), np.int64)
    links[:, LINK_DEPARTURES:] = 2 * LONG_AGO
    return links


def _make_patches(image: WaferImage, tables: ProgramTables) -> tuple[Integers, Integers]:
    """Return the immediates that PEs have of their own, and the first one of each PE."""
    program_of_pe = image.program_of_pe.reshape(-1).astype(np.int64)
    counts = [len(layout.patched) for layout in tables.layouts]
    of_pe = np.append(np.array(counts, np.int64), 0)[program_of_pe]
    ends = np.cumsum(of_pe)
    first = ends - of_pe
    patches = np.zeros(int(ends[-1]) + 1, np.int64)
    for number, layout in enumerate(tables.layouts):
        if layout.patched:
            _fill_patches(patches, first[program_of_pe == number], layout)
    return patches, first


def _fill_patches(patches: Integers, first: Integers, layout: ProgramLayout) -> None:
    for patch in layout.program.patches:
        if patch.target is PatchTarget.IMMEDIATE:
            patches[first + layout.patched.index(patch.location)] = patch.values


def _make_launches(image: WaferImage, num_pes: int) -> Integers:
    most = max(
        (len(symbol.argument_registers) for p in image.programs for symbol in p.symbols), default=0
    )
    launches = np.zeros((num_pes, LAUNCH_ARGUMENTS + 2 * most), np.int64)
    launches[:, LAUNCH_ENTRY] = NONE
    return launches
