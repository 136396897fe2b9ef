"""The data path of a PE and the DSD operations that share it (M12, M30–M39)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onewafer.errors import HazardError, SimulationError
from onewafer.image import FifoAction
from onewafer.simulator.arithmetic.control import ADVANCE_MARK, is_control
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.protocol.messages import conflict, fifo_fault
from onewafer.simulator.reference.compute_element.exceptions import check_exceptions
from onewafer.simulator.reference.fabric.units import NEVER, Unit
from onewafer.simulator.state.schema import MAIN_THREAD
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import NO_QUEUE, EventKind, Wait

if TYPE_CHECKING:
    from onewafer.simulator.reference.compute_element.exceptions import Exceptions
    from onewafer.simulator.reference.compute_element.operation import Operation
    from onewafer.simulator.reference.fabric.buffers import Channel
    from onewafer.simulator.reference.fabric.router import Router
    from onewafer.simulator.reference.fabric.units import Schedule, User
    from onewafer.trace import EventSink


class Owner(Unit, Protocol):
    """The compute element of a data path."""

    router: Router
    exceptions: Exceptions | None
    details: EventSink | None
    now: int
    """The current cycle of the element."""

    @property
    def held_threads(self) -> int:
        """The microthreads that are blocked (M146)."""
        ...

    def activate_all(self, tasks: int) -> None:
        """Make all tasks of a bit set pending (M113)."""
        ...

    def note_finding(self, kind: FindingKind, pc: int, cycle: int) -> None:
        """Count a finding at the instruction at `pc`."""
        ...

    def operation_ended(self, operation: Operation, cycle: int) -> None:
        """Resume the main thread, or activate and unblock (M31, M39)."""
        ...

    def control_arrived(self, operation: Operation, cycle: int) -> None:
        """Run the actions of an operation that a control wavelet ends (M98)."""
        ...

    def set_result(self, pc: int, word: int) -> None:
        """Set the register, if there is one, of the result of the operation at `pc` (M116)."""
        ...

    def located(self, error: SimulationError, pc: int, cycle: int) -> SimulationError:
        """Return the error with PE, cycle and source place."""
        ...

    def describe_place(self, pc: int) -> str:
        """Return the source place of an instruction, or its number."""
        ...

    def record(self, cycle: int, kind: EventKind, subject: int, value: int) -> None:
        """Record an event, if there is an event sink."""
        ...

    def record_detail(self, cycle: int, kind: EventKind, subject: int, value: int) -> None:
        """Record the reason of an event, if the sink records details."""
        ...


class DataPath:
    """Eight microthreads and the main thread, of which one is served per cycle."""

    __slots__ = (
        "_agenda",
        "_owner",
        "_ramp_cycles",
        "bulk",
        "bulk_since",
        "cycles",
        "free_at",
        "num_elements",
        "num_live",
        "stalls",
        "threads",
    )

    def __init__(self, owner: Owner, agenda: Schedule, ramp_cycles: int) -> None:
        self._owner = owner
        self._agenda = agenda
        self._ramp_cycles = ramp_cycles
        self.bulk: Operation | None = None
        """A memory-only operation that has the data path alone since `bulk_since`."""
        self.bulk_since = 0
        self.threads: list[Operation | None] = [None] * (MAIN_THREAD + 1)
        self.num_live = 0
        self.free_at = 0
        self.cycles = 0
        self.num_elements = 0
        self.stalls = [0] * len(StallReason)

    def stalled(self, reason: StallReason, cycle: int) -> int:
        """Return the cycles up to `cycle` in which operations waited for `reason`."""
        live = [op for op in self.threads if op is not None and op.reason is reason]
        return self.stalls[reason] + sum(max(0, cycle - op.waiting_since) for op in live)

    def start(self, operation: Operation) -> None:
        """Put an issued operation on its thread."""
        self.threads[operation.thread] = operation
        self.num_live += 1
        for source in operation.inputs:
            channel = source.channel
            if channel.reader is not None:
                raise self._conflict(channel.reader, f"reads color {channel.color}")
            channel.reader = operation
        if operation.output is not None:
            queue = operation.output.queue
            if queue.writer is not None:
                raise self._conflict(queue.writer, f"writes to output queue {queue.number}")
            queue.writer = operation
        for source in operation.fifo_sources:
            fifo = source.fifo
            if fifo.reader is not None:
                raise self._conflict(fifo.reader, f"takes from FIFO {fifo.number}")
            fifo.reader = operation
        if operation.fifo_dest is not None:
            fifo = operation.fifo_dest.fifo
            if fifo.writer is not None:
                raise self._conflict(fifo.writer, f"puts into FIFO {fifo.number}")
            fifo.writer = operation
        # This look serves what starts in its cycle: a second one would forget what it asks for.
        if operation.start > self._owner.now:
            self._agenda.schedule(self._owner, operation.start)

    def run_alone(self, operation: Operation) -> int:
        """Run a memory-only operation without competitors; return the cycle of its end."""
        self._perform(operation, operation.start)
        end = operation.start + operation.remaining
        self.cycles += operation.remaining
        self._owner.record(end, EventKind.DSD_END, operation.thread, operation.kind)
        self._agenda.note(end)
        return end

    def hold(self, threads: int, cycle: int) -> None:
        """End other stalls of operations whose microthread is blocked (M146)."""
        for operation in self.threads:
            if operation is not None and operation.is_held_by(threads):
                self._note_stall(operation, cycle, None)

    def busy(self, cycle: int) -> int:
        """Return the data path cycles of operations up to `cycle`."""
        return self.cycles + (max(cycle - self.bulk_since, 0) if self.bulk is not None else 0)

    def settle(self, cycle: int) -> None:
        """Account for operations that ran since the last tick, and end finished ones."""
        bulk = self.bulk
        if bulk is not None and cycle > self.bulk_since:
            served = cycle - self.bulk_since
            bulk.remaining -= served
            bulk.last_served = cycle - 1
            self.cycles += served
            self.bulk = None
            if not bulk.remaining:
                bulk.finish_at = cycle
        for operation in self.threads:
            if operation is not None and operation.finish_at <= cycle:
                self._end(operation)

    def serve(self, cycle: int) -> None:
        """Give the data path to one operation (M34)."""
        if not self.num_live:
            return
        if self.bulk is not None:
            self._agenda.schedule(self._owner, self.bulk_since + self.bulk.remaining)
            return
        if self.free_at > cycle:
            self._agenda.schedule(self._owner, self.free_at)
            return
        ready = self._ready(cycle)
        if not ready:
            return
        winner = min(ready, key=_service_order) if len(ready) > 1 else ready[0]
        for operation in ready:
            reason = None if operation is winner else StallReason.DATA_PATH
            self._note_stall(operation, cycle, reason)
        if winner.is_stepwise:
            self._serve_element(winner, cycle)
        else:
            is_alone = all(op is winner or op.rank < winner.rank for op in ready)
            self._serve_memory(winner, cycle, is_alone=is_alone)

    def _ready(self, cycle: int) -> list[Operation]:
        """Return the operations ready for the data path; schedule wake-ups for the others."""
        ready: list[Operation] = []
        held = self._owner.held_threads  # one that this cycle lets go begins in the next one
        for operation in self.threads:
            if operation is None or operation.finish_at < NEVER or operation.is_held_by(held):
                continue
            if operation.start > cycle:
                self._agenda.schedule(self._owner, operation.start)
                continue
            if operation.is_stepwise and self._ends_early(operation, cycle):
                operation.finish_at = cycle + 1
                self._agenda.schedule(self._owner, operation.finish_at)
                self._note_stall(operation, cycle, None)
                continue
            reason = self._obstacle(operation, cycle) if operation.is_stepwise else None
            if reason is None:
                ready.append(operation)
            else:
                self._note_stall(operation, cycle, reason)
        return ready

    def _ends_early(self, operation: Operation, cycle: int) -> bool:
        """Tell whether an operation ends before its last element (M98, M112, M115, M149)."""
        if operation.ends_on_control and self._meets_control(operation, cycle):
            return True
        fifo = operation.lacking_fifo
        if fifo is None:
            return False
        action = fifo.note_lack()
        if action is FifoAction.FAULT:
            error = SimulationError(fifo_fault(fifo.number, is_empty=not fifo.count))
            raise self._owner.located(error, operation.pc, cycle)
        gives_up = operation.gives_up(action)
        if gives_up and operation.config is None and not operation.is_endless:
            fifo.keep_remaining(operation.length - operation.next_element)
        if gives_up and action is FifoAction.TEST_OR_SUSPEND:
            self._owner.set_result(operation.pc, 0)
        return gives_up

    def _meets_control(self, operation: Operation, cycle: int) -> bool:
        """Handle a control wavelet that ends an operation (M98); tell whether there was one."""
        for source in operation.inputs:
            channel = source.channel
            if not channel.words or not is_control(channel.words[0][1]):
                continue
            if channel.words[0][0] > cycle:
                self._agenda.schedule(self._owner, channel.words[0][0])
                continue
            self._owner.control_arrived(operation, cycle)
            return True
        return False

    def _tell_of_place(self, channel: Channel, cycle: int) -> None:
        """Wake a router that waits for a free slot of a channel."""
        if channel.router_waits:
            channel.router_waits = False
            self._agenda.schedule(self._owner.router, cycle + 1)

    def _obstacle(self, operation: Operation, cycle: int) -> StallReason | None:
        if operation.lacking_fifo is not None:
            return StallReason.FIFO
        for source in operation.inputs:
            words = source.channel.words
            if not words:
                return StallReason.INPUT_EMPTY
            if words[0][0] > cycle:
                self._agenda.schedule(self._owner, words[0][0])
                return StallReason.INPUT_EMPTY
        output = operation.output
        if output is not None and not output.has_room():
            output.queue.element_waits = True
            return StallReason.OUTPUT_FULL
        return None

    def _serve_element(self, operation: Operation, cycle: int) -> None:
        """Execute one element of an operation with a fabric operand or a FIFO (M33, M111)."""
        if not operation.has_started:
            operation.has_started = True
            self._owner.record(cycle, EventKind.DSD_START, operation.thread, operation.kind)
        num_elements = self._step(operation, cycle)
        router = self._owner.router
        for source in operation.inputs:
            self._tell_of_place(source.channel, cycle)
        output = operation.output
        if output is not None:
            routable = cycle + 1 + self._ramp_cycles
            color = router.color_from_ramp(output.color)
            router.push(output.queue, routable, color, output.written)
            subject = output.color | output.queue.number << 8
            written = output.written & ~ADVANCE_MARK
            self._owner.record_detail(cycle, EventKind.QUEUED, subject, written)
            self._agenda.schedule(router, routable)
        for operand in (*operation.fifo_sources, operation.fifo_dest):
            if operand is not None and operand.fifo.activated:
                self._owner.activate_all(operand.fifo.activated)
                operand.fifo.activated = 0
                self._agenda.schedule(self._owner, cycle + 1)
        self.num_elements += num_elements
        self.cycles += operation.element_cycles
        operation.last_served = cycle
        self.free_at = cycle + operation.element_cycles
        if operation.is_complete:
            operation.finish_at = self.free_at
            operation.clear_source()
        self._agenda.note(self.free_at)
        self._agenda.schedule(self._owner, self.free_at)

    def _serve_memory(self, operation: Operation, cycle: int, *, is_alone: bool) -> None:
        """Run a memory-only operation: to its end if it is alone, else for one cycle."""
        if not operation.has_started:
            self._perform(operation, cycle)
        if is_alone:
            self.bulk = operation
            self.bulk_since = cycle
            self._agenda.schedule(self._owner, cycle + operation.remaining)
            return
        operation.remaining -= 1
        operation.last_served = cycle
        self.cycles += 1
        self.free_at = cycle + 1
        if not operation.remaining:
            operation.finish_at = self.free_at
        self._agenda.schedule(self._owner, self.free_at)

    def _perform(self, operation: Operation, cycle: int) -> None:
        """Execute all elements of a memory-only operation (M12)."""
        operation.has_started = True
        self._owner.record(cycle, EventKind.DSD_START, operation.thread, operation.kind)
        try:
            operation.perform()
            check_exceptions(self._owner.exceptions)
        except SimulationError as error:
            raise self._owner.located(error, operation.pc, cycle) from None
        self.num_elements += operation.length

    def _step(self, operation: Operation, cycle: int) -> int:
        try:
            num_elements = operation.step()
            for source in operation.inputs:
                if source.took_control:
                    source.took_control = False
                    self._owner.note_finding(FindingKind.CONTROL_AS_DATA, operation.pc, cycle)
            check_exceptions(self._owner.exceptions)
        except SimulationError as error:
            raise self._owner.located(error, operation.pc, cycle) from None
        return num_elements

    def _end(self, operation: Operation) -> None:
        self.threads[operation.thread] = None
        self.num_live -= 1
        for source in operation.inputs:
            source.channel.reader = None
        if operation.output is not None:
            operation.output.queue.writer = None
        for source in operation.fifo_sources:
            source.fifo.reader = None
        if operation.fifo_dest is not None:
            operation.fifo_dest.fifo.writer = None
        end = operation.finish_at
        self._owner.record(end, EventKind.DSD_END, operation.thread, operation.kind)
        self._agenda.note(end)
        self._owner.operation_ended(operation, end)

    def _conflict(self, other: User, use: str) -> HazardError:
        """Return the error of a second operation on a queue (M45)."""
        place = self._owner.describe_place(other.pc)
        return HazardError(conflict(other.kind, use, place))

    def _note_stall(self, operation: Operation, cycle: int, reason: StallReason | None) -> None:
        if reason is operation.reason:
            return
        if operation.reason is not None:
            self.stalls[operation.reason] += cycle - operation.waiting_since
        operation.reason = reason
        operation.waiting_since = cycle
        owner = self._owner
        if owner.details is not None:
            value = _waited_for(operation, cycle, reason).value
            owner.record_detail(cycle, EventKind.WAIT, operation.thread, value)


def _waited_for(operation: Operation, cycle: int, reason: StallReason | None) -> Wait:
    """Return the details of a stall reason for events."""
    match reason:
        case None:
            return Wait(-1)
        case StallReason.INPUT_EMPTY:
            channels = [source.channel for source in operation.inputs]
            empty = [c for c in channels if not c.words or c.words[0][0] > cycle]
            channel = (empty or channels)[0]
            return Wait(reason, channel.color, channel.queue & NO_QUEUE)
        case StallReason.OUTPUT_FULL if operation.output is not None:
            return Wait(reason, operation.output.color, operation.output.queue.number)
        case _:
            return Wait(reason)


def _service_order(operation: Operation) -> tuple[int, int, int]:
    return -operation.rank, operation.last_served, operation.thread
