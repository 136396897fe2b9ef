"""The deadlock report of a quiescent machine, from its arrays (M81).

Objects are only made for PEs that the report may mention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import DsdOperation, SwitchPosition
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.protocol.deadlock import (
    HeldWavelet,
    LiveOperation,
    QueueAndColor,
    RouteInForce,
    StuckElement,
    StuckRouter,
    describe_deadlock,
)
from onewafer.simulator.state.loading import UNROUTED
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.image import WaferImage
    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.protocol.engine import LoadedProgram
    from onewafer.simulator.protocol.findings import Finding


def report_deadlock(
    s: Arrays,
    loaded: LoadedProgram,
    findings: Sequence[Finding],
    cycle: int,
    *,
    programmed: NDArray[np.int64],
) -> str | None:
    """Return the deadlock report of a quiescent program, or None if it is done (M81).

    `programmed` are the PEs that have a program.
    """
    main = s.pes[programmed, f.PE_MAIN]
    waits = (main == f.WAITING) | (main == f.STALLED) | (s.blocked_streams[programmed] != 0)
    stuck = programmed[waits].tolist()
    if not stuck:
        return None
    holds = np.flatnonzero(s.arena[s.blocks + f.BLOCK_ACTIVE])
    elements = [_element(s, loaded, pe) for pe in stuck]
    routers = [_router(s, loaded.image, pe) for pe in holds.tolist()]
    return describe_deadlock(elements, routers, loaded, findings, cycle)


def _element(s: Arrays, loaded: LoadedProgram, pe: int) -> StuckElement:
    record, block = s.pes[pe], int(s.blocks[pe])
    first, live = int(s.arena[block + f.BLOCK_OPERATIONS]), int(s.arena[block + f.BLOCK_LIVE])
    operations = [
        first + f.NUM_OP_WORDS * i for i in range(record[f.PE_NUM_OPERATIONS]) if live >> i & 1
    ]
    is_stalled = record[f.PE_MAIN] == f.STALLED
    return StuckElement(
        index=int(pe),
        x=int(record[f.PE_X]),
        y=int(record[f.PE_Y]),
        program=loaded.image.programs[int(record[f.PE_PROGRAM])],
        pc=int(record[f.PE_PC]),
        is_idle=bool(record[f.PE_MAIN] == f.IDLE),
        stalled_since=int(record[f.PE_STALLED_SINCE] + s.clock[f.BASE]) if is_stalled else None,
        operations=[_operation(s, op) for op in operations],
    )


def _operation(s: Arrays, op: int) -> LiveOperation:
    record = s.arena[op : op + f.NUM_OP_WORDS].tolist()
    times = s.operations[record[f.OP_ROW]]
    inputs = [
        record[at + f.OPERAND_BASE]
        for at in (f.OP_SRC0, f.OP_SRC1)
        if record[at + f.OPERAND_KIND] == f.INPUT
    ]
    empty = [channel for channel in inputs if not _count(s, channel)]
    return LiveOperation(
        kind=DsdOperation(record[f.OP_KIND] & f.KIND_MASK),
        thread=int(times[f.OPS_THREAD]),
        pc=record[f.OP_PC],
        is_endless=bool(record[f.OP_IS_ENDLESS]),
        next_element=record[f.OP_NEXT],
        length=record[f.OP_LENGTH],
        reason=None if record[f.OP_REASON] == f.NONE else StallReason(record[f.OP_REASON]),
        waiting_since=int(times[f.OPS_WAITING_SINCE] + s.clock[f.BASE]),
        output=_output(s, record),
        empty_input=_queue(s, empty[0]) if empty else None,
    )


def _output(s: Arrays, record: list[int]) -> QueueAndColor | None:
    if record[f.OP_DEST + f.OPERAND_KIND] != f.OUTPUT:
        return None
    queue = _queue(s, record[f.OP_DEST + f.OPERAND_BASE]).queue
    return QueueAndColor(queue, record[f.OP_DEST + f.OPERAND_DSD] & f.COLOR_MASK)


def _queue(s: Arrays, fifo: int) -> QueueAndColor:
    record = s.fifos[s.arena[fifo + f.FIFO_ROW]]
    return QueueAndColor(int(record[f.FIFOS_NUMBER]), int(record[f.FIFOS_COLOR]))


def _count(s: Arrays, fifo: int) -> int:
    return int(s.arena[fifo + f.FIFO_TAIL] - s.arena[fifo + f.FIFO_HEAD])


def _router(s: Arrays, image: WaferImage, pe: int) -> StuckRouter:
    return StuckRouter(
        x=int(s.pes[pe, f.PE_X]),
        y=int(s.pes[pe, f.PE_Y]),
        held=[_wavelet(s, image, source) for source in _sources(s, pe) if _count(s, source)],
    )


def _sources(s: Arrays, pe: int) -> list[int]:
    block = int(s.blocks[pe])
    first = block + f.BLOCK_SOURCES
    return s.arena[first : first + s.arena[block + f.BLOCK_NUM_SOURCES]].tolist()


def _wavelet(s: Arrays, image: WaferImage, source: int) -> HeldWavelet:
    record = s.fifos[s.arena[source + f.FIFO_ROW]]
    pe, color = int(record[f.FIFOS_PE]), _color(s, source)
    reason = int(s.arena[source + f.FIFO_STATE] & f.REASON_MASK) - 1
    switch = _switch(s, pe, source, color)
    return HeldWavelet(
        port=Direction(record[f.FIFOS_PORT]),
        number=int(record[f.FIFOS_NUMBER]),
        color=color,
        reason=None if reason < 0 else StallReason(reason),
        waiting_since=int(record[f.FIFOS_WAITING_SINCE] + s.clock[f.BASE]),
        is_torn_down=switch != f.NONE and bool(s.switches[switch, f.SWITCH_IS_TORN]),
        route=_route(s, image, pe, color, switch),
    )


def _color(s: Arrays, source: int) -> int:
    """Return the color of the oldest wavelet of a source."""
    color = int(s.fifos[s.arena[source + f.FIFO_ROW], f.FIFOS_COLOR])
    if color != f.ANY_COLOR:
        return color
    places = 1 << (s.arena[source + f.FIFO_SHAPE] >> 8 & 0x1F)
    place = s.arena[source + f.FIFO_HEAD] & (places - 1)
    return int(s.arena[source + f.FIFO_RING + 2 * places + place]) & f.COLOR_MASK


def _switch(s: Arrays, pe: int, source: int, color: int) -> int:
    """Return the row of the switch that a source waits for, or NONE."""
    route = int(s.arena[source + f.FIFO_ROUTE])
    if route == f.ANY_COLOR:
        route = int(s.ramp_routes[pe, color])
    is_switched = route != f.NO_ROUTE and s.arena[route + f.ROUTE_PORTS] & f.IS_SWITCHED
    return int(s.arena[route + f.ROUTE_SWITCH]) if is_switched else f.NONE


def _route(s: Arrays, image: WaferImage, pe: int, color: int, switch: int) -> RouteInForce | None:
    """Return the route in force of a color at a PE; None: it has none."""
    y, x = divmod(pe, image.width)
    number = int(image.config_of_color[y, x, color])
    config = image.color_configs[number] if number >= 0 else UNROUTED
    position, to_host = config.positions[0], config.to_host
    if switch != f.NONE:
        at = f.SWITCH_SETS + 2 * s.switches[switch, f.SWITCH_POSITION]
        receive, transmit = s.switches[switch, at : at + 2].tolist()
        position = SwitchPosition(max(receive, 0), transmit)
    assert position is not None
    if not position.rx | position.tx:
        return None
    links = [d for d in Direction if d is not Direction.RAMP and position.tx >> d & 1]
    buffers = [_buffer(s, image, (x, y), color, link) for link in links]
    full = [link for link, buffer in zip(links, buffers, strict=True) if _is_full(s, buffer)]
    return RouteInForce(
        receive=position.rx,
        lacks_link=None in buffers,
        lacks_queue=bool(position.tx >> Direction.RAMP & 1)
        and not to_host
        and not _has_channel(s, pe, color, switch),
        goes_to_host=to_host,
        full_link=full[0] if full else None,
    )


def _has_channel(s: Arrays, pe: int, color: int, switch: int) -> bool:
    if switch != f.NONE:
        return bool(s.switches[switch, f.SWITCH_CHANNEL])
    program = s.pes[pe, f.PE_PROGRAM]
    return bool(program >= 0 and s.programs[program, f.PROGRAM_COLORS + color] >= 0)


def _buffer(
    s: Arrays, image: WaferImage, sender: tuple[int, int], color: int, direction: Direction
) -> int | None:
    """Return the buffer of a color behind a link; None: the link leaves the rectangle."""
    x, y = sender[0] + direction.step[0], sender[1] + direction.step[1]
    if not (0 <= x < image.width and 0 <= y < image.height):
        return None
    color ^= int(image.pair_swaps[y, x, color]) >> direction.opposite & 1
    for source in _sources(s, y * image.width + x):
        record = s.fifos[s.arena[source + f.FIFO_ROW]]
        if record[f.FIFOS_COLOR] == color and record[f.FIFOS_PORT] == direction.opposite:
            return source
    return None


def _is_full(s: Arrays, buffer: int | None) -> bool:
    return buffer is not None and _count(s, buffer) >= s.arena[buffer + f.FIFO_SHAPE] >> 16
