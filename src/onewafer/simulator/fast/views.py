"""The arrays as the objects of the reference engine, as far as its deadlock report reads them.

One report, whoever simulated: only the PEs that it may mention are turned into objects.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.geometry import Direction
from onewafer.image import DsdOperation
from onewafer.simulator import messages
from onewafer.simulator.fast.fields import (
    CHANNEL_COLOR,
    CHANNEL_COUNT,
    CHANNEL_QUEUE,
    IDLE,
    INPUT,
    NONE,
    OP_DEST,
    OP_IS_ENDLESS,
    OP_IS_LIVE,
    OP_KIND,
    OP_LENGTH,
    OP_NEXT,
    OP_PC,
    OP_REASON,
    OP_SRC0,
    OP_SRC1,
    OP_THREAD,
    OP_WAITING_SINCE,
    OPERAND_BASE,
    OPERAND_DSD,
    OPERAND_KIND,
    OUTPUT,
    PE_ACTIVE,
    PE_MAIN,
    PE_NUM_ACTIVE,
    PE_NUM_OPERATIONS,
    PE_OPERATIONS,
    PE_PC,
    PE_PROGRAM,
    PE_STALLED_SINCE,
    PE_X,
    PE_Y,
    RING_COLOR,
    ROUTE_CHANNEL,
    ROUTE_RECEIVE,
    ROUTE_TARGETS,
    ROUTE_TRANSMIT,
    RUNNING,
    SOURCE_CAPACITY,
    SOURCE_HEAD,
    SOURCE_NUMBER,
    SOURCE_PORT,
    SOURCE_REASON,
    SOURCE_RING,
    SOURCE_USED,
    SOURCE_WAITING_SINCE,
    STALLED,
    WAITING,
)
from onewafer.simulator.reference.compute_element import MainThread
from onewafer.simulator.reference.deadlock import describe_deadlock
from onewafer.simulator.statistics import StallReason

if TYPE_CHECKING:
    from onewafer.simulator.engine import LoadedProgram
    from onewafer.simulator.fast.arrays import Arrays

_MAIN_THREADS = {
    IDLE: MainThread.IDLE,
    RUNNING: MainThread.RUNNING,
    WAITING: MainThread.WAITING,
    STALLED: MainThread.STALLED,
}


def report_deadlock(s: Arrays, loaded: LoadedProgram, cycle: int) -> str | None:
    """Return what the quiescent program waits for, or None if it is simply done (M81)."""
    has_program = s.pes[:, PE_PROGRAM] >= 0
    waits = np.isin(s.pes[:, PE_MAIN], (WAITING, STALLED)) | (s.blocked_streams != 0)
    holds = np.flatnonzero(s.pes[:, PE_NUM_ACTIVE])
    elements = [_element(s, loaded, pe) for pe in np.flatnonzero(has_program & waits).tolist()]
    if not elements and not _is_lost(s):
        return None
    routers = [_router(s, pe) for pe in holds.tolist()]
    return describe_deadlock(elements, routers, loaded.state, cycle)


def _is_lost(s: Arrays) -> bool:
    """Tell whether some wavelet waits where nothing will ever take it (M57)."""
    return bool((s.sources[:, SOURCE_REASON] == StallReason.NO_ROUTE).any())


def _element(s: Arrays, loaded: LoadedProgram, pe: int) -> Any:  # noqa: ANN401 - a stand-in
    record = s.pes[pe]
    program = loaded.image.programs[int(record[PE_PROGRAM])]
    first = record[PE_OPERATIONS]
    operations = range(first, first + record[PE_NUM_OPERATIONS])
    return SimpleNamespace(
        index=int(pe),
        x=int(record[PE_X]),
        y=int(record[PE_Y]),
        pc=int(record[PE_PC]),
        program=program,
        main_thread=_MAIN_THREADS[int(record[PE_MAIN])],
        stalled_since=int(record[PE_STALLED_SINCE]),
        path=SimpleNamespace(
            threads=[_operation(s, op) for op in operations if s.operations[op, OP_IS_LIVE]]
        ),
        describe_place=partial(messages.place, program),
    )


def _operation(s: Arrays, op: int) -> Any:  # noqa: ANN401
    record = s.operations[op]
    return SimpleNamespace(
        kind=DsdOperation(record[OP_KIND]),
        thread=int(record[OP_THREAD]),
        pc=int(record[OP_PC]),
        is_endless=bool(record[OP_IS_ENDLESS]),
        next_element=int(record[OP_NEXT]),
        length=int(record[OP_LENGTH]),
        reason=None if record[OP_REASON] == NONE else StallReason(record[OP_REASON]),
        waiting_since=int(record[OP_WAITING_SINCE]),
        output=_output(s, op),
        inputs=[
            SimpleNamespace(channel=_channel(s, record[at + OPERAND_BASE]))
            for at in (OP_SRC0, OP_SRC1)
            if record[at + OPERAND_KIND] == INPUT
        ],
    )


def _output(s: Arrays, op: int) -> Any:  # noqa: ANN401
    record = s.operations[op]
    if record[OP_DEST + OPERAND_KIND] != OUTPUT:
        return None
    number = int(s.sources[record[OP_DEST + OPERAND_BASE], SOURCE_NUMBER])
    color = int(record[OP_DEST + OPERAND_DSD])
    return SimpleNamespace(queue=SimpleNamespace(number=number), color=color)


def _channel(s: Arrays, channel: int) -> Any:  # noqa: ANN401
    record = s.channels[channel]
    return SimpleNamespace(
        queue=int(record[CHANNEL_QUEUE]),
        color=int(record[CHANNEL_COLOR]),
        words=range(record[CHANNEL_COUNT]),
    )


def _router(s: Arrays, pe: int) -> Any:  # noqa: ANN401
    record = s.pes[pe]
    first = record[PE_ACTIVE]
    active = [_source(s, source) for source in s.active[first : first + record[PE_NUM_ACTIVE]]]
    return SimpleNamespace(
        x=int(record[PE_X]),
        y=int(record[PE_Y]),
        active=active,
        routes={
            color: _route(s, s.route_of_color[pe, color])
            for color in {source.words[0][1] for source in active}
            if s.route_of_color[pe, color] != NONE
        },
    )


def _source(s: Arrays, source: int) -> Any:  # noqa: ANN401
    record = s.sources[source]
    head = s.rings[record[SOURCE_RING] + record[SOURCE_HEAD]]
    return SimpleNamespace(
        port=Direction(record[SOURCE_PORT]),
        number=int(record[SOURCE_NUMBER]),
        waiting_since=int(record[SOURCE_WAITING_SINCE]),
        reason=None if record[SOURCE_REASON] == NONE else StallReason(record[SOURCE_REASON]),
        words=[(0, int(head[RING_COLOR]), 0)],
    )


def _route(s: Arrays, route: int) -> Any:  # noqa: ANN401
    record = s.routes[route]
    transmit = int(record[ROUTE_TRANSMIT])
    wanted = [d for d in Direction if d is not Direction.RAMP and transmit >> d & 1]
    targets = [d for d in wanted if record[ROUTE_TARGETS + d] != NONE]
    return SimpleNamespace(
        receive=int(record[ROUTE_RECEIVE]),
        lacks_link=len(targets) < len(wanted),
        lacks_queue=bool(transmit >> Direction.RAMP & 1 and record[ROUTE_CHANNEL] == NONE),
        targets=[(None, _buffer(s, record[ROUTE_TARGETS + d]), d) for d in targets],
    )


def _buffer(s: Arrays, source: int) -> Any:  # noqa: ANN401
    record = s.sources[source]
    return SimpleNamespace(used=int(record[SOURCE_USED]), capacity=int(record[SOURCE_CAPACITY]))
