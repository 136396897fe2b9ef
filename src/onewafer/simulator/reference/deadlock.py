"""The deadlock report of a quiescent reference engine (M81)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.protocol.deadlock import (
    HeldWavelet,
    LiveOperation,
    QueueAndColor,
    RouteInForce,
    StuckElement,
    StuckRouter,
    describe_deadlock,
)
from onewafer.simulator.reference.compute_element.compute_element import ComputeElement, MainThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.simulator.protocol.engine import LoadedProgram
    from onewafer.simulator.protocol.findings import Finding
    from onewafer.simulator.reference.compute_element.operation import Operation
    from onewafer.simulator.reference.fabric.buffers import Source
    from onewafer.simulator.reference.fabric.router import Router
    from onewafer.simulator.reference.fabric.switch import Route
    from onewafer.simulator.state.schema import MachineState


def report_deadlock(
    elements: Sequence[ComputeElement],
    routers: Sequence[Router],
    loaded: LoadedProgram,
    findings: Sequence[Finding],
    cycle: int,
) -> str | None:
    """Return the deadlock report of a quiescent program, or None if it is done."""
    stuck = [_element(element) for element in elements if _is_stuck(element, loaded.state)]
    if not stuck:
        return None
    return describe_deadlock(stuck, [_router(one) for one in routers], loaded, findings, cycle)


def _is_stuck(element: ComputeElement, state: MachineState) -> bool:
    waits = element.main_thread in (MainThread.WAITING, MainThread.STALLED)
    return waits or bool(state.blocked_streams[element.index])


def _element(element: ComputeElement) -> StuckElement:
    is_stalled = element.main_thread is MainThread.STALLED
    return StuckElement(
        index=element.index,
        x=element.x,
        y=element.y,
        program=element.program,
        pc=element.pc,
        is_idle=element.main_thread is MainThread.IDLE,
        stalled_since=element.stalled_since if is_stalled else None,
        operations=[_operation(op) for op in element.path.threads if op is not None],
    )


def _operation(operation: Operation) -> LiveOperation:
    output = operation.output
    empty = [source.channel for source in operation.inputs if not source.channel.words]
    return LiveOperation(
        kind=operation.kind,
        thread=operation.thread,
        pc=operation.pc,
        is_endless=operation.is_endless,
        next_element=operation.next_element,
        length=operation.length,
        reason=operation.reason,
        waiting_since=operation.waiting_since,
        output=None if output is None else QueueAndColor(output.queue.number, output.color),
        empty_input=QueueAndColor(empty[0].queue, empty[0].color) if empty else None,
    )


def _router(router: Router) -> StuckRouter:
    return StuckRouter(router.x, router.y, [_wavelet(router, source) for source in router.active])


def _wavelet(router: Router, source: Source) -> HeldWavelet:
    color = source.words[0][1]
    route = router.routes.get(color)
    return HeldWavelet(
        port=source.port,
        number=source.number,
        color=color,
        reason=source.reason,
        waiting_since=source.waiting_since,
        is_torn_down=color in router.torn_colors,
        route=None if route is None else _route(route),
    )


def _route(route: Route) -> RouteInForce:
    full = [link for _, buffer, link in route.targets if buffer.used >= buffer.capacity]
    return RouteInForce(
        receive=route.receive,
        lacks_link=route.lacks_link,
        lacks_queue=route.lacks_queue,
        goes_to_host=route.goes_to_host,
        full_link=full[0] if full else None,
    )
