"""From a loaded program to the arrays of the kernels, at cycle 0."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS, PatchTarget
from onewafer.simulator.fast.build.switch_tables import find_switched_colors, make_switches
from onewafer.simulator.fast.build.tables import log2_places, make_tables, make_timing
from onewafer.simulator.fast.build.wiring import (
    find_buffers,
    find_contention,
    lay_out,
    swapped_ramps,
    write_routes,
)
from onewafer.simulator.fast.kernels.epoch import EPOCH_CYCLES
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import Arrays
from onewafer.simulator.state.loading import changeable_colors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator.fast.build.tables import ProgramLayout, ProgramTables
    from onewafer.simulator.fast.build.wiring import Arena, Fabric
    from onewafer.simulator.protocol.engine import LoadedProgram
    from onewafer.simulator.state.schema import MachineState

    Integers = NDArray[np.int64]

FIRST_EVENT_ROWS = 1 << 13
_SPARE_WORDS = 1 << 16
"""Spare words of the arena, for the host's queues."""


def build(loaded: LoadedProgram) -> tuple[Arrays, Fabric]:
    """Return the arrays of a machine at cycle 0, and the layout of its arena."""
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
    pes[:, f.PE_PATCHES] = first_patch
    channel_of = _channel_offsets(fabric)
    fifos = _write_fifos(
        arena, fabric, channel_of, architecture.timing.router_buffer_words, image.width
    )
    rings, pes[:, f.PE_RINGS] = _make_rings(image)
    operations = _write_operations(arena, fabric, image, tables)
    _write_headers(arena, fabric)
    arena[fabric.places.block + f.BLOCK_IS_CONTENDED] |= _reached(image)
    needs_table = bool((fabric.outputs.color == f.ANY_COLOR).any())
    window_words = architecture.timing.link_window_words
    arrays = Arrays(
        arena=arena,
        clock=_make_clock(loaded, tables.num_findings),
        timing=timing,
        pes=pes,
        fifos=fifos,
        operations=operations,
        links=_make_links(num_pes if timing[f.T_HAS_LINK_WINDOW] else 1, window_words),
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
        events=np.zeros((FIRST_EVENT_ROWS if loaded.sink else 1, f.EVENT_FIELDS), np.int64),
        **_shared_with(state),
        **dict.fromkeys(("wheel", "wheel_counts", "lists", "heap", "signals")),
    )
    return arrays, fabric


def _shared_with(state: MachineState) -> dict[str, NDArray[Any]]:
    """Return the arrays of the machine's state that kernels use as they are."""
    names = {field.name for field in fields(state)} & set(Arrays._fields)
    return {name: getattr(state, name) for name in names}


def _reached(image: WaferImage) -> NDArray[np.int32]:
    """Return the registers that each PE's program accesses, as flags of `BLOCK_IS_CONTENDED`."""
    flags = [
        f.HAS_REGISTERS * p.reaches_registers | f.HAS_QUEUES * p.reaches_queues
        for p in image.programs
    ]
    return np.array([*flags, 0], np.int32)[image.program_of_pe.reshape(-1)]


def _most_sources(fabric: Fabric) -> int:
    """Return the most sources that a router can have, the host's queues included."""
    of_host = 1 + np.bincount(fabric.streams.pe, minlength=len(fabric.num_sources))
    return int((fabric.num_sources + of_host).max(initial=1))


def make_arena(num_words: int) -> Arena:
    """Return an array of zeros, aligned to a cache line."""
    words = np.zeros(num_words + f.LINE_WORDS, np.int32)
    skipped = -(words.ctypes.data // words.itemsize) % f.LINE_WORDS
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
    arena[block + f.BLOCK_PE] = np.arange(len(block))
    for field in (f.BLOCK_ELEMENT_WAKE, f.BLOCK_ROUTER_WAKE, f.BLOCK_ATTENTION):
        arena[block + field] = f.FAR
    arena[block + f.BLOCK_OPERATIONS] = fabric.places.operations
    arena[block + f.BLOCK_NUM_SOURCES] = fabric.num_sources


def _write_operations(
    arena: Arena, fabric: Fabric, image: WaferImage, tables: ProgramTables
) -> Integers:
    """Write the operations; return their matrix."""
    program_of_pe = image.program_of_pe.reshape(-1)
    first = np.cumsum(fabric.num_operations) - fabric.num_operations
    operations = np.zeros((int(fabric.num_operations.sum()) + 1, f.NUM_OPERATION_FIELDS), np.int64)
    for number, layout in enumerate(tables.layouts):
        pes = np.flatnonzero(program_of_pe == number)
        for slot, thread in enumerate(layout.threads):
            offset = fabric.places.operations[pes] + f.NUM_OP_WORDS * slot
            operations[first[pes] + slot, f.OPS_OFFSET] = offset
            operations[first[pes] + slot, f.OPS_THREAD] = thread
            arena[offset + f.OP_ROW] = first[pes] + slot
            arena[offset + f.OP_REASON] = f.NONE
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
    rings = np.zeros((int(of_pe.sum()) + 1, f.NUM_RING_FIELDS), np.int64)
    for number, program in enumerate(image.programs):
        pes = np.flatnonzero(program_of_pe == number)
        for index, fifo in enumerate(program.fifos):
            rows = first[pes] + index
            rings[rows, f.RINGS_ADDRESS] = fifo.address
            rings[rows, f.RINGS_BYTES] = fifo.num_bytes
            rings[rows, f.RINGS_PUSH] = fifo.activate_push
            rings[rows, f.RINGS_POP] = fifo.activate_pop
            rings[rows, f.RINGS_EMPTY_ACTION] = fifo.empty_action
            rings[rows, f.RINGS_FULL_ACTION] = fifo.full_action
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
    output_route[outputs.color == f.ANY_COLOR] = f.ANY_COLOR
    capacity = np.full(len(buffers.pe), buffer_capacity)
    sources = np.concatenate((of_outputs, of_buffers))
    source_pe = np.concatenate((outputs.pe, buffers.pe))
    source_number = np.concatenate((outputs.number, number))
    source_route = np.concatenate((output_route, route))
    offset = np.concatenate((sources, of_channels))
    pe = np.concatenate((source_pe, channels.pe))
    capacity = np.concatenate((outputs.capacity, capacity, channels.capacity))
    group = np.concatenate((source_number % f.SOURCE_GROUPS, 0 * channels.pe))

    arena[places.block[source_pe] + f.BLOCK_SOURCES + source_number] = sources
    arena[offset + f.FIFO_OWNER] = places.block[pe]
    arena[offset + f.FIFO_ROW] = np.arange(len(offset))
    _shape_rings(arena, offset, capacity, group)
    marked = fabric.switches.color
    if fabric.traffic.swap.any():  # to a color that may have no switch anywhere (M59)
        marked = np.concatenate((marked, marked ^ 1))
    is_tagged = np.isin(buffers.color, marked)
    has_tags = np.concatenate((outputs.has_tags, is_tagged, channels.has_tags))
    arena[offset + f.FIFO_SHAPE] |= (f.HAS_TAGS * has_tags).astype(np.int32)
    arena[sources + f.FIFO_ROUTE] = source_route
    arena[sources + f.FIFO_LAST_MOVE] = f.NOT_YET
    arena[of_channels + f.FIFO_STARTS_TASK] = channels.starts_task
    contended = find_contention(arena, source_pe, source_route, fabric.switches.pe, num_pes)
    arena[places.block[contended] + f.BLOCK_IS_CONTENDED] = 1
    return _make_fifos(fabric, offset, pe)


def _shape_rings(arena: Arena, offset: Integers, capacity: Integers, group: Integers) -> None:
    """Set the capacities of FIFOs; all their slots are free from the start."""
    for words in np.unique(capacity).tolist():
        chosen = np.flatnonzero(capacity == words)
        log2 = log2_places(words)
        arena[offset[chosen] + f.FIFO_SHAPE] = words << 16 | log2 << 8 | group[chosen]
        for place in range(1 << log2):
            arena[offset[chosen] + f.FIFO_RING + 2 * place] = f.LONG_AGO


def _make_fifos(fabric: Fabric, offset: Integers, pe: Integers) -> Integers:
    outputs, buffers, channels = fabric.outputs, fabric.buffers, fabric.channels
    ramp = int(Direction.RAMP)
    num_host_queues = len(fabric.num_sources) + len(fabric.streams.pe)
    fifos = np.zeros((len(offset) + num_host_queues, f.NUM_FIFO_FIELDS), np.int64)
    fifos[:, f.FIFOS_PORT] = ramp
    rows = fifos[: len(offset)]
    rows[:, f.FIFOS_OFFSET] = offset
    rows[:, f.FIFOS_PE] = pe
    rows[:, f.FIFOS_COLOR] = np.concatenate((outputs.color, buffers.color, channels.color))
    rows[:, f.FIFOS_NUMBER] = np.concatenate((outputs.queue, 0 * buffers.pe, channels.queue))
    rows[:, f.FIFOS_PORT] = (
        np.concatenate((0 * outputs.pe, buffers.port - ramp, 0 * channels.pe)) + ramp
    )
    rows[:, f.FIFOS_SENDER] = np.concatenate(
        (0 * outputs.pe, buffers.sender, np.full(len(channels.pe), f.NONE))
    )
    rows[:, f.FIFOS_WRITER] = f.NONE
    return fifos


# --- matrices ------------------------------------------------------------------------------------


def _make_clock(loaded: LoadedProgram, num_findings: int) -> Integers:
    clock = np.zeros(f.NUM_CLOCK_FIELDS + f.NUM_FINDING_FIELDS * num_findings, np.int64)
    clock[f.REBASE_AT] = EPOCH_CYCLES
    clock[f.IS_RECORDING] = loaded.sink is not None
    clock[f.IS_STRICT] = loaded.checking.is_strict
    clock[f.FAULT_PE] = f.NONE
    return clock


def _make_pes(image: WaferImage, fabric: Fabric) -> Integers:
    num_pes = image.width * image.height
    index = np.arange(num_pes)
    pes = np.zeros((num_pes, f.NUM_PE_FIELDS), np.int64)
    pes[:, f.PE_X] = index % image.width
    pes[:, f.PE_Y] = index // image.width
    pes[:, f.PE_PROGRAM] = image.program_of_pe.reshape(-1)
    pes[:, f.PE_LAST_PICKED] = f.NUM_TASK_IDS - 1
    pes[:, f.PE_COUNTER_START] = f.NEVER
    pes[:, f.PE_WRITE_CYCLE] = f.NEVER
    pes[:, f.PE_BULK] = f.NONE
    pes[:, f.PE_CHANNELS] = fabric.places.channels
    pes[:, f.PE_OUTPUTS] = fabric.places.outputs
    pes[:, f.PE_NUM_OPERATIONS] = fabric.num_operations
    return pes


def _make_links(num_pes: int, window_words: int) -> Integers:
    links = np.zeros((4 * num_pes, f.LINK_DEPARTURES + window_words), np.int64)
    links[:, f.LINK_DEPARTURES :] = 2 * f.LONG_AGO
    return links


def _make_patches(image: WaferImage, tables: ProgramTables) -> tuple[Integers, Integers]:
    """Return the immediates that differ between PEs, and the first one of each PE."""
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
    launches = np.zeros((num_pes, f.LAUNCH_ARGUMENTS + 2 * most), np.int64)
    launches[:, f.LAUNCH_ENTRY] = f.NONE
    return launches
