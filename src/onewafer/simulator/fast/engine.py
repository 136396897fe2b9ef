"""The fast engine: the machine model in kernels over flat arrays; the whole wafer, exactly.

Only this file, `building`, `injection` and `views` know Python objects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import DeadlockError, SimulationError
from onewafer.geometry import Direction
from onewafer.image import SymbolKind
from onewafer.simulator.fast.build.building import build
from onewafer.simulator.fast.build.injection import Collector, Injector
from onewafer.simulator.fast.kernels.bookkeeping.counting import count_totals
from onewafer.simulator.fast.kernels.bookkeeping.recording import EVENTS_PER_PE
from onewafer.simulator.fast.kernels.loop import (
    EVENTS_FULL,
    FAULTED,
    LIMIT,
    PAUSED,
    QUIESCENT,
    settle_elements,
    wake_elements,
    wake_routers,
)
from onewafer.simulator.fast.machine_code.native import bind
from onewafer.simulator.fast.reports.counters import (
    count_bulk,
    count_hops,
    count_link_wavelets,
    count_of_blocks,
    count_stalls,
)
from onewafer.simulator.fast.reports.faults import make_error
from onewafer.simulator.fast.reports.views import report_deadlock
from onewafer.simulator.fast.snapshots.checkpoint import export_snapshot, export_waiting
from onewafer.simulator.fast.snapshots.restoring import restore
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.threads.sharing import (
    choose_bands,
    choose_division,
    empty_agenda,
    share_out,
    with_arrays,
)
from onewafer.simulator.fast.threads.team import Team
from onewafer.simulator.protocol import messages
from onewafer.simulator.protocol.engine import StopReason
from onewafer.simulator.protocol.findings import Finding, FindingKind
from onewafer.simulator.protocol.rim import without_exits
from onewafer.simulator.state.statistics import Activity, StallReason, Statistics, Total
from onewafer.trace import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.image import Symbol
    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.fast.threads.sharing import Division
    from onewafer.simulator.protocol.engine import LoadedProgram
    from onewafer.simulator.protocol.leftovers import Waiting
    from onewafer.simulator.state.snapshot import Snapshot

_BUDGET = 1 << 22
"""Visits and instructions between two checks for signals: well under a second."""
_NO_PES: NDArray[np.int64] = np.zeros(0, np.int64)


class FastEngine:
    """Executes one loaded program."""

    def __init__(self, loaded: LoadedProgram, division: Division | None = None) -> None:
        """Build the arrays. Raise `ImageError` if they cannot fit into memory.

        The division assigns PEs to threads; no result depends on it.
        """
        loaded = replace(loaded, image=without_exits(loaded.image))
        self._loaded = loaded
        arrays, fabric = build(loaded)
        if division is None:
            division = choose_division(loaded)
        self._shares = share_out(arrays, division)
        self._team = Team(self._shares)
        self._bands = choose_bands(loaded.image.width, loaded.image.height, len(self._shares))
        self._use(self._shares[0])
        self._injector = Injector(fabric)
        self._collector = Collector(fabric)
        self._has_streams = bool(len(fabric.streams.pe) or len(fabric.host_channels.pe))
        self._cycle = 0
        self._program_of_pe = loaded.image.program_of_pe.reshape(-1)
        # What a run costs beside its kernels must not grow with PEs that have nothing to do.
        self._programmed = np.flatnonzero(self._program_of_pe >= 0)
        self._pes_of_program = [
            np.flatnonzero(self._program_of_pe == number)
            for number in range(len(loaded.image.programs))
        ]
        wake_elements(self._bound, self._programmed, 0)

    @property
    def cycle(self) -> int:
        """The current cycle (M3)."""
        return self._cycle

    def run(self, *, max_cycles: int | None = None) -> StopReason:
        """Run until quiescent or for at most `max_cycles` cycles (M80–M82)."""
        until = f.NEVER if max_cycles is None else min(self._cycle + max_cycles, f.NEVER)
        while True:
            outcome = self._team.run(self._bound, until, _BUDGET)
            self._pass_events()
            match outcome:
                case _ if outcome == PAUSED:
                    continue
                case _ if outcome == EVENTS_FULL:
                    self._make_room_for_events()
                case _ if outcome == FAULTED:
                    raise self._fail()
                case _ if outcome == LIMIT:
                    self._cycle = until
                    self._store_state()
                    return StopReason.CYCLE_LIMIT
                case _:
                    assert outcome == QUIESCENT
                    return self._finish()

    def find_deadlock(self) -> str | None:
        """Return the deadlock report of the quiescent program; None if it is done (M81)."""
        return report_deadlock(
            self._arrays, self._loaded, self.findings(), self._cycle, programmed=self._programmed
        )

    def launch(self, name: str, words: Sequence[int]) -> None:
        """Start an exported function on every PE that has it (M70)."""
        functions = [_function(p.exports.get(name), p.symbols) for p in self._loaded.image.programs]
        having = [
            pes
            for function, pes in zip(functions, self._pes_of_program, strict=True)
            if function is not None
        ]
        pes = np.sort(np.concatenate([_NO_PES, *having]))
        if not len(pes):
            raise SimulationError(messages.no_such_function(name, self._function_names()))
        self._check_launch(name, words, pes, functions)
        launches = self._arrays.launches
        for function, rows in zip(functions, self._pes_of_program, strict=True):
            if function is None:
                continue
            launches[rows, f.LAUNCH_ENTRY] = function.address
            launches[rows, f.LAUNCH_NUM_ARGUMENTS] = len(words)
            arguments = zip(function.argument_registers, words, strict=True)
            for i, (register, word) in enumerate(arguments):
                launches[rows, f.LAUNCH_ARGUMENTS + 2 * i] = register
                launches[rows, f.LAUNCH_ARGUMENTS + 2 * i + 1] = word & 0xFFFF_FFFF
        self._arrays.blocked_streams[pes] = 1
        self._note_now()
        wake_elements(self._bound, pes, self._cycle)

    def inject(self, pe_index: int, color: int, words: Sequence[int]) -> None:
        """Put wavelets into the router of a PE (M72)."""
        self._note_now()
        if len(words):
            s = self._arrays
            self._use(self._injector.inject(s, pe_index, color, words, cycle=self._cycle))
        wake_routers(self._bound, np.array([pe_index]), self._cycle)

    def collect(self, pe_index: int, color: int, most: int) -> list[int]:
        """Take up to `most` wavelets that wait for the host, control wavelets marked (M73)."""
        words, is_awaited = self._collector.collect(
            self._arrays, pe_index, color, most, cycle=self._cycle
        )
        if is_awaited:
            wake_routers(self._bound, np.array([pe_index]), self._cycle + 1)
        return words

    def activity(self) -> Activity:
        """Return the counters that show the activity of PEs."""
        s = self._arrays
        steps = (
            s.pes[:, f.PE_INSTRUCTIONS]
            + s.pes[:, f.PE_ELEMENTS]
            + count_of_blocks(s, f.BLOCK_ELEMENTS)
        )
        image = self._loaded.image
        return Activity(steps.reshape(image.height, image.width), count_hops(s))

    def findings(self) -> list[Finding]:
        """Return the findings since this engine was made, by kind, program and place."""
        s, found = self._arrays, list[Finding]()
        rows = np.flatnonzero(s.code[:, f.CODE_FINDINGS])
        starts = s.programs[:, f.PROGRAM_CODE]
        program = np.searchsorted(starts, rows, side="right") - 1
        for kind in FindingKind:
            at = s.code[rows, f.CODE_FINDINGS] + f.NUM_FINDING_FIELDS * kind
            times = sum(share.clock[at + f.FINDING_TIMES] for share in self._shares)
            last = np.max([share.clock[at + f.FINDING_FIRST] for share in self._shares], axis=0)
            first = np.divmod(f.FIRST_FINDING - last, len(s.pes))
            columns = np.stack((program, rows - starts[program], times, *first), axis=1)
            found += [Finding(kind, *row) for row in columns[columns[:, 2] > 0].tolist()]
        return found

    def statistics(self) -> Statistics:
        """Return the counters since loading."""
        image, s = self._loaded.image, self._arrays
        shape = image.height, image.width

        def column(field: int) -> NDArray[np.int64]:
            return s.pes[:, field].reshape(shape).copy()

        links = count_link_wavelets(s).reshape(*shape, len(Direction))
        elements = column(f.PE_ELEMENTS) + count_of_blocks(s, f.BLOCK_ELEMENTS).reshape(shape)
        path = column(f.PE_PATH_CYCLES) + count_of_blocks(s, f.BLOCK_PATH_CYCLES).reshape(shape)
        path += count_bulk(s, self._cycle).reshape(shape)
        stalls = count_stalls(s, self._cycle)
        return Statistics(
            cycles=self._cycle,
            main_thread_cycles=column(f.PE_MAIN_CYCLES),
            data_path_cycles=path,
            instructions=column(f.PE_INSTRUCTIONS),
            dsd_elements=elements,
            task_starts=column(f.PE_TASK_STARTS),
            link_wavelets=links,
            stall_cycles={reason: stalls[:, reason].reshape(shape) for reason in StallReason},
        )

    def totals(self) -> NDArray[np.int64]:
        """Return the totals of the counters, for samples during a run."""
        totals = np.zeros((len(Total), len(self._program_of_pe)), np.int64)
        rows = totals.reshape(-1)

        def count(pes: range) -> None:
            count_totals(self._bound, rows, self._cycle, pes.start, pes.stop)

        for bands in self._bands:
            self._team.do(count, bands)
        totals[Total.BUSY_CYCLES] += count_bulk(self._arrays, self._cycle)
        return totals

    def waiting(self) -> Waiting:
        """Return the wavelets that wait in queues and routers."""
        return export_waiting(self._arrays, cycle=self._cycle)

    def snapshot(self) -> Snapshot:
        """Return the state of the machine in the format of all engines."""
        return export_snapshot(self._arrays, self._loaded, cycle=self._cycle)

    def restore(self, snapshot: Snapshot) -> None:
        """Set a newly made engine to the state of a snapshot."""
        empty_agenda(self._shares)
        self._use(restore(self._arrays, self._injector, snapshot))
        self._cycle = snapshot.cycle
        wake_elements(self._bound, np.flatnonzero(self._program_of_pe >= 0), self._cycle)
        wake_routers(self._bound, np.arange(len(self._program_of_pe)), self._cycle)

    def _use(self, arrays: Arrays) -> None:
        """Replace the arrays of the machine."""
        self._arrays = arrays
        self._shares = with_arrays(self._shares, arrays)
        self._bound = bind(self._shares)

    # --- the end of a run ------------------------------------------------------------------------

    def _finish(self) -> StopReason:
        # Not `max`: a slice may have ended later, before a look at a unit that had nothing to do.
        self._cycle = self._absolute(f.LAST_END)
        self._store_state()
        if not self._has_streams and (report := self.find_deadlock()) is not None:
            raise DeadlockError(report)
        return StopReason.QUIESCENT

    def _fail(self) -> SimulationError:
        """End the run in the cycle of the failure and return its error (M2)."""
        self._cycle = self._absolute(f.FAILURE_CYCLE)
        self._store_state()
        error = make_error(self._arrays, self._loaded)
        self._arrays.clock[f.FAILURE] = f.NO_FAULT
        self._arrays.pes[:, f.PE_HAS_FAILED] = 0
        return error

    def _absolute(self, field: int) -> int:
        """Return a field of the clock as a cycle since loading."""
        return int(self._arrays.clock[f.BASE] + self._arrays.clock[field])

    def _store_state(self) -> None:
        """Copy the engine's records back to the machine state."""
        pes, state = self._programmed, self._loaded.state
        settle_elements(self._bound, pes)
        state.program_counters[pes] = self._arrays.pes[pes, f.PE_PC]
        state.return_depths[pes] = self._arrays.pes[pes, f.PE_RETURN_DEPTH]

    # --- events ----------------------------------------------------------------------------------

    def _pass_events(self) -> None:
        sink, s = self._loaded.sink, self._arrays
        if sink is None:
            return
        for row in s.events[: s.clock[f.NUM_EVENTS]].tolist():
            cycle, y, x, kind, subject, value = row
            sink.record(Event(cycle, y, x, EventKind(kind), subject, value))
        s.clock[f.NUM_EVENTS] = 0

    def _make_room_for_events(self) -> None:
        """Make the event buffer large enough for a window in which all PEs act."""
        s = self._arrays
        most = (len(s.pes) * EVENTS_PER_PE << int(s.timing[f.T_WINDOW_SHIFT])) + 1
        num_rows = min(2 * len(s.events), most)
        self._use(s._replace(events=np.zeros((num_rows, f.EVENT_FIELDS), np.int64)))

    # --- what the host starts --------------------------------------------------------------------

    def _note_now(self) -> None:
        """Note the current cycle: no run ends before this action of the host (M80)."""
        clock = self._arrays.clock
        clock[f.LAST_END] = max(self._cycle - clock[f.BASE], clock[f.LAST_END])

    def _function_names(self) -> set[str]:
        """Return the names under which functions can be launched on some PE."""
        placed: list[int] = np.unique(self._program_of_pe[self._program_of_pe >= 0]).tolist()
        programs = [self._loaded.image.programs[number] for number in placed]
        return {
            name
            for program in programs
            for name, target in program.exports.items()
            if _function(target, program.symbols) is not None
        }

    def _check_launch(
        self,
        name: str,
        words: Sequence[int],
        pes: NDArray[np.int64],
        functions: Sequence[Symbol | None],
    ) -> None:
        """Raise the error of the first PE that cannot start the function."""
        num_arguments = np.array(
            [len(function.argument_registers) if function else 0 for function in functions]
        )
        expected = num_arguments[self._program_of_pe[pes]]
        is_blocked = self._arrays.blocked_streams[pes] != 0
        refused = np.flatnonzero((expected != len(words)) | is_blocked)
        if not len(refused):
            return
        first = int(refused[0])
        if expected[first] != len(words):
            raise SimulationError(messages.wrong_arguments(name, expected[first], len(words)))
        width = self._loaded.image.width
        raise SimulationError(messages.blocked_stream(pes[first] % width, pes[first] // width))


def _function(target: str | None, symbols: Sequence[Symbol]) -> Symbol | None:
    """Return the exported function of a program, if the symbol is a function."""
    found = (s for s in symbols if s.name == target and s.kind is SymbolKind.FUNCTION)
    return next(found, None)
