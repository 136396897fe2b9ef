"""The main threads' cycles by source line and reason, from the events of a trace.

In: a trace with instructions. Out: for each line its cycles on all PEs, by reason. A cycle belongs
to the last issued instruction, so that a wait for wavelets counts for the line that waits; the
start of a task counts for its first line. Microthreads are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.errors import TraceError
from onewafer.trace.event import Detail, EventKind, wait_of
from onewafer.trace.formats.reasons import Reason, reasons, reasons_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from onewafer.trace.formats.binary import Trace
    from onewafer.trace.formats.header import ProgramNames, TraceHeader
    from onewafer.trace.formats.reasons import Why

_MAIN_THREAD = 8
_SHARES_BANKS = 1 << 32
_WAITS = {
    "input empty": Reason.FABRIC,
    "output full": Reason.FABRIC,
    "data path": Reason.DATA_PATH,
    "fifo": Reason.FIFO,
    "microthread busy": Reason.MICROTHREAD,
}
"""Name of a `StallReason` → reason."""
_NO_PLACE = "without a source line"
_ENDS_WAIT = -1
_ORDER = {
    kind: place
    for place, kind in enumerate(
        (
            EventKind.DSD_END,
            EventKind.TASK_END,
            EventKind.TASK_START,
            _ENDS_WAIT,
            EventKind.INSTRUCTION,
            EventKind.ISSUE,
            EventKind.DSD_START,
            EventKind.WAIT,
        )
    )
}
"""The order of events within a cycle: ends, then an instruction, then what it begins."""


@dataclass(slots=True)
class LineCost:
    """The cycles of a source line on all PEs."""

    place: str
    """`file:line`; empty: instructions without a source line."""
    num_instructions: int = 0
    """Number of issued instructions."""
    spent: dict[Reason, int] = field(default_factory=dict[Reason, int])

    @property
    def cycles(self) -> int:
        """All its cycles."""
        return sum(self.spent.values())

    @property
    def why(self) -> Why:
        """Its cycles by reason."""
        return reasons(self.spent)

    def add(self, reason: Reason, cycles: int) -> None:
        """Count cycles."""
        self.spent[reason] = self.spent.get(reason, 0) + cycles


def costs_by_line(trace: Trace) -> list[LineCost]:
    """Return the cost of each line, the most expensive first.

    Raises:
        TraceError: the trace has no instructions.
    """
    if trace.header.detail < Detail.INSTRUCTIONS:
        raise TraceError(
            "cycles by source line need every instruction, and this trace was written without "
            "them: trace the run again, with an output that ends in .txt"
        )
    lines: dict[str, LineCost] = {}
    for x, y, rows in trace.of_pes():
        program = trace.header.program(x, y)
        if program is not None:
            pe = _Pe(trace.header, program, lines)
            events = [(row[0], row[3], row[4], row[5]) for row in rows if row[3] in _ORDER]
            for event in sorted(events, key=_turn):
                pe.take(*event)
            pe.finish(trace.end_cycle)
    return sorted(lines.values(), key=lambda line: (-line.cycles, line.place))


def _turn(event: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return the sort key of an event: its cycle, and its order within that."""
    cycle, kind, _, value = event
    ends_wait = kind == EventKind.WAIT and wait_of(value).reason < 0
    return cycle, _ORDER[_ENDS_WAIT if ends_wait else kind]


@dataclass(slots=True)
class _Issue:
    """An instruction that has issued, and the synchronous operation that it may be."""

    pc: int
    cycle: int
    shares_banks: bool = False
    starts: int | None = None
    ends: int | None = None
    waits: list[tuple[int, int, Reason]] = field(default_factory=list[tuple[int, int, Reason]])
    """First cycle, end and reason of each wait."""


class _Pe:
    """Follows the main thread of a PE."""

    def __init__(
        self, header: TraceHeader, program: ProgramNames, lines: dict[str, LineCost]
    ) -> None:
        self._header = header
        self._program = program
        self._lines = lines
        self._last: _Issue | None = None
        self._waiting: tuple[int, Reason] | None = None
        self._starts_task = False
        self._busy = 0
        """Cycles that the next instruction has waited for its microthread."""

    def take(self, cycle: int, kind: int, subject: int, value: int) -> None:
        match kind:
            case EventKind.TASK_START:
                self._starts_task = True
            case EventKind.INSTRUCTION:
                self._issue(cycle, value)
            case EventKind.ISSUE if subject == _MAIN_THREAD and self._last is not None:
                self._last.shares_banks = bool(value & _SHARES_BANKS)
            case EventKind.DSD_START if subject == _MAIN_THREAD and self._last is not None:
                self._last.starts = cycle
            case EventKind.DSD_END if subject == _MAIN_THREAD and self._last is not None:
                self._last.ends = cycle
            case EventKind.WAIT if subject == _MAIN_THREAD:
                self._wait(cycle, value)
            case EventKind.TASK_END:
                self._close(cycle)
            case _:
                pass

    def finish(self, cycle: int) -> None:
        """Count the cycles of a last instruction that never ended."""
        if self._waiting is not None:
            self._end_wait(cycle)
        stalled = self._last
        self._close(cycle)
        if stalled is not None and self._busy:  # the instruction behind it never issued
            self._line(stalled.pc + 1).add(Reason.MICROTHREAD, self._busy)

    def _issue(self, cycle: int, pc: int) -> None:
        self._close(cycle)
        self._last = _Issue(pc, cycle)
        line = self._line(pc)
        line.num_instructions += 1
        if self._starts_task:
            line.add(Reason.TASK_SWITCH, self._header.task_start_cycles)
            self._starts_task = False
        if self._busy:
            line.add(Reason.MICROTHREAD, self._busy)
            self._busy = 0

    def _line(self, pc: int) -> LineCost:
        place = self._program.places[pc]
        return self._lines.setdefault(place, LineCost(place))

    def _wait(self, cycle: int, value: int) -> None:
        if self._waiting is not None:
            self._end_wait(cycle)
        reason = wait_of(value).reason
        if reason >= 0:
            self._waiting = cycle, _WAITS[self._header.reasons[reason]]

    def _end_wait(self, cycle: int) -> None:
        assert self._waiting is not None
        since, reason = self._waiting
        self._waiting = None
        if reason is Reason.MICROTHREAD:
            self._busy += cycle - since
        elif self._last is not None:
            self._last.waits.append((since, cycle, reason))

    def _close(self, cycle: int) -> None:
        """Count the cycles of the last instruction, which end here."""
        last, self._last = self._last, None
        if last is None:
            return
        line = self._line(last.pc)
        if last.starts is None and not last.waits:
            spent = cycle - last.cycle - self._busy
            for reason, cycles in self._costs(last.pc, spent):
                line.add(reason, cycles)
            return
        for reason, cycles in self._operation(last, cycle):
            line.add(reason, cycles)

    def _costs(self, pc: int, spent: int) -> Iterator[tuple[Reason, int]]:
        """Yield the reasons of an instruction's cycles: its own costs, then the run's delays."""
        costs = self._program.costs[pc]
        left = spent
        for reason, cycles in reasons_of(costs):
            yield reason, min(cycles, left)
            left -= min(cycles, left)
        yield (Reason.JUMP if "branch" in costs else Reason.RESULT), left

    def _operation(self, last: _Issue, cycle: int) -> Iterator[tuple[Reason, int]]:
        """Yield the reasons of the cycles that a synchronous operation kept the main thread."""
        starts = cycle if last.starts is None else last.starts
        ends = cycle if last.ends is None else last.ends
        waited_before = waited = 0
        for since, until, reason in last.waits:
            yield reason, until - since
            waited += until - since
            waited_before += until - since if until <= starts else 0
        before = Reason.RESULT if self._header.result_cycles else Reason.SETUP
        yield before, starts - last.cycle - waited_before
        elements = ends - starts - (waited - waited_before)
        in_turns = 0
        if last.shares_banks:
            in_turns = elements - int(elements / self._header.bank_conflict_factor)
        yield Reason.ELEMENTS, elements - in_turns
        yield Reason.BANK_CONFLICT, in_turns
        yield Reason.SETUP, cycle - ends


def write_costs_by_line(trace: Trace, file: TextIO) -> None:
    """Write the cost of each line as text.

    Raises:
        TraceError: the trace has no instructions.
    """
    file.writelines(f"{line}\n" for line in _text(trace, costs_by_line(trace)))


def _text(trace: Trace, lines: list[LineCost]) -> Iterator[str]:
    header = trace.header
    total = sum(line.cycles for line in lines)
    num_pes = sum(number >= 0 for number in header.program_of_pe)
    yield f"{header.arch}, {header.profile} timing: {trace.end_cycle:,} cycles"
    yield (
        f"main threads of {num_pes:,} PEs: {total:,} PE-cycles by source line, and what they were "
        "spent for"
    )
    yield ""
    yield f"{'cycles':>14}  {'share':>7}  {'instructions':>12}  line"
    for line in lines:
        share = line.cycles / total if total else 0
        place = line.place or _NO_PLACE
        yield f"{line.cycles:14,}  {share:7.1%}  {line.num_instructions:12,}  {place}"
        yield f"{'':39}{_spelled(line.why)}"


def _spelled(why: Iterable[tuple[Reason, int]]) -> str:
    return ", ".join(f"{reason} {cycles:,}" for reason, cycles in why) or "nothing"
