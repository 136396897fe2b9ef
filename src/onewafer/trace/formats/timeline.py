"""The timeline of a trace: slices on the tracks of each PE.

In: the events of one PE, by cycle. Out: slices. On the main thread's track, tasks contain
synchronous DSD operations, and these contain waits; a microthread has a track with its operations.
Consecutive waits of one kind are merged into one slice with their number, since a stream under
back-pressure waits for every wavelet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.trace.event import NO_COLOR, NO_QUEUE, EventKind, wait_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.trace.formats.binary import Trace
    from onewafer.trace.formats.header import ProgramNames, TraceHeader

MAIN_THREAD = 8
_LAUNCH_ID = 31
_CONTROL_TASK_ID = 64
_LAST_QUEUE = 0xFF
"""The last output queue; the host has a larger number."""
_CLOSE_CYCLES = 4
"""Most cycles between waits of one kind that are merged."""
_TASK, _OPERATION, _WAIT = range(3)
"""Depths."""

Argument = tuple[str, str | int]


@dataclass(slots=True)
class Slice:
    """A stretch of cycles [start, end) with a name."""

    start: int
    end: int
    """−1 while it is open."""
    depth: int
    """0 a task, 1 a DSD operation, 2 a wait; slices contain those of greater depth."""
    category: str
    """`task`, `operation`, `wait` (of an operation) or `held` (of wavelets in the router)."""
    name: str
    arguments: list[Argument] = field(default_factory=list[Argument])
    cycles: int = 0
    """Waits: cycles of waiting."""
    times: int = 1
    """Waits: number of merged waits."""


@dataclass(frozen=True, slots=True)
class PeTimeline:
    """The tracks of one PE; the slices of a track are sorted by start."""

    x: int
    y: int
    threads: dict[int, list[Slice]]
    """By microthread; 8: the main thread."""
    router: dict[str, list[Slice]]
    """Slices of waiting wavelets, by origin: `C4 from WEST`."""
    departures: dict[Direction, list[int]]
    """Cycles in which wavelets left by a link, or to the ramp."""


def build_timelines(trace: Trace) -> Iterator[PeTimeline]:
    """Yield the timeline of every PE that did something, row by row."""
    for x, y, rows in trace.of_pes():
        builder = _Builder(trace.header, x, y)
        for cycle, _, _, kind, subject, value in rows:
            builder.take(cycle, kind, subject, value)
        yield builder.build(trace.end_cycle)


class _Builder:
    """Follows the events of a PE."""

    def __init__(self, header: TraceHeader, x: int, y: int) -> None:
        self._header = header
        self._program = header.program(x, y)
        self._timeline = PeTimeline(x, y, {}, {}, {})
        self._open: dict[tuple[int, int], Slice] = {}
        """Open slices by thread and depth."""
        self._issued: dict[int, tuple[int, int]] = {}
        """Cycle of issue and its value, by thread."""
        self._held: dict[str, Slice | None] = {}
        self._last_wait: dict[int, Slice] = {}
        """By thread: the last wait, which a wait of the same operation may extend."""

    def take(self, cycle: int, kind: int, subject: int, value: int) -> None:
        match kind:
            case EventKind.TASK_START:
                self._start_task(cycle, subject, value)
            case EventKind.TASK_END:
                self._end(MAIN_THREAD, _TASK, cycle)
            case EventKind.ISSUE:
                self._issued[subject] = cycle, value
            case EventKind.DSD_START:
                self._start_operation(cycle, subject, value)
            case EventKind.DSD_END:
                self._end(subject, _OPERATION, cycle)
            case EventKind.WAIT:
                self._wait(cycle, subject, value)
            case EventKind.HELD:
                self._hold(cycle, subject, value)
            case EventKind.MOVE:
                self._move(cycle, subject)
            case EventKind.HOP:
                self._timeline.departures.setdefault(Direction(value), []).append(cycle)
            case _:
                pass

    def build(self, end: int) -> PeTimeline:
        """Return the tracks; slices that are still open are marked and end with the run."""
        for slice_ in (*self._open.values(), *self._held.values()):
            if slice_ is not None:
                slice_.end = max(end, slice_.start)
                slice_.cycles += slice_.end - slice_.start
                slice_.arguments.append(("ends", "never"))
        for slices in (*self._timeline.threads.values(), *self._timeline.router.values()):
            slices.sort(key=lambda s: (s.start, s.depth))
            for slice_ in slices:
                if slice_.category in {"wait", "held"}:
                    slice_.arguments.append(("waited cycles", slice_.cycles))
                if slice_.times > 1:
                    slice_.arguments.append(("waits", slice_.times))
        return self._timeline

    # --- tasks and operations --------------------------------------------------------------------

    def _begin(self, thread: int, depth: int, category: str, name: str) -> Slice:
        self._last_wait.pop(thread, None)
        slice_ = Slice(0, -1, depth, category, name)
        self._timeline.threads.setdefault(thread, []).append(slice_)
        self._open[thread, depth] = slice_
        return slice_

    def _end(self, thread: int, depth: int, cycle: int) -> None:
        self._last_wait.pop(thread, None)
        slice_ = self._open.pop((thread, depth), None)
        if slice_ is not None:
            slice_.end = cycle

    def _start_task(self, cycle: int, task_id: int, pc: int) -> None:
        name = _task_name(self._program, task_id, pc)
        slice_ = self._begin(MAIN_THREAD, _TASK, "task", name)
        slice_.start = cycle
        place = _place(self._program, pc)
        if place:
            slice_.arguments.append(("source", place))

    def _start_operation(self, cycle: int, thread: int, operation: int) -> None:
        name = self._header.operations[operation]
        slice_ = self._begin(thread, _OPERATION, "operation", name)
        slice_.start = cycle
        issued = self._issued.pop(thread, None)
        if issued is not None:
            issue_cycle, value = issued
            slice_.arguments.append(("elements", value >> 16 & 0xFFFF))
            slice_.arguments.append(("issued at cycle", issue_cycle))
            place = _place(self._program, value & 0xFFFF)
            if place:
                slice_.arguments.append(("source", place))

    # --- waits -----------------------------------------------------------------------------------

    def _wait(self, cycle: int, thread: int, value: int) -> None:
        wait = wait_of(value)
        slice_ = self._open.pop((thread, _WAIT), None)
        if slice_ is not None:
            slice_.end = cycle
            slice_.cycles += cycle - slice_.start
        if wait.reason < 0:
            return
        name = f"wait: {self._header.reasons[wait.reason]}"
        if wait.color != NO_COLOR:
            name += f" {self._header.color(wait.color)}"
        arguments: list[Argument] = []
        if wait.queue != NO_QUEUE:
            arguments.append(("queue", wait.queue))
        track = self._timeline.threads.setdefault(thread, [])
        last = self._last_wait.get(thread)
        slice_ = _again(track, last, Slice(cycle, -1, _WAIT, "wait", name, arguments))
        self._open[thread, _WAIT] = self._last_wait[thread] = slice_

    def _hold(self, cycle: int, subject: int, value: int) -> None:
        where = _source(self._header.color(subject & 0xFF), subject)
        slice_ = self._held.get(where)
        if slice_ is not None:
            slice_.end = cycle
            slice_.cycles += cycle - slice_.start
        self._held[where] = None
        if value:
            name = f"held: {self._header.reasons[value - 1]}"
            track = self._timeline.router.setdefault(where, [])
            last = track[-1] if track else None
            self._held[where] = _again(track, last, Slice(cycle, -1, _WAIT, "held", name))

    def _move(self, cycle: int, subject: int) -> None:
        ways = subject >> 16 & 0xFF
        for direction in Direction:
            if ways >> direction & 1:
                self._timeline.departures.setdefault(direction, []).append(cycle)


def _again(track: list[Slice], last: Slice | None, wait: Slice) -> Slice:
    """Begin a wait: extend the last slice if it was of the same kind and close, or add one."""
    if last is not None and last.name == wait.name and wait.start - last.end <= _CLOSE_CYCLES:
        last.cycles -= wait.start - last.start  # its end adds all cycles since its first start
        last.times += 1
        last.end = -1
        return last
    track.append(wait)
    return wait


def _source(color: str, subject: int) -> str:
    """Return the origin of a held wavelet: `C4 from WEST`, or an output queue, or the host."""
    port, queue = Direction(subject >> 8 & 0xFF), subject >> 16
    if port is not Direction.RAMP:
        return f"{color} from {port.name}"
    return f"{color} from output queue {queue}" if queue <= _LAST_QUEUE else f"{color} from host"


def _task_name(program: ProgramNames | None, task_id: int, pc: int) -> str:
    label = program.labels.get(pc) if program is not None else None
    if task_id == _LAUNCH_ID:
        return f"{label or 'function'} (launched)"
    if task_id >= _CONTROL_TASK_ID:
        return f"{label or 'task'} (control task {task_id - _CONTROL_TASK_ID})"
    return f"{label or 'task'} (task {task_id})"


def _place(program: ProgramNames | None, pc: int) -> str:
    return program.places[pc] if program is not None and pc < len(program.places) else ""
