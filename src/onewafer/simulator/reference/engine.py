"""The reference engine: the machine model in plain, readable Python.

The loop takes one cycle at a time from the agenda, and only cycles in which something can happen:
routers decide, compute elements act on their side of the queues, then the moves are committed
(M1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import DeadlockError, SimulationError
from onewafer.geometry import Direction
from onewafer.image import PatchTarget
from onewafer.simulator.protocol.engine import LoadedProgram, StopReason
from onewafer.simulator.protocol.findings import Finding, joined
from onewafer.simulator.protocol.leftovers import Waiting
from onewafer.simulator.protocol.messages import blocked_stream, no_such_function, wrong_arguments
from onewafer.simulator.protocol.rim import without_exits
from onewafer.simulator.reference.checkpoint import (
    export_channels,
    export_elements,
    export_routers,
    export_stalls,
    import_channels,
    import_elements,
    import_routers,
)
from onewafer.simulator.reference.compute_element.checked import (
    CheckedElement,
    Variables,
    check_instructions,
)
from onewafer.simulator.reference.compute_element.compute_element import ComputeElement
from onewafer.simulator.reference.compute_element.element_program import (
    ElementProgram,
    prepare_program,
    with_conditions,
)
from onewafer.simulator.reference.compute_element.operation import OperationTiming
from onewafer.simulator.reference.deadlock import report_deadlock
from onewafer.simulator.reference.fabric.agenda import Agenda
from onewafer.simulator.reference.fabric.buffers import Channel, OutputQueue
from onewafer.simulator.reference.fabric.router import Router
from onewafer.simulator.reference.fabric.units import NEVER
from onewafer.simulator.reference.wiring import wire_routers
from onewafer.simulator.state.loading import HOST_STREAM_WORDS, changeable_colors, host_streams
from onewafer.simulator.state.snapshot import HOST_QUEUE, Snapshot
from onewafer.simulator.state.statistics import Activity, StallReason, Statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from onewafer.simulator.reference.compute_element.instructions import Instruction
    from onewafer.simulator.reference.fabric.router import Move


@dataclass(frozen=True, slots=True)
class Failure:
    """The fault of an element."""

    error: SimulationError
    element: ComputeElement

    @property
    def cycle(self) -> int:
        """The cycle of the fault, from the error's location."""
        assert self.error.place is not None
        return self.error.place.cycle


def _earlier(failure: Failure | None, other: Failure) -> Failure:
    """Return the failure to report: the earlier one; in the same cycle, the first PE's (M2)."""
    if failure is None:
        return other
    return min(failure, other, key=lambda f: (f.cycle, f.element.index))


class ReferenceEngine:
    """Executes one loaded program."""

    def __init__(self, loaded: LoadedProgram, *, reverse: bool = False) -> None:
        """Build the units; `reverse` visits them backwards, for the test of M2."""
        loaded = replace(loaded, image=without_exits(loaded.image))
        self._loaded = loaded
        self._timing = loaded.architecture.timing
        self._agenda = Agenda[Router, ComputeElement]()
        self._reverse = reverse
        self._cycle = 0
        self._injected: dict[tuple[int, int], OutputQueue] = {}
        """The host's queues by (PE, number)."""
        image = loaded.image
        self._sends, receives = host_streams(image)
        self._has_streams = bool(self._sends.any() or receives.any())
        self._host_channels = _make_host_channels(receives, self._timing.ramp_cycles)
        self._routers = [
            Router(x, y, self._timing, details=loaded.details)
            for y in range(image.height)
            for x in range(image.width)
        ]
        self._elements = self._make_elements()
        self._failed: set[int] = set()
        """The PEs that failed in this run, perhaps later than the reported failure."""
        self._element_of_pe = {element.index: element for element in self._elements}
        wire_routers(
            self._routers,
            self._element_of_pe,
            self._host_channels,
            image,
            self._timing,
            changeable=changeable_colors(image, loaded.architecture),
        )
        for element in self._elements:
            self._routers[element.index].element = element
            self._agenda.schedule(element, 0)

    @property
    def cycle(self) -> int:
        """The current cycle (M3)."""
        return self._cycle

    def run(self, *, max_cycles: int | None = None) -> StopReason:
        """Run until quiescent or for at most `max_cycles` cycles (M80–M82)."""
        until = NEVER if max_cycles is None else self._cycle + max_cycles
        failure: Failure | None = None
        self._failed.clear()
        while (cycle := self._agenda.next_cycle) is not None:
            if failure is not None and cycle > failure.cycle:
                break
            if cycle >= until:
                self._cycle = until
                self._store_state()
                return StopReason.CYCLE_LIMIT
            failure = self._step(cycle, until, failure)
        if failure is not None:
            self._cycle = failure.cycle
            self._store_state()
            raise failure.error
        # Not `max`: a slice may have ended later, before a look at a unit that had nothing to do.
        self._cycle = self._agenda.end
        self._store_state()
        if not self._has_streams and (report := self.find_deadlock()) is not None:
            raise DeadlockError(report)
        return StopReason.QUIESCENT

    def find_deadlock(self) -> str | None:
        """Return the deadlock report of the quiescent program; None if it is done (M81)."""
        return report_deadlock(
            self._elements, self._routers, self._loaded, self.findings(), self._cycle
        )

    def launch(self, name: str, words: Sequence[int]) -> None:
        """Start an exported function on every PE that has it (M70)."""
        having = [element for element in self._elements if name in element.functions]
        if not having:
            known = {known for element in self._elements for known in element.functions}
            raise SimulationError(no_such_function(name, known))
        blocked = self._loaded.state.blocked_streams
        for element in having:
            num_arguments = len(element.functions[name].argument_registers)
            if num_arguments != len(words):
                raise SimulationError(wrong_arguments(name, num_arguments, len(words)))
            if blocked[element.index]:
                raise SimulationError(blocked_stream(element.x, element.y))
        self._agenda.note(self._cycle)
        for element in having:
            element.launch(name, tuple(word & 0xFFFF_FFFF for word in words))
            self._agenda.schedule(element, self._cycle)

    def inject(self, pe_index: int, color: int, words: Sequence[int]) -> None:
        """Put wavelets into the router of a PE (M72)."""
        router = self._routers[pe_index]
        is_stream = self._sends[router.y, router.x, color]
        number = HOST_QUEUE + 1 + color if is_stream else HOST_QUEUE
        queue = self._injected.setdefault((pe_index, number), OutputQueue(number, NEVER, None))
        entering = router.color_from_ramp(color)
        for word in words:
            router.push(queue, self._cycle, entering, word & 0xFFFF_FFFF)
        self._agenda.note(self._cycle)
        self._agenda.schedule(router, self._cycle)

    def collect(self, pe_index: int, color: int, most: int) -> list[int]:
        """Take up to `most` wavelets that wait for the host, control wavelets marked (M73)."""
        channel = self._host_channels[pe_index, color]
        count = min(most, len(channel.words))
        taken = [channel.words.popleft()[1] for _ in range(count)]
        if taken and channel.router_waits:
            channel.router_waits = False
            self._agenda.schedule(self._routers[pe_index], self._cycle + 1)
        return taken

    def activity(self) -> Activity:
        """Return the counters that show the activity of PEs."""
        return Activity(
            steps=self._of_elements(lambda e: e.num_instructions + e.path.num_elements),
            wavelet_hops=sum(link.num_wavelets for r in self._routers for link in r.links),
        )

    def findings(self) -> list[Finding]:
        """Return the findings since this engine was made, by kind, program and place."""
        program_of_pe = self._loaded.image.program_of_pe.reshape(-1)
        return joined(
            Finding(kind, int(program_of_pe[element.index]), pc, num_times, cycle, element.index)
            for element in self._elements
            for (kind, pc), (num_times, cycle) in element.findings.items()
        )

    def statistics(self) -> Statistics:
        """Return the counters since loading."""
        image = self._loaded.image
        shape = image.height, image.width
        of_elements = self._of_elements
        links = [[*(k.num_wavelets for k in r.links), r.num_to_ramp] for r in self._routers]
        return Statistics(
            cycles=self._cycle,
            main_thread_cycles=of_elements(lambda e: e.main_thread_cycles),
            data_path_cycles=of_elements(lambda e: e.path.busy(self._cycle)),
            instructions=of_elements(lambda e: e.num_instructions),
            dsd_elements=of_elements(lambda e: e.path.num_elements),
            task_starts=of_elements(lambda e: e.task_starts),
            link_wavelets=np.array(links, np.int64).reshape(*shape, len(Direction)),
            stall_cycles={
                reason: of_elements(lambda e, r=reason: e.path.stalled(r, self._cycle))
                + np.array([r.stalled(reason, self._cycle) for r in self._routers]).reshape(shape)
                for reason in StallReason
            },
        )

    def totals(self) -> NDArray[np.int64]:
        """Return the totals of the counters, for samples during a run."""
        return self.statistics().totals()

    def _of_elements(self, count: Callable[[ComputeElement], int]) -> NDArray[np.int64]:
        """Return a counter of the compute elements, `[y, x]`."""
        image = self._loaded.image
        counts = np.zeros((image.height, image.width), np.int64)
        for element in self._elements:
            counts[element.y, element.x] = count(element)
        return counts

    def waiting(self) -> Waiting:
        """Return the wavelets that wait in queues and routers."""
        snapshot = self.snapshot()
        return Waiting(snapshot.arrivals, snapshot.sources, snapshot.wavelets)

    def snapshot(self) -> Snapshot:
        """Return the state of the machine in the format of all engines."""
        window_cycles = self._timing.link_window_cycles
        queues = {pe: [*of_pe.values()] for pe, of_pe in self._queues().items()}
        return Snapshot(
            cycle=self._cycle,
            end=self._agenda.end,
            state=self._loaded.state,
            stalls=export_stalls(self._routers, self._elements),
            **export_elements(self._elements),
            **export_channels(self._channels()),
            **export_routers(self._routers, queues, cycle=self._cycle, window_cycles=window_cycles),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Set a newly made engine to the state of a snapshot."""
        self._agenda.clear(NEVER)
        self._agenda.end = snapshot.end
        self._cycle = snapshot.cycle
        hosts = snapshot.sources[snapshot.sources["number"] >= HOST_QUEUE]
        for pe, number in hosts[["pe", "number"]].tolist():
            self._injected[pe, number] = OutputQueue(number, NEVER, None)
        for element in self._elements:
            if element.queue_registers is not None:
                element.queue_registers.attach()
        import_channels(snapshot, self._channels())
        import_routers(snapshot, self._routers, self._queues(), self._agenda)
        import_elements(snapshot, self._element_of_pe, self._agenda)

    def _queues(self) -> dict[int, dict[int, OutputQueue]]:
        """Return the output queues of each PE, the host's included, by number."""
        queues = {e.index: {queue.number: queue for queue in e.queues} for e in self._elements}
        for (pe, number), queue in self._injected.items():
            queues.setdefault(pe, {})[number] = queue
        return queues

    def _channels(self) -> dict[tuple[int, int], Channel]:
        """Return the channels of all PEs, those for the host included, by (PE, color)."""
        channels = {
            (e.index, color): channel
            for e in self._elements
            for color, channel in e.channels.items()
        }
        return channels | self._host_channels

    # --- the loop --------------------------------------------------------------------------------

    def _step(self, cycle: int, until: int, failure: Failure | None) -> Failure | None:
        """Simulate a cycle; return the earliest failure: a PE that ran ahead may fail later."""
        routers, elements = self._agenda.take(NEVER)
        if self._reverse:
            routers.reverse()
            elements.reverse()
        moves: list[Move] = []
        for router in routers:
            router.decide(cycle, moves, self._agenda)
        for element in elements:
            if failure is not None:
                if element.index in self._failed:
                    continue
                until = min(until, failure.cycle + 1)
            try:
                element.tick(cycle, until)
            except SimulationError as error:
                self._failed.add(element.index)
                failure = _earlier(failure, Failure(error, element))
        for router, source, switch, route in moves:
            router.commit(
                source,
                switch,
                route,
                cycle,
                timing=self._timing,
                agenda=self._agenda,
                sink=self._loaded.sink,
            )
        for element in elements:
            element.commit_register(cycle)
        return failure

    def _store_state(self) -> None:
        for element in self._elements:
            element.store_state()

    # --- loading ---------------------------------------------------------------------------------

    def _make_elements(self) -> list[ComputeElement]:
        loaded = self._loaded
        tables = [prepare_program(p, loaded.architecture) for p in loaded.image.programs]
        makers = [partial(ComputeElement)] * len(tables)
        if loaded.checking.follows_accesses:
            makers = [_maker_of_checked(program, loaded) for program in tables]
            tables = [check_instructions(program) for program in tables]
        tables = [with_conditions(program) for program in tables]
        positions = [0] * len(tables)
        operation_timing = OperationTiming(self._timing)
        elements: list[ComputeElement] = []
        for index, number in enumerate(loaded.image.program_of_pe.reshape(-1).tolist()):
            if number < 0:
                continue
            position = positions[number]
            positions[number] += 1
            elements.append(
                makers[number](
                    tables[number],
                    _patched_code(tables[number], position),
                    self._routers[index],
                    index=index,
                    architecture=loaded.architecture,
                    state=loaded.state,
                    agenda=self._agenda,
                    operation_timing=operation_timing,
                    sink=loaded.sink,
                    detail=loaded.detail,
                    checking=loaded.checking,
                )
            )
        return elements


def _maker_of_checked(tables: ElementProgram, loaded: LoadedProgram) -> partial[ComputeElement]:
    """Return the factory of compute elements for a program whose accesses are checked."""
    variables = Variables(tables.program)
    return partial(CheckedElement, variables=variables, written=loaded.written)


def _make_host_channels(
    receives: NDArray[np.bool_], ramp_cycles: int
) -> dict[tuple[int, int], Channel]:
    """Return the channels that the host empties, by (PE, color)."""
    width = receives.shape[1]
    return {
        (y * width + x, color): Channel(color, -1, HOST_STREAM_WORDS + ramp_cycles, None)
        for y, x, color in np.argwhere(receives).tolist()
    }


def _patched_code(tables: ElementProgram, position: int) -> list[Instruction]:
    """Return the code with the immediates of the program's PE number `position`."""
    patches = [p for p in tables.program.patches if p.target is PatchTarget.IMMEDIATE]
    if not patches:
        return tables.code
    code = list(tables.code)
    for patch in patches:
        location = patch.location
        code[location] = replace(code[location], imm=int(patch.values[position]))
    return code
