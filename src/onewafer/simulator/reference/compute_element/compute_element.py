"""The processor of one PE: main thread, tasks and the issue of DSD operations (M20–M39, M60–M65).

`tick` brings the element to a cycle: the data path accounts for the time since the last tick, the
main thread and the picker act, and the data path serves one operation. The element reads its
channels and output queues and changes only its own side of them, so the order of units does not
matter. At every tick it schedules its next known wake-ups.

While no DSD operation is live, no other unit changes the main thread's state, so it runs ahead of
the clock, at most to the end of the run's slice.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from onewafer.errors import HazardError, Place, SimulationError
from onewafer.image import COLORS_OF_A_WORD, NO_TASK, RESULT_SHIFT, TEARDOWN_TASK, OperandMode
from onewafer.simulator.arithmetic.control import NUM_ENTRIES
from onewafer.simulator.arithmetic.exceptions import EXCEPTIONS_REGISTER
from onewafer.simulator.arithmetic.queue_words import is_of_queues
from onewafer.simulator.arithmetic.registers import (
    MASK_NUMBER,
    NO_REGISTER,
    PENDING_REGISTER,
    kind_of,
    number_of,
)
from onewafer.simulator.protocol.findings import NO_CHECKING, FindingKind
from onewafer.simulator.protocol.messages import busy_microthread, place
from onewafer.simulator.reference.compute_element.counter import CycleCounter
from onewafer.simulator.reference.compute_element.data_path import DataPath
from onewafer.simulator.reference.compute_element.element_program import arguments_of
from onewafer.simulator.reference.compute_element.exceptions import exceptions_of_element
from onewafer.simulator.reference.compute_element.fifo import make_fifos
from onewafer.simulator.reference.compute_element.gates import set_blocked
from onewafer.simulator.reference.compute_element.instructions import NOT_YET, STOP, Instruction
from onewafer.simulator.reference.compute_element.issuing import make_operand, make_operation
from onewafer.simulator.reference.compute_element.memory import ADDRESS_MASK, Memory
from onewafer.simulator.reference.compute_element.picker import Picker
from onewafer.simulator.reference.compute_element.results import LastResult
from onewafer.simulator.reference.fabric.buffers import Channel, OutputQueue
from onewafer.simulator.reference.fabric.queue_registers import queue_registers_of
from onewafer.simulator.reference.fabric.units import NEVER
from onewafer.simulator.state.loading import UNBOUND, unbound_queue_message
from onewafer.simulator.state.schema import FIRST_THREAD, MAIN_THREAD
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import Detail, Event, EventKind, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.image import DsdDescriptor, Symbol
    from onewafer.simulator.protocol.findings import Checking
    from onewafer.simulator.reference.compute_element.element_program import ElementProgram
    from onewafer.simulator.reference.compute_element.operand import Operand
    from onewafer.simulator.reference.compute_element.operation import Operation, OperationTiming
    from onewafer.simulator.reference.compute_element.picker import Ready
    from onewafer.simulator.reference.fabric.router import Router
    from onewafer.simulator.reference.fabric.units import Schedule
    from onewafer.simulator.state.schema import MachineState
    from onewafer.trace import EventSink

_WORD = 0xFFFF_FFFF


class MainThread(Enum):
    """The states of the main thread."""

    IDLE = "idle"
    RUNNING = "running"
    WAITING = "waiting"
    """In a synchronous DSD operation."""
    STALLED = "stalled"
    """At a DSD instruction whose microthread is busy."""


class ComputeElement:
    """One processor. Positions are program-relative; `index` is its row in the machine state."""

    is_router = False
    __slots__ = (
        "_agenda",
        "_architecture",
        "_checking",
        "_code",
        "_instruction_sink",
        "_limit",
        "_operation_timing",
        "_sink",
        "_state",
        "_tables",
        "channels",
        "counter",
        "details",
        "dsrs",
        "exceptions",
        "fifo_lengths",
        "fifos",
        "findings",
        "index",
        "last_result",
        "main_free",
        "main_next",
        "main_thread",
        "main_thread_cycles",
        "memory",
        "now",
        "num_instructions",
        "path",
        "pc",
        "pending_launch",
        "picker",
        "program",
        "queue_registers",
        "queues",
        "registers",
        "return_depth",
        "return_stack",
        "router",
        "stalled_since",
        "task_starts",
        "wake",
        "written_register",
        "x",
        "y",
    )

    def __init__(
        self,
        tables: ElementProgram,
        code: list[Instruction],
        router: Router,
        *,
        index: int,
        architecture: Architecture,
        state: MachineState,
        agenda: Schedule,
        operation_timing: OperationTiming,
        sink: EventSink | None,
        detail: Detail = Detail.EVENTS,
        checking: Checking = NO_CHECKING,
    ) -> None:
        self._tables = tables
        self._code = code
        self._architecture = architecture
        self._state = state
        self._agenda = agenda
        self._operation_timing = operation_timing
        self._sink = sink
        self._checking = checking
        self.details = sink if detail >= Detail.CAUSES else None
        self._instruction_sink = sink if detail >= Detail.INSTRUCTIONS else None
        self.program = tables.program
        self.router = router
        self.index = index
        self.x, self.y = router.x, router.y
        self.wake = NEVER
        self.memory = self._make_memory(state.memory[index])
        self.registers = memoryview(state.registers[index])  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self.return_stack = memoryview(state.return_stacks[index])  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self.dsrs = memoryview(state.dsrs[index].reshape(-1))  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self.pc = 0
        self.return_depth = 0
        self.counter = CycleCounter()
        self.last_result = LastResult(architecture.timing)
        ramp = architecture.timing.ramp_cycles
        self.path = DataPath(self, agenda, ramp)
        self.picker = Picker(self, tables, state, agenda, architecture.data_task_key)
        self.channels = {
            color: Channel(color, attachment.queue, attachment.words + ramp, self)
            for color, attachment in tables.attachments.items()
        }
        self.queues = [
            OutputQueue(number, words + ramp, self)
            for number, words in enumerate(architecture.output_queue_words)
        ]
        self.queue_registers = queue_registers_of(self, state, agenda)
        self.exceptions = exceptions_of_element(tables.raised, state, index)
        self.fifo_lengths = memoryview(state.fifo_lengths[index])  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self.fifos = make_fifos(self.program, self.memory, self.fifo_lengths)
        self.main_thread = MainThread.IDLE
        self.main_free = self.main_next = 0
        self._limit = self.now = self.stalled_since = 0
        self.written_register: tuple[int, int] | None = None
        """A register of the router that was written in this cycle, and the word."""
        self.pending_launch: tuple[Symbol, tuple[int, ...]] | None = None
        self.findings: dict[tuple[FindingKind, int], tuple[int, int]] = {}
        """How often the instruction at a program counter led to a finding, and the first cycle."""
        self.main_thread_cycles = self.num_instructions = self.task_starts = 0

    def _make_memory(self, row: NDArray[np.uint8]) -> Memory:
        return Memory(row)

    # --- what the engine calls -------------------------------------------------------------------

    def tick(self, cycle: int, horizon: int) -> None:
        """Bring the element to `cycle`; the main thread may run ahead to before `horizon`."""
        self.now = cycle
        self.path.settle(cycle)
        if self.queue_registers is not None:
            self.queue_registers.tell()
        if self.main_thread is MainThread.STALLED:
            self._retry_issue(cycle)
        if self.main_thread is MainThread.IDLE:
            self._pick(cycle)
        if self.main_thread is MainThread.RUNNING:
            self._limit = cycle if self.path.num_live else max(cycle, horizon - 1)
            self._run()
        self.path.serve(cycle)
        if self.queue_registers is not None:
            self.queue_registers.look_again(cycle)

    @property
    def waits_for_empty_queue(self) -> bool:
        """True if a queue was asked to report when it is empty (M136)."""
        return self.queue_registers is not None and self.queue_registers.is_asked

    @property
    def functions(self) -> Mapping[str, Symbol]:
        """Exported functions by host-visible name."""
        return self._tables.functions

    def launch(self, name: str, words: tuple[int, ...]) -> None:
        """Accept a host command (M70)."""
        self.pending_launch = (self._tables.functions[name], words)
        self._state.blocked_streams[self.index] = 1

    def store_state(self) -> None:
        """Copy the attributes back to the machine state."""
        self._state.program_counters[self.index] = self.pc
        self._state.return_depths[self.index] = self.return_depth

    def load_state(self) -> None:
        """Load the attributes from the machine state."""
        self.pc = int(self._state.program_counters[self.index])
        self.return_depth = int(self._state.return_depths[self.index])

    # --- what instructions call ------------------------------------------------------------------

    def end_task(self, cycle: int) -> None:
        """Give the main thread to the picker from `cycle` on."""
        self.main_thread = MainThread.IDLE
        self.main_free = cycle
        self.record_detail(cycle, EventKind.TASK_END, 0, self.pc - 1)
        self._agenda.note(cycle)
        self._agenda.schedule(self, cycle)

    def activate(self, task_id: int, pc: int, cycle: int) -> None:
        """Make a local task pending, by the instruction at `pc` (M61)."""
        if self._state.pending_tasks[self.index] >> task_id & 1:
            self.note_finding(FindingKind.MERGED_ACTIVATION, pc, cycle)
        self.activate_all(1 << task_id)

    def function_at(self, pc: int) -> Callable[..., int]:
        """Return the function that computes an element of the operation at `pc`."""
        return self._code[pc].function

    def register_at(self, address: int, num_bytes: int) -> int:
        """Return the register at an address (M131, M134), or `NO_REGISTER`."""
        if not self.program.reaches_registers:
            return NO_REGISTER
        if self.exceptions is not None and self.exceptions.is_at(address, num_bytes):
            return EXCEPTIONS_REGISTER
        if self.queue_registers is not None:
            register = self.queue_registers.at(address & ADDRESS_MASK, num_bytes)
            if register != NO_REGISTER:
                return register
        return self.router.register_at(address & ADDRESS_MASK, num_bytes)

    def may_touch_router(self, cycle: int) -> bool:
        """Tell whether the main thread is at the clock, not ahead of it."""
        return cycle <= self.now

    def read_register(self, register: int) -> int:
        """Return a register as of the start of the cycle (M132, M133)."""
        if self.exceptions is not None and register == EXCEPTIONS_REGISTER:
            return self.exceptions.mask
        if self.queue_registers is not None and is_of_queues(register):
            return self.queue_registers.read(register)
        if kind_of(register) != PENDING_REGISTER:
            return self.router.switches[number_of(register)].read(kind_of(register))
        if number_of(register) == MASK_NUMBER:
            return self.control_mask
        shift = COLORS_OF_A_WORD * number_of(register)
        torn = int(self._state.torn_colors[self.index])
        self._state.torn_colors[self.index] = torn & ~(0xFFFF << shift)
        return torn >> shift & 0xFFFF

    def write_register(self, register: int, word: int) -> None:
        """Set a register at the end of the cycle; a register that was torn down stays unset."""
        if self.exceptions is not None and register == EXCEPTIONS_REGISTER:
            self.exceptions.mask = word
            return
        if self.queue_registers is not None and is_of_queues(register):
            self.queue_registers.write(register, word & 0xFFFF)
        if kind_of(register) != PENDING_REGISTER:
            self.written_register = register, word & 0xFFFF
        elif number_of(register) == MASK_NUMBER:
            self._state.control_masks[self.index] = word % NUM_ENTRIES

    def commit_register(self, cycle: int) -> None:
        """Apply a register write of `cycle` to router or queues, after all moves (M132)."""
        if self.written_register is None:
            return
        register, word = self.written_register
        self.written_register = None
        if self.queue_registers is not None and is_of_queues(register):
            self.queue_registers.commit(register, word, cycle)
        else:
            self.router.write_register(register, word, cycle, self._agenda)

    def note_teardown(self, color: int) -> None:
        """Note that a color was torn down (M130, M133)."""
        self._state.torn_colors[self.index] |= 1 << color
        self.activate_all(1 << TEARDOWN_TASK)

    @property
    def control_mask(self) -> int:
        """The mask for the entry of kept control wavelets (M143)."""
        return int(self._state.control_masks[self.index])

    def note_finding(self, kind: FindingKind, pc: int, cycle: int) -> None:
        """Count a finding at the instruction at `pc`."""
        num_times, first = self.findings.get((kind, pc), (0, cycle))
        self.findings[kind, pc] = num_times + 1, first

    def activate_all(self, tasks: int) -> None:
        """Make all tasks of a bit set pending (M113)."""
        self._state.pending_tasks[self.index] |= tasks

    def set_blocked(self, encoded: int, *, is_blocked: bool) -> None:
        """Block or unblock a `channel()` (M61, M146)."""
        set_blocked(self, self._state, encoded, is_blocked=is_blocked)
        if is_blocked:
            self.path.hold(self.held_threads, self.now)

    @property
    def held_threads(self) -> int:
        """The microthreads that are blocked (M146)."""
        return int(self._state.blocked_colors[self.index]) >> FIRST_THREAD

    def unblock_stream(self, cycle: int) -> None:
        """Accept the next host command (M70)."""
        self._state.blocked_streams[self.index] = 0
        self.record(cycle, EventKind.STREAM_UNBLOCKED, 0, 0)

    def dsr_index(self, mode: OperandMode, index: int) -> int:
        """Return the index of a DSR in `dsrs`."""
        return ((mode - OperandMode.DSR_DEST) * self._architecture.num_dsrs + index) * 2

    def holds(self, condition: int) -> bool:
        """Tell whether the condition of an instruction holds (M153)."""
        return (self.registers[abs(condition)] != 0) is (condition > 0)

    def issue(self, instruction: Instruction, cycle: int) -> int:
        """Issue a DSD operation (M30, M31, M38); as `execute` returns."""
        config = self.program.configs[instruction.imm] if instruction.imm >= 0 else None
        live = self.path.threads[config.microthread] if config is not None else None
        if live is not None:
            if self._checking.is_strict:
                where = self.describe_place(live.pc)
                raise HazardError(busy_microthread(live.thread, live.kind, where))
            self.pc -= 1
            self.note_finding(FindingKind.BUSY_MICROTHREAD, self.pc, cycle)
            self.main_thread = MainThread.STALLED
            self.stalled_since = cycle
            busy = Wait(StallReason.MICROTHREAD_BUSY).value
            self.record_detail(cycle, EventKind.WAIT, MAIN_THREAD, busy)
            return STOP
        operation = make_operation(self, instruction, cycle, self._operation_timing)
        what = operation.pc | operation.length << 16 | operation.shares_banks << 32
        self.record_detail(cycle, EventKind.ISSUE, operation.thread, what)
        if config is not None:
            self.path.start(operation)
            self._limit = cycle
            return cycle + instruction.cycles
        resume = 0 if operation.is_prepared else self._architecture.timing.resume_cycles
        end = operation.start + operation.remaining
        is_alone = not self.path.num_live and self.path.free_at <= operation.start
        if is_alone and not operation.is_stepwise and end + resume <= self._limit:
            self.last_result.end = self.path.run_alone(operation)
            self.main_thread_cycles -= end + resume - cycle - instruction.cycles
            return end + resume
        self.main_thread = MainThread.WAITING
        self.path.start(operation)
        return STOP

    # --- what issued operations are made of -----------------------------------------------------

    def make_operand(self, mode: OperandMode, index: int, num_bytes: int) -> Operand:
        """Make an operand from the current state of its register."""
        return make_operand(self, mode, index, num_bytes)

    def color_of(self, number: int, descriptor: DsdDescriptor) -> int:
        """Return the color of a fabric DSD; fail if its queue serves no or another color (M43)."""
        color = self._tables.dsd_colors[number]
        if self.queue_registers is not None:
            color = self.queue_registers.color_of(descriptor, color)
        if color == UNBOUND:
            colors = self._state.queue_colors[self.index].tolist()
            message = unbound_queue_message(descriptor, self.program, self._architecture, colors)
            raise SimulationError(message)
        return color

    # --- what the data path calls ----------------------------------------------------------------

    def operation_ended(self, operation: Operation, cycle: int) -> None:
        """Resume the main thread, or activate and unblock (M31, M39)."""
        config = operation.config
        if config is None:
            self.main_thread = MainThread.RUNNING
            self.last_result.end = cycle
            resume = 0 if operation.is_prepared else self._architecture.timing.resume_cycles
            self.main_next = cycle + resume
            return
        if config.activate != NO_TASK:
            self.activate(config.activate, operation.pc, cycle)
        if config.unblock != NO_TASK:
            self.set_blocked(config.unblock, is_blocked=False)

    def control_arrived(self, operation: Operation, cycle: int) -> None:
        """Run the actions of an operation that a control wavelet ends (M98)."""
        config = operation.config
        assert config is not None
        if config.control_activate != NO_TASK:
            self.activate(config.control_activate, operation.pc, cycle)
        if config.control_unblock != NO_TASK:
            self.set_blocked(config.control_unblock, is_blocked=False)

    def set_result(self, pc: int, word: int) -> None:
        """Set the register, if there is one, of the result of the operation at `pc` (M116)."""
        register = self.result_register(pc)
        if register:
            self.registers[register] = word

    def result_register(self, pc: int) -> int:
        """Return the register of the result of the operation at `pc`; 0: it has none."""
        return self._code[pc].aux >> RESULT_SHIFT

    def located(self, error: SimulationError, pc: int, cycle: int) -> SimulationError:
        """Return the error with PE, cycle and source place."""
        reason = f"{error.reason}\n  at {self.describe_place(pc)}"
        return type(error)(reason, Place(self.x, self.y, cycle))

    def describe_place(self, pc: int) -> str:
        """Return the source place of an instruction, or its number."""
        return place(self.program, pc)

    def record(self, cycle: int, kind: EventKind, subject: int, value: int) -> None:
        """Record an event, if there is an event sink."""
        if self._sink is not None:
            self._sink.record(Event(cycle, self.y, self.x, kind, subject, value))

    def record_detail(self, cycle: int, kind: EventKind, subject: int, value: int) -> None:
        """Record the reason of an event, if the sink records details."""
        if self.details is not None:
            self.details.record(Event(cycle, self.y, self.x, kind, subject, value))

    # --- main thread and picker ------------------------------------------------------------------

    def _run(self) -> None:
        """Execute instructions up to the limit, or until the main thread stops."""
        cycle = self.main_next
        code = self._code
        pc = self.pc
        try:
            while cycle <= self._limit:
                pc = self.pc
                instruction = code[pc]
                self.pc = pc + 1
                following = instruction.execute(self, instruction, cycle)
                if following == NOT_YET:
                    self.pc = pc
                    break
                if following < 0:
                    self._note_stop(instruction, pc, cycle)
                    self._agenda.note(cycle)
                    return
                self._count(pc, cycle)
                self.main_thread_cycles += following - cycle
                cycle = following
        except SimulationError as error:
            if error.place is not None:
                raise
            raise self.located(error, pc, cycle) from None
        self.main_next = cycle
        self._agenda.note(cycle)
        self._agenda.schedule(self, cycle)

    def _count(self, pc: int, cycle: int) -> None:
        """Count an instruction that has issued."""
        self.num_instructions += 1
        if self._instruction_sink is not None:
            event = Event(cycle, self.y, self.x, EventKind.INSTRUCTION, 0, pc)
            self._instruction_sink.record(event)

    def _note_stop(self, instruction: Instruction, pc: int, cycle: int) -> None:
        """Count the instruction after which the main thread stopped, unless it will be retried."""
        if self.main_thread is not MainThread.STALLED:
            self._count(pc, cycle)
            self.main_thread_cycles += instruction.cycles

    def _retry_issue(self, cycle: int) -> None:
        """Resume the main thread if the microthread that it waits for is free (M38)."""
        config = self.program.configs[self._code[self.pc].imm]
        if self.path.threads[config.microthread] is None:
            self.path.stalls[StallReason.MICROTHREAD_BUSY] += cycle - self.stalled_since
            self.record_detail(cycle, EventKind.WAIT, MAIN_THREAD, Wait(-1).value)
            self.main_thread = MainThread.RUNNING
            self.main_next = cycle

    def _pick(self, cycle: int) -> None:
        """Start a ready task (M60, M63, M64)."""
        if cycle < self.main_free:
            self._agenda.schedule(self, self.main_free)
            return
        chosen = self.picker.choose(cycle)
        if chosen is None:
            return
        self.pc = chosen.entry
        self.return_depth = 0
        self.main_thread = MainThread.RUNNING
        self.main_next = cycle + self._architecture.timing.task_start_cycles
        self.task_starts += 1
        self._take_arguments(chosen, cycle)
        self.record(self.main_next, EventKind.TASK_START, chosen.event_id, self.pc)

    def _take_arguments(self, chosen: Ready, cycle: int) -> None:
        """Clear a task's activation or wavelet, and put its arguments into registers."""
        task, channel = chosen.task, chosen.channel
        if task is None:
            assert self.pending_launch is not None
            function, words = self.pending_launch
            self.pending_launch = None
            for register, word in zip(function.argument_registers, words, strict=True):
                self.registers[register] = word
            return
        if channel is None:
            self._state.pending_tasks[self.index] &= _WORD ^ 1 << task.task_id
            return
        _, word = channel.words.popleft()
        if channel.router_waits:
            channel.router_waits = False
            self._agenda.schedule(self.router, cycle + 1)
        for register, value in arguments_of(task, word):
            self.registers[register] = value
