"""The report of a deadlock: the waiting units and their reasons (M81).

The report is the same for all engines: each describes the waiting PEs, and the routers that hold
wavelets, by the classes below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.image import ChannelKind, DsdOperation, Opcode, TaskKind, channel
from onewafer.simulator.arithmetic.queue_words import NUM_QUEUES, asked_of
from onewafer.simulator.protocol.finding_texts import (
    MERGED_ACTIVATIONS,
    describe_merged,
    places_of,
)
from onewafer.simulator.protocol.messages import place
from onewafer.simulator.state.schema import MAIN_THREAD
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.geometry import Direction
    from onewafer.image import TileProgram
    from onewafer.simulator.protocol.engine import LoadedProgram
    from onewafer.simulator.protocol.findings import Finding
    from onewafer.simulator.state.schema import MachineState

_NUM_SHOWN = 4


@dataclass(frozen=True, slots=True)
class QueueAndColor:
    """The resource that an operation waits for."""

    queue: int
    """Negative: the color has no queue of its own."""
    color: int


@dataclass(frozen=True, slots=True)
class LiveOperation:
    """A DSD operation that is not done."""

    kind: DsdOperation
    thread: int
    """A microthread, or `MAIN_THREAD`."""
    pc: int
    is_endless: bool
    next_element: int
    length: int
    reason: StallReason | None
    waiting_since: int
    output: QueueAndColor | None
    """Queue and color of its results, if the destination is the fabric."""
    empty_input: QueueAndColor | None
    """The first empty one of its input queues."""


@dataclass(frozen=True, slots=True)
class StuckElement:
    """A compute element whose main thread waits, or whose command stream is blocked."""

    index: int
    x: int
    y: int
    program: TileProgram
    pc: int
    is_idle: bool
    """True if no task runs."""
    stalled_since: int | None
    """Cycle since which its main thread waits for a busy microthread; None: it does not."""
    operations: Sequence[LiveOperation]


@dataclass(frozen=True, slots=True)
class RouteInForce:
    """The current route of a color in a router."""

    receive: int
    """Bit set of directions."""
    lacks_link: bool
    lacks_queue: bool
    goes_to_host: bool
    full_link: Direction | None
    """The first link whose buffer is full."""


@dataclass(frozen=True, slots=True)
class HeldWavelet:
    """The oldest wavelet of an output queue or link buffer."""

    port: Direction
    number: int
    color: int
    reason: StallReason | None
    waiting_since: int
    is_torn_down: bool
    route: RouteInForce | None


@dataclass(frozen=True, slots=True)
class StuckRouter:
    """A router that holds wavelets."""

    x: int
    y: int
    held: Sequence[HeldWavelet]


def describe_deadlock(
    elements: Sequence[StuckElement],
    routers: Sequence[StuckRouter],
    loaded: LoadedProgram,
    findings: Sequence[Finding],
    cycle: int,
) -> str:
    """Return the deadlock report of a quiescent program."""
    merged = describe_merged(loaded.image, findings)
    advice = "call unblock_cmd_stream() where the work of a launch ends"
    if merged:
        advice += ", unless the task that does so was activated twice and started once (see below)"
    waits = [
        line for element in elements for line in _describe_element(element, loaded.state, advice)
    ]
    held = [line for router in routers for line in _describe_router(router)]
    text = [f"deadlock at cycle {cycle}: nothing can move any more, and the program is not done"]
    text += _grouped(waits)
    if held:
        text += ["  wavelets that cannot move:", *_grouped(held)]
    if merged:
        text += [f"  {MERGED_ACTIVATIONS}", *(f"    {what}" for what in merged)]
    return "\n".join(text)


Line = tuple[str, tuple[int, int, int | None]]
"""A text, and its place: (x, y, first cycle of the wait)."""


def _describe_element(element: StuckElement, state: MachineState, advice: str) -> Iterable[Line]:
    x, y = element.x, element.y
    finite = [operation for operation in element.operations if not operation.is_endless]
    for operation in finite:
        where = place(element.program, operation.pc)
        yield f"{_thread(operation)} {_wait(operation)}, {where}", (x, y, operation.waiting_since)
    if element.stalled_since is not None:
        where = place(element.program, element.pc)
        what = f"main thread waits for the microthread of its next DSD operation, {where}"
        yield what, (x, y, element.stalled_since)
    asked = asked_of(int(state.queue_flushes[element.index]))
    for number in range(2 * NUM_QUEUES):
        if asked >> number & 1:
            side, queue = (
                ("output", number - NUM_QUEUES) if number >= NUM_QUEUES else ("input", number)
            )
            what = f"@queue_flush waits for {side} queue {queue} to become empty"
            yield what, (x, y, None)
    blocked = list(_describe_blocked_tasks(element, state))
    for what in blocked:
        yield what, (x, y, None)
    if state.blocked_streams[element.index]:
        is_done = element.is_idle and not blocked and not finite
        text = "the command stream was not unblocked since the last launch"
        if is_done:
            last = place(element.program, element.pc - 1)
            text += f", and the PE has nothing left to do: its last task ended at {last}; {advice}"
        yield text, (x, y, None)


def _describe_blocked_tasks(element: StuckElement, state: MachineState) -> Iterable[str]:
    """Yield one line for each task that was activated and is blocked (M61)."""
    waiting = int(state.pending_tasks[element.index] & state.blocked_tasks[element.index])
    for task in element.program.tasks:
        if task.kind is TaskKind.LOCAL and waiting >> task.task_id & 1:
            yield (
                f"task '{task.name}' (id {task.task_id}) is activated, but blocked; "
                f"{_unblockers(element, task.task_id)}"
            )


def _unblockers(element: StuckElement, task_id: int) -> str:
    """Return the places in the program that would unblock a task."""
    program = element.program
    wanted = channel(ChannelKind.LOCAL_TASK, task_id)
    configs = {
        number
        for number, config in enumerate(program.configs)
        if wanted in (config.unblock, config.control_unblock)
    }
    places = places_of(program, Opcode.UNBLOCK, wanted, configs)
    if not places:
        return "nothing in the program unblocks it: add @unblock or .unblock"
    return f"it waits for {' or '.join(places)}"


def _thread(operation: LiveOperation) -> str:
    is_main = operation.thread == MAIN_THREAD
    return "main thread" if is_main else f"microthread {operation.thread}"


def _wait(operation: LiveOperation) -> str:
    name = f"@{DsdOperation(operation.kind).name.lower()}"
    elements = "1 element" if operation.length == 1 else f"{operation.length} elements"
    done = f"after {operation.next_element} of {elements}"
    if operation.reason is StallReason.OUTPUT_FULL and operation.output is not None:
        output = operation.output
        return (
            f"in {name} waits for room in output queue {output.queue} (color {output.color}) {done}"
        )
    empty = operation.empty_input
    if empty is not None:
        queue = f"input queue {empty.queue}, " if empty.queue >= 0 else ""
        return f"in {name} waits for a wavelet ({queue}color {empty.color}) {done}"
    if operation.reason is StallReason.FIFO:
        return f"in {name} waits for an element or a place in a FIFO {done}"
    return f"in {name} waits {done}"


def _describe_router(router: StuckRouter) -> Iterable[Line]:
    for held in sorted(router.held, key=lambda h: (h.port, h.number, h.color)):
        what = f"color {held.color} from {held.port.name}: {_obstacle(held)}"
        yield what, (router.x, router.y, held.waiting_since)


def _obstacle(held: HeldWavelet) -> str:
    route = held.route
    if held.is_torn_down:
        return "the color is torn down there, and the program has not let it go (teardown.exit)"
    if route is None:
        return "the router has no route for the color"
    if held.reason is StallReason.SWITCH and route.lacks_queue:
        return "no queue of the PE serves the color now; the program has to bind one to it"
    if held.reason is StallReason.SWITCH:
        return "the switch is in another position than the one that would let it pass"
    if not route.receive >> held.port & 1:
        return f"the route does not receive from {held.port.name}"
    if route.lacks_link:
        return "the route leaves the rectangle"
    if route.lacks_queue:
        return "the route ends at this PE, which has no queue for the color"
    if route.full_link is not None:
        return f"the buffer of the next router to the {route.full_link.name} is full"
    if route.goes_to_host:
        return "the host has not received the wavelets that wait at this PE"
    return "the input queue of the PE is full, and the program does not read it"


def _grouped(lines: Iterable[Line]) -> list[str]:
    """Return one line for each distinct text, with the first places and the number of others."""
    groups: dict[str, list[tuple[int, int, int | None]]] = {}
    for what, where in lines:
        groups.setdefault(what, []).append(where)
    return [f"    {_list_places(places)}: {what}" for what, places in groups.items()]


def _list_places(places: list[tuple[int, int, int | None]]) -> str:
    shown = ", ".join(
        f"({x}, {y})" + ("" if since is None else f" since cycle {since}")
        for x, y, since in places[:_NUM_SHOWN]
    )
    more = len(places) - _NUM_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{'PEs' if len(places) > 1 else 'PE'} {shown}{rest}"
