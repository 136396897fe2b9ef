"""From a loaded program to the arrays of the kernels, at cycle 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import PatchTarget
from onewafer.simulator.fast.agenda import EPOCH_CYCLES, NUM_LISTS
from onewafer.simulator.fast.arrays import Arrays
from onewafer.simulator.fast.fields import (
    EPOCH_END,
    EVENT_FIELDS,
    FAULT_PE,
    IS_RECORDING,
    LAUNCH_ARGUMENTS,
    LAUNCH_ENTRY,
    LINK_DEPARTURES,
    NEVER,
    NONE,
    NUM_CLOCK_FIELDS,
    NUM_OPERATION_FIELDS,
    NUM_PE_FIELDS,
    NUM_TASK_IDS,
    OP_THREAD,
    PE_ACTIVE,
    PE_BULK,
    PE_CHANNELS,
    PE_COUNTER_START,
    PE_LAST_PICKED,
    PE_NUM_OPERATIONS,
    PE_OPERATIONS,
    PE_PATCHES,
    PE_PROGRAM,
    PE_SOURCES,
    PE_X,
    PE_Y,
)
from onewafer.simulator.fast.tables import make_tables, make_timing
from onewafer.simulator.fast.wiring import wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator.engine import LoadedProgram
    from onewafer.simulator.fast.tables import ProgramLayout, ProgramTables
    from onewafer.simulator.fast.wiring import Fabric

    Integers = NDArray[np.int64]

FIRST_EVENT_ROWS = 1 << 12
_LONG_AGO = -(1 << 40)


def build(loaded: LoadedProgram) -> Arrays:
    """Return the arrays of a machine on which nothing has happened."""
    image, architecture, state = loaded.image, loaded.architecture, loaded.state
    num_pes = image.width * image.height
    tables = make_tables(image.programs, architecture)
    fabric = wire(image, tables, architecture)
    patches, first_patch = _make_patches(image, tables)
    operations, first_operation, num_operations = _make_operations(image, tables)
    pes = _make_pes(image, fabric)
    pes[:, PE_PATCHES] = first_patch
    pes[:, PE_OPERATIONS] = first_operation
    pes[:, PE_NUM_OPERATIONS] = num_operations
    most_sources = int(fabric.num_sources.max(initial=0)) + 1
    return Arrays(
        clock=_make_clock(is_recording=loaded.sink is not None),
        timing=make_timing(architecture.timing),
        pes=pes,
        links=_make_links(num_pes, architecture.timing.link_window_words),
        sources=fabric.sources,
        active=np.zeros(len(fabric.sources), np.int64),
        rings=fabric.rings,
        channels=fabric.channels,
        routes=fabric.routes,
        route_of_color=fabric.route_of_color,
        operations=operations,
        programs=tables.programs,
        code=tables.code,
        patches=patches,
        dsds=tables.dsds,
        configs=tables.configs,
        tasks=tables.tasks,
        launches=_make_launches(image, num_pes),
        memory=state.memory,
        registers=state.registers,
        dsrs=state.dsrs,
        return_stacks=state.return_stacks,
        pending_tasks=state.pending_tasks,
        blocked_tasks=state.blocked_tasks,
        blocked_colors=state.blocked_colors,
        blocked_streams=state.blocked_streams,
        wake=np.full(2 * num_pes, NEVER, np.int64),
        neighbours=np.zeros((2 * num_pes, 2), np.int32),
        slots=np.full((2 * NUM_LISTS, 2), NONE, np.int32),
        routers=np.zeros(num_pes, np.int32),
        elements=np.zeros(num_pes, np.int32),
        candidates=np.zeros(max(most_sources, NUM_TASK_IDS), np.int64),
        moves=np.zeros((len(fabric.sources), 2), np.int64),
        events=np.zeros((FIRST_EVENT_ROWS if loaded.sink else 1, EVENT_FIELDS), np.int64),
    )


def _make_clock(*, is_recording: bool) -> Integers:
    clock = np.zeros(NUM_CLOCK_FIELDS, np.int64)
    clock[EPOCH_END] = EPOCH_CYCLES
    clock[IS_RECORDING] = is_recording
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
    pes[:, PE_BULK] = NONE
    pes[:, PE_CHANNELS] = fabric.first_channel
    pes[:, PE_SOURCES] = fabric.first_source
    # A router's list has a place for each of its sources and for the host's queue.
    pes[:, PE_ACTIVE] = fabric.first_source + index
    return pes


def _make_links(num_pes: int, window_words: int) -> Integers:
    links = np.zeros((4 * num_pes, LINK_DEPARTURES + window_words), np.int64)
    links[:, LINK_DEPARTURES:] = _LONG_AGO
    return links


def _make_operations(
    image: WaferImage, tables: ProgramTables
) -> tuple[Integers, Integers, Integers]:
    """Return the operations, and the first one and the number of each PE."""
    program_of_pe = image.program_of_pe.reshape(-1).astype(np.int64)
    threads = [layout.threads for layout in tables.layouts]
    of_pe = np.append(np.array([len(t) for t in threads], np.int64), 0)[program_of_pe]
    ends = np.cumsum(of_pe)
    first = ends - of_pe
    operations = np.zeros((int(ends[-1]) + 1, NUM_OPERATION_FIELDS), np.int64)
    for number, of_program in enumerate(threads):
        rows = first[program_of_pe == number]
        for slot, thread in enumerate(of_program):
            operations[rows + slot, OP_THREAD] = thread
    return operations, first, of_pe


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
