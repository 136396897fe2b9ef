"""Units of the reference engine as tables of a snapshot, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import DsdKind, DsdOperation
from onewafer.simulator.reference.compute_element.compute_element import MainThread
from onewafer.simulator.reference.compute_element.element_program import ELEMENT_BYTES
from onewafer.simulator.reference.compute_element.fifo import Fifo, FifoOperand
from onewafer.simulator.reference.compute_element.operand import (
    BlockOperand,
    InputOperand,
    Operand,
    OutputOperand,
    PointerOperand,
    ScalarOperand,
    VectorOperand,
)
from onewafer.simulator.reference.compute_element.operation import Operation
from onewafer.simulator.reference.fabric.buffers import LinkBuffer, OutputQueue
from onewafer.simulator.state.snapshot import (
    BLOCK,
    FIFO,
    INPUT,
    NONE,
    OUTPUT,
    POINTER,
    SCALAR,
    UNKNOWN,
    VECTOR,
    make_table,
    rows_of,
)
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onewafer.simulator.reference.compute_element.compute_element import ComputeElement
    from onewafer.simulator.reference.fabric.buffers import Channel, Source
    from onewafer.simulator.reference.fabric.router import Router
    from onewafer.simulator.reference.fabric.units import Schedule
    from onewafer.simulator.state.snapshot import Snapshot, Table

_MAIN_THREADS = (MainThread.IDLE, MainThread.RUNNING, MainThread.WAITING, MainThread.STALLED)
"""States of the main thread by their number in a snapshot."""

Rows = list[tuple[int, ...]]


# --- export --------------------------------------------------------------------------------------


def export_elements(elements: Sequence[ComputeElement]) -> dict[str, Table]:
    """Return the tables of compute elements, without their channels."""
    states: Rows = []
    operations: Rows = []
    launches: Rows = []
    arguments: Rows = []
    fifos: Rows = []
    for element in elements:
        pe = element.index
        states.append(_export_element(element))
        operations += [
            (pe, *_export_operation(element, op)) for op in element.path.threads if op is not None
        ]
        fifos += [(pe, *_export_fifo(fifo)) for fifo in element.fifos if not fifo.is_as_loaded]
        if element.pending_launch is not None:
            function, words = element.pending_launch
            launches.append((pe, function.address))
            pairs = zip(function.argument_registers, words, strict=True)
            arguments += [(pe, register, word) for register, word in pairs]
    return {
        "elements": make_table("elements", states),
        "operations": make_table("operations", operations),
        "launches": make_table("launches", launches),
        "launch_arguments": make_table("launch_arguments", arguments),
        "fifos": make_table("fifos", fifos),
    }


def export_channels(channels: Mapping[tuple[int, int], Channel]) -> dict[str, Table]:
    """Return the tables of channels, which are given by (PE, color)."""
    arrivals: Rows = []
    awaited: Rows = []
    for key, channel in channels.items():
        arrivals += [(*key, ready, word) for ready, word in channel.words]
        awaited += [key] * channel.router_waits
    return {
        "arrivals": make_table("arrivals", arrivals),
        "awaited_channels": make_table("awaited_channels", awaited),
    }


def _export_element(element: ComputeElement) -> tuple[int, ...]:
    path, counter, result = element.path, element.counter, element.last_result
    return (
        element.index,
        _MAIN_THREADS.index(element.main_thread),
        element.main_free,
        element.main_next,
        element.picker.last_picked,
        element.stalled_since,
        result.end,
        result.wait,
        result.first,
        result.last,
        counter.held,
        NONE if counter.started_at is None else counter.started_at,
        path.free_at,
        NONE if path.bulk is None else path.bulk.thread,
        path.bulk_since,
        element.main_thread_cycles,
        path.cycles,
        element.num_instructions,
        path.num_elements,
        element.task_starts,
        element.wake,
    )


def _export_operation(element: ComputeElement, operation: Operation) -> tuple[int, ...]:
    config = operation.config
    return (
        operation.thread,
        operation.kind,
        operation.pc,
        NONE if config is None else element.program.configs.index(config),
        operation.scalar,
        operation.length,
        operation.next_element,
        operation.start,
        operation.remaining,
        operation.element_cycles,
        operation.has_started,
        operation.last_served,
        operation.finish_at,
        _export_reason(operation.reason),
        operation.waiting_since,
        operation.is_prepared,
        *_export_operand(operation.dest),
        *_export_operand(operation.src0),
        *_export_operand(operation.src1),
    )


def _export_fifo(fifo: Fifo) -> tuple[int, ...]:
    return fifo.number, fifo.head, fifo.count, fifo.width, fifo.found_empty, fifo.found_full


def _export_operand(operand: Operand) -> tuple[int, int, int, int]:
    match operand:
        case PointerOperand():
            return POINTER, operand.address, 0, 0
        case VectorOperand():
            return VECTOR, operand.base, operand.stride, 0
        case BlockOperand():
            return BLOCK, operand.base, operand.skipped, operand.number
        case InputOperand():
            return INPUT, operand.channel.color, operand.flags, 0
        case OutputOperand():
            return OUTPUT, operand.queue.number, operand.flags, operand.color
        case FifoOperand():
            return FIFO, operand.fifo.number, 0, 0
        case ScalarOperand():
            return SCALAR, operand.word, 0, 0
        case _:
            raise NotImplementedError(type(operand).__name__)


def export_routers(
    routers: Sequence[Router],
    queues: Mapping[int, Iterable[OutputQueue]],
    *,
    cycle: int,
    window_cycles: int,
) -> dict[str, Table]:
    """Return the tables of routers and of waiting wavelets; `queues` are those of each PE."""
    states: Rows = []
    links: Rows = []
    departures: Rows = []
    sources: Rows = []
    wavelets: Rows = []
    credits_: Rows = []
    switches: Rows = []
    for pe, router in enumerate(routers):
        states.append((pe, router.num_to_ramp, router.wake))
        for direction, link in enumerate(router.links):
            if link.num_wavelets:
                links.append((pe, direction, link.free_at, link.num_wavelets))
                recent = (d for d in link.departures if d + window_cycles > cycle)
                departures += [(pe, direction, departure) for departure in recent]
        for number, source in _sources(router, queues.get(pe, ())):
            index = len(sources)
            sources.append((pe, source.port, number, *_export_source(source)))
            wavelets += [(index, *wavelet) for wavelet in source.words]
            if isinstance(source, LinkBuffer):
                credits_ += [(index, release) for release in source.releases]
        switches += [
            (pe, color, *switch.state)
            for color, switch in router.switches.items()
            if not switch.is_as_loaded
        ]
    return {
        "routers": make_table("routers", states),
        "links": make_table("links", links),
        "departures": make_table("departures", departures),
        "sources": make_table("sources", sources),
        "wavelets": make_table("wavelets", wavelets),
        "credits": make_table("credits", credits_),
        "switches": make_table("switches", switches),
    }


def _sources(
    router: Router, queues: Iterable[OutputQueue]
) -> Iterator[tuple[int, LinkBuffer | OutputQueue]]:
    """Yield the sources of a router that were ever used, with their number in the table."""
    for (color, _), buffer in router.buffers.items():
        if buffer.words or buffer.used or buffer.last_move >= 0:
            yield color, buffer
    for queue in queues:
        if queue.words or queue.last_move >= 0:
            yield queue.number, queue


def _export_source(source: LinkBuffer | OutputQueue) -> tuple[int, ...]:
    is_buffer = isinstance(source, LinkBuffer)
    return (
        source.last_move,
        _export_reason(source.reason),
        source.waiting_since,
        source.used if is_buffer else len(source.words),
        source.sender_waits if is_buffer else source.element_waits,
    )


def _export_reason(reason: StallReason | None) -> int:
    return NONE if reason is None else reason


def export_stalls(
    routers: Sequence[Router], elements: Sequence[ComputeElement]
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Return the cycles waited, `[num_pes, StallReason]`."""
    stalls = np.array([router.stalls for router in routers], np.int64)
    for element in elements:
        stalls[element.index] += element.path.stalls
    return stalls


# --- import --------------------------------------------------------------------------------------


def import_channels(snapshot: Snapshot, channels: Mapping[tuple[int, int], Channel]) -> None:
    """Fill the channels of a machine that was just loaded, which are given by (PE, color)."""
    for pe, color, ready, word in rows_of(snapshot.arrivals):
        channels[pe, color].words.append((ready, word))
    for pe, color in rows_of(snapshot.awaited_channels):
        channels[pe, color].router_waits = True


def import_elements(
    snapshot: Snapshot, element_of_pe: Mapping[int, ComputeElement], agenda: Schedule
) -> None:
    """Fill the compute elements of a machine that was just loaded, except their channels."""
    for pe, number, head, count, width, found_empty, found_full in rows_of(snapshot.fifos):
        fifo = element_of_pe[pe].fifos[number]
        fifo.head, fifo.count, fifo.width = head, count, width
        fifo.found_empty, fifo.found_full = bool(found_empty), bool(found_full)
    for pe, *row in rows_of(snapshot.operations):
        _import_operation(element_of_pe[pe], row)
    for pe, *row in rows_of(snapshot.elements):
        _import_element(element_of_pe[pe], row, snapshot.cycle, agenda)
    arguments: dict[int, Rows] = {}
    for pe, register, word in rows_of(snapshot.launch_arguments):
        arguments.setdefault(pe, []).append((register, word))
    for pe, entry in rows_of(snapshot.launches):
        _import_launch(element_of_pe[pe], entry, arguments.get(pe, []))


def _import_element(
    element: ComputeElement, row: Sequence[int], cycle: int, agenda: Schedule
) -> None:
    path, counter, result = element.path, element.counter, element.last_result
    (
        main_thread,
        element.main_free,
        element.main_next,
        element.picker.last_picked,
        element.stalled_since,
        result.end,
        result.wait,
        result.first,
        result.last,
        counter.held,
        started_at,
        path.free_at,
        bulk_thread,
        path.bulk_since,
        element.main_thread_cycles,
        path.cycles,
        element.num_instructions,
        path.num_elements,
        element.task_starts,
        wake,
    ) = row
    element.load_state()
    element.main_thread = _MAIN_THREADS[main_thread]
    counter.started_at = None if started_at == NONE else started_at
    path.bulk = None if bulk_thread == NONE else path.threads[bulk_thread]
    path.num_live = sum(operation is not None for operation in path.threads)
    agenda.schedule(element, cycle if wake == UNKNOWN else wake)


def _import_operation(element: ComputeElement, row: Sequence[int]) -> None:
    (thread, kind_number, pc, config, scalar, length, *rest) = row
    kind = DsdOperation(kind_number)
    dest, src0, src1 = (
        _import_operand(element, rest[i : i + 4], num_bytes)
        for i, num_bytes in zip((10, 14, 18), ELEMENT_BYTES[kind], strict=True)
    )
    operation = Operation(
        kind,
        element.function_at(pc),
        (dest, src0, src1),
        scalar,
        config=None if config == NONE else element.program.configs[config],
        pc=pc,
        length=length,
    )
    (
        operation.next_element,
        operation.start,
        operation.remaining,
        operation.element_cycles,
        has_started,
        operation.last_served,
        operation.finish_at,
        reason,
        operation.waiting_since,
        is_prepared,
    ) = rest[:10]
    operation.is_prepared = bool(is_prepared)
    operation.has_started = bool(has_started)
    operation.reason = _import_reason(reason)
    element.path.threads[thread] = operation
    for source in operation.inputs:
        source.channel.reader = operation
    if operation.output is not None:
        operation.output.queue.writer = operation
    for source in operation.fifo_sources:
        source.fifo.reader = operation
    if operation.fifo_dest is not None:
        operation.fifo_dest.fifo.writer = operation


def _import_operand(element: ComputeElement, row: Sequence[int], num_bytes: int) -> Operand:
    form, base, stride, extra = row
    match form:
        case _ if form == POINTER:
            return PointerOperand(element.memory, base, num_bytes)
        case _ if form == VECTOR:
            return VectorOperand(element.memory, (base, stride & 0xFFFF), num_bytes)
        case _ if form == BLOCK:
            descriptor = element.program.dsds[extra]
            assert descriptor.kind is DsdKind.MEM4D
            return BlockOperand(element.memory, (base, extra << 16 | stride), descriptor, num_bytes)
        case _ if form == INPUT:
            return InputOperand(element.channels[base], 0, num_bytes, flags=stride)
        case _ if form == OUTPUT:
            return OutputOperand(element.queues[base], extra, 0, num_bytes, flags=stride)
        case _ if form == FIFO:
            return FifoOperand(element.fifos[base], num_bytes)
        case _:
            assert form == SCALAR
            return ScalarOperand(base)


def _import_launch(element: ComputeElement, entry: int, arguments: Rows) -> None:
    registers = tuple(register for register, _ in arguments)
    function = next(
        symbol
        for symbol in element.functions.values()
        if symbol.address == entry and symbol.argument_registers == registers
    )
    element.pending_launch = function, tuple(word for _, word in arguments)


def import_routers(
    snapshot: Snapshot,
    routers: Sequence[Router],
    queues: Mapping[int, Mapping[int, OutputQueue]],
    agenda: Schedule,
) -> None:
    """Fill the routers of a machine that was just loaded; `queues` by PE and number."""
    for pe, num_to_ramp, wake in rows_of(snapshot.routers):
        router = routers[pe]
        router.num_to_ramp = num_to_ramp
        router.stalls = snapshot.stalls[pe].tolist()
        agenda.schedule(router, snapshot.cycle if wake == UNKNOWN else wake)
    for pe, direction, free_at, num_wavelets in rows_of(snapshot.links):
        link = routers[pe].links[direction]
        link.free_at, link.num_wavelets = free_at, num_wavelets
    for pe, direction, departure in rows_of(snapshot.departures):
        routers[pe].links[direction].departures.append(departure)
    for pe, color, *state in rows_of(snapshot.switches):
        routers[pe].switches[color].state = tuple(state)
    sources: list[Source] = []
    for pe, port, number, *row in rows_of(snapshot.sources):
        is_queue = port == Direction.RAMP
        source = queues[pe][number] if is_queue else routers[pe].buffers[number, Direction(port)]
        _import_source(source, row)
        sources.append(source)
    for source, release in rows_of(snapshot.credits):
        buffer = sources[source]
        assert isinstance(buffer, LinkBuffer)
        buffer.releases.append(release)
    router_of_source = rows_of(snapshot.sources[["pe"]])
    for source, ready, color, word in rows_of(snapshot.wavelets):
        routers[router_of_source[source][0]].push(sources[source], ready, color, word)


def _import_source(source: LinkBuffer | OutputQueue, row: Sequence[int]) -> None:
    source.last_move, reason, source.waiting_since, used, is_awaited = row
    source.reason = _import_reason(reason)
    match source:
        case LinkBuffer():
            source.used = used
            source.sender_waits = bool(is_awaited)
        case OutputQueue():
            source.element_waits = bool(is_awaited)


def _import_reason(number: int) -> StallReason | None:
    return None if number == NONE else StallReason(number)
