"""Who waits for whom when nothing moves any more (M81)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import ChannelKind, DsdOperation, Field, Opcode, TaskKind, channel
from onewafer.simulator.arithmetic.queue_words import NUM_QUEUES, asked_of
from onewafer.simulator.reference.compute_element import ComputeElement, MainThread
from onewafer.simulator.reference.operation import MAIN_THREAD, Operation
from onewafer.simulator.statistics import StallReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from onewafer.simulator.reference.router import Router, Source
    from onewafer.simulator.state import MachineState

_NUM_SHOWN = 4


def describe_deadlock(
    elements: Sequence[ComputeElement], routers: Sequence[Router], state: MachineState, cycle: int
) -> str | None:
    """Return what the quiescent program waits for, or None if it is simply done."""
    stuck = [element for element in elements if _is_stuck(element, state)]
    if not stuck:
        return None
    waits = [line for element in stuck for line in _describe_element(element, state)]
    held = [line for router in routers for line in _describe_router(router)]
    text = [f"deadlock at cycle {cycle}: nothing can move any more, and the program is not done"]
    text += _grouped(waits)
    if held:
        text += ["  wavelets that cannot move:", *_grouped(held)]
    return "\n".join(text)


def _is_stuck(element: ComputeElement, state: MachineState) -> bool:
    waits = element.main_thread in (MainThread.WAITING, MainThread.STALLED)
    return waits or bool(state.blocked_streams[element.index])


Line = tuple[str, tuple[int, int, int | None]]
"""What, and where: (x, y, since which cycle)."""


def _describe_element(element: ComputeElement, state: MachineState) -> Iterable[Line]:
    x, y = element.x, element.y
    for operation in element.path.threads:
        if operation is not None and not operation.is_endless:
            what = (
                f"{_thread(operation)} {_wait(operation)}, {element.describe_place(operation.pc)}"
            )
            yield what, (x, y, operation.waiting_since)
    if element.main_thread is MainThread.STALLED:
        place = element.describe_place(element.pc)
        what = f"main thread waits for the microthread of its next DSD operation, {place}"
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
        is_done = element.main_thread is MainThread.IDLE and not blocked
        waits = any(op is not None and not op.is_endless for op in element.path.threads)
        yield _describe_stream(element, is_done=is_done and not waits), (x, y, None)


def _describe_stream(element: ComputeElement, *, is_done: bool) -> str:
    text = "the command stream was not unblocked since the last launch"
    if not is_done:
        return text
    last = element.describe_place(element.pc - 1)
    return (
        f"{text}, and the PE has nothing left to do: its last task ended at {last}; "
        "call unblock_cmd_stream() where the work of a launch ends"
    )


def _describe_blocked_tasks(element: ComputeElement, state: MachineState) -> Iterable[str]:
    """Yield one line for each task that was activated and is blocked (M61)."""
    waiting = int(state.pending_tasks[element.index] & state.blocked_tasks[element.index])
    for task in element.program.tasks:
        if task.kind is TaskKind.LOCAL and waiting >> task.task_id & 1:
            yield (
                f"task '{task.name}' (id {task.task_id}) is activated, but blocked; "
                f"{_unblockers(element, task.task_id)}"
            )


def _unblockers(element: ComputeElement, task_id: int) -> str:
    """Return what in the program would unblock a task."""
    program = element.program
    wanted = channel(ChannelKind.LOCAL_TASK, task_id)
    configs = {i for i, config in enumerate(program.configs) if config.unblock == wanted}
    places: list[str] = []
    for pc, (opcode, imm) in enumerate(program.code[:, [Field.OPCODE, Field.IMM]].tolist()):
        if opcode == Opcode.UNBLOCK and imm == wanted:
            places.append(f"the @unblock at {element.describe_place(pc)}")
        elif opcode == Opcode.DSD and imm in configs:
            places.append(f"the end of the operation at {element.describe_place(pc)}")
    if not places:
        return "nothing in the program unblocks it: add @unblock or .unblock"
    return f"it waits for {' or '.join(places)}"


def _thread(operation: Operation) -> str:
    is_main = operation.thread == MAIN_THREAD
    return "main thread" if is_main else f"microthread {operation.thread}"


def _wait(operation: Operation) -> str:
    name = f"@{DsdOperation(operation.kind).name.lower()}"
    elements = "1 element" if operation.length == 1 else f"{operation.length} elements"
    done = f"after {operation.next_element} of {elements}"
    if operation.reason is StallReason.OUTPUT_FULL and operation.output is not None:
        output = operation.output
        return (
            f"in {name} waits for room in output queue {output.queue.number} "
            f"(color {output.color}) {done}"
        )
    empty = [source.channel for source in operation.inputs if not source.channel.words]
    if empty:
        queue = f"input queue {empty[0].queue}, " if empty[0].queue >= 0 else ""
        return f"in {name} waits for a wavelet ({queue}color {empty[0].color}) {done}"
    if operation.reason is StallReason.FIFO:
        return f"in {name} waits for an element or a place in a FIFO {done}"
    return f"in {name} waits {done}"


def _describe_router(router: Router) -> Iterable[Line]:
    for source in sorted(router.active, key=lambda s: (s.port, s.number, s.words[0][1])):
        color = source.words[0][1]
        what = f"color {color} from {source.port.name}: {_obstacle(router, source, color)}"
        yield what, (router.x, router.y, source.waiting_since)


def _obstacle(router: Router, source: Source, color: int) -> str:
    if color in router.torn_colors:
        return "the color is torn down there, and the program has not let it go (teardown.exit)"
    route = router.routes.get(color)
    if route is None:
        return "the router has no route for the color"
    if source.reason is StallReason.SWITCH and route.lacks_queue:
        return "no queue of the PE serves the color now; the program has to bind one to it"
    if source.reason is StallReason.SWITCH:
        return "the switch is in another position than the one that would let it pass"
    if not route.receive >> source.port & 1:
        return f"the route does not receive from {source.port.name}"
    if route.lacks_link:
        return "the route leaves the rectangle"
    if route.lacks_queue:
        return "the route ends at this PE, which has no queue for the color"
    for _, buffer, direction in route.targets:
        if buffer.used >= buffer.capacity:
            return f"the buffer of the next router to the {direction.name} is full"
    if route.goes_to_host:
        return "the host has not received the wavelets that wait at this PE"
    return "the input queue of the PE is full, and the program does not read it"


def _grouped(lines: Iterable[Line]) -> list[str]:
    """Return one line for each distinct text, with the first places and the number of others."""
    groups: dict[str, list[tuple[int, int, int | None]]] = {}
    for what, where in lines:
        groups.setdefault(what, []).append(where)
    return [f"    {_places(places)}: {what}" for what, places in groups.items()]


def _places(places: list[tuple[int, int, int | None]]) -> str:
    shown = ", ".join(
        f"({x}, {y})" + ("" if since is None else f" since cycle {since}")
        for x, y, since in places[:_NUM_SHOWN]
    )
    more = len(places) - _NUM_SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{'PEs' if len(places) > 1 else 'PE'} {shown}{rest}"
