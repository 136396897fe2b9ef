"""A trace in a few lines: counts of events, and the longest waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.trace.event import EventKind
from onewafer.trace.formats.timeline import build_timelines

if TYPE_CHECKING:
    from onewafer.trace.formats.binary import Trace
    from onewafer.trace.formats.timeline import PeTimeline

_NUM_SHOWN = 5


@dataclass(slots=True)
class _Waits:
    """All waits of one name."""

    cycles: int = 0
    worst: int = 0
    """The most cycles of one PE."""
    where: tuple[int, int] = 0, 0
    endless: int = 0
    """Number of waits that never ended."""
    by_pe: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])


def summarize(trace: Trace) -> str:
    """Return the counts of a run's events, and its longest waits."""
    counts = {kind: int((trace.rows[:, 3] == kind).sum()) for kind in EventKind}
    done = [
        _number(counts[EventKind.TASK_START], "task"),
        _number(counts[EventKind.DSD_START], "DSD operation"),
        f"{_number(counts[EventKind.MOVE], 'move')} of wavelets",
    ]
    cycles, events = _number(trace.end_cycle, "cycle"), _number(len(trace.rows), "event")
    lines = [f"{cycles}; {', '.join(done)}; {events}"]
    waits: dict[str, _Waits] = {}
    for timeline in build_timelines(trace):
        _add(timeline, waits)
    longest = sorted(waits.items(), key=lambda item: (-item[1].cycles, item[0]))
    width = max((len(name) for name, _ in longest[:_NUM_SHOWN]), default=0)
    for name, wait in longest[:_NUM_SHOWN]:
        x, y = wait.where
        never = f"; {wait.endless:,} never ended" if wait.endless else ""
        lines.append(
            f"  {name:<{width}} {wait.cycles:>14,} PE-cycles, most on PE ({x}, {y}): "
            f"{wait.worst:,}{never}"
        )
    return "\n".join(lines)


def _number(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _add(timeline: PeTimeline, waits: dict[str, _Waits]) -> None:
    for slices in (*timeline.threads.values(), *timeline.router.values()):
        for slice_ in slices:
            if slice_.category not in {"wait", "held"}:
                continue
            wait = waits.setdefault(slice_.name, _Waits())
            place = timeline.x, timeline.y
            here = wait.by_pe[place] = wait.by_pe.get(place, 0) + slice_.cycles
            wait.cycles += slice_.cycles
            wait.endless += ("ends", "never") in slice_.arguments
            if here > wait.worst:
                wait.worst, wait.where = here, place
