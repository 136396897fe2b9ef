"""Code for statements, functions and whole instances."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from onewafer.csl import ir
from onewafer.csl.codegen import wide
from onewafer.csl.codegen.conditions import with_conditions
from onewafer.csl.codegen.dsd_operations import DsdGenerator, InstanceTables
from onewafer.csl.codegen.dsr_plan import plan_dsrs
from onewafer.csl.codegen.expressions import MAXIMUM_HOISTED, WORD_BYTES, add_offset
from onewafer.csl.codegen.frame import Frame, lay_out_frame, num_registers
from onewafer.csl.codegen.jumps import emit_jump
from onewafer.csl.codegen.map_loops import emit_map
from onewafer.csl.codegen.object_code import (
    ZERO,
    DsrOperand,
    Label,
    ObjectFunction,
    ObjectProgram,
    to_int32,
)
from onewafer.csl.codegen.scopes import locals_of_blocks
from onewafer.csl.codegen.tail_calls import make_jumps
from onewafer.csl.codegen.tidy import tidy
from onewafer.csl.ir import walk
from onewafer.csl.ir.direct import find_direct
from onewafer.image import Opcode, ScalarType, fifo_length

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from onewafer.arch import Architecture
    from onewafer.csl.ir.walk import Block
    from onewafer.diagnostics import DiagnosticSink

    _OneInstruction: TypeAlias = (
        ir.Activate
        | ir.SetBlocked
        | ir.SetFifoLength
        | ir.UnblockCommandStream
        | ir.Timestamp
        | ir.TimestampControl
    )

MAXIMUM_REPEATED: Final = 4
"""The largest condition, in nodes, that is copied before its loop rather than jumped to: a
comparison of two values, one of which is converted or loaded."""


@dataclass(frozen=True, slots=True)
class _LoopLabels:
    step: Label
    end: Label


@dataclass(slots=True)
class StatementGenerator(DsdGenerator):
    """Emits the statements of one function."""

    exit_opcode: Opcode = field(kw_only=True)
    """RETURN, or END_TASK when only the hardware or the host starts the function."""
    homes: dict[int, list[ir.Local]] = field(kw_only=True)
    loops: list[_LoopLabels] = field(default_factory=list[_LoopLabels])

    def block(self, block: Block) -> None:
        """Emit the statements of a block, with registers for the locals that live in it."""
        with self.frame.scope():
            for local in self.homes.get(id(block), ()):
                self.registers[local] = self.frame.allocate(num_registers(local.type))
            previous: ir.Statement | None = None
            for statement in block:
                with self.frame.scope():
                    self.statement(statement, previous)
                previous = statement

    def statement(self, statement: ir.Statement, previous: ir.Statement | None) -> None:
        """Emit one statement; `previous` is the statement before it."""
        match statement:
            case ir.Break() | ir.Continue() | ir.Return():
                pass
            case _:
                self.span = statement.span or self.span
        match statement:
            case ir.SetLocal(local=local, value=value):
                self.evaluate(value, self.registers[local])
            case ir.Store():
                self._store(statement)
            case ir.Evaluate(call=call):
                self.call(call)
            case ir.If():
                self._if(statement)
            case ir.Loop():
                is_entered = _is_entered(statement, previous)
                self._loop(statement, lambda: self._loop_code(statement, is_entered=is_entered))
            case ir.Map():
                self._loop(statement, lambda: emit_map(self, statement, self._map_body))
            case ir.Labelled(body=body, is_unrolled=True):
                self._loop(statement, lambda: self._labelled(body))
            case ir.Labelled(body=body):
                self._labelled(body)
            case ir.Break(levels=levels):
                self.emit(Opcode.JUMP, imm=self.loops[-1 - levels].end)
            case ir.Continue(levels=levels):
                self.emit(Opcode.JUMP, imm=self.loops[-1 - levels].step)
            case ir.Return(value=value):
                if value is not None:
                    self.evaluate(value, lay_out_frame(self.function).result)
                self.emit(self.exit_opcode)
            case ir.TailCall(call=call):
                emit_jump(self, call)
            case ir.DsdStatement():
                self.dsd(statement)
            case ir.LoadDsr(dsr=dsr, dsd=dsd, saves_address=saves):
                self.load_dsr(DsrOperand(dsr.file, dsr.index), dsd, saves_address=saves)
            case ir.Trap():
                self._trap(statement)
            case ir.Print():
                self._print(statement)
            case _:
                self._one_instruction(statement)

    def _one_instruction(self, statement: _OneInstruction) -> None:
        """Emit an instruction on tasks, FIFOs, the command stream or the cycle counter."""
        match statement:
            case ir.Activate(task_id=task_id):
                self.emit(Opcode.ACTIVATE, imm=task_id)
            case ir.SetBlocked(channel=channel, is_blocked=is_blocked):
                self.emit(Opcode.BLOCK if is_blocked else Opcode.UNBLOCK, imm=channel)
            case ir.SetFifoLength(fifo=fifo, is_written=is_written, length=length):
                which = fifo_length(fifo, is_written=is_written)
                self.emit(Opcode.FIFO_SET_LENGTH, ra=self.evaluate(length), imm=which)
            case ir.UnblockCommandStream():
                self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
            case ir.Timestamp(address=address, since_loading=since_loading):
                self.emit(Opcode.TIMESTAMP, ra=self.evaluate(address), imm=int(since_loading))
            case ir.TimestampControl(mode=mode):
                self.emit(Opcode.TIMESTAMP_CONTROL, imm=mode)
            case _:
                assert_never(statement)

    def _store(self, store: ir.Store) -> None:
        address, constant = store.address, store.offset
        type_ = store.type
        if (
            isinstance(type_, ScalarType)
            and (word := self.short_word(store.value, type_)) is not None
        ):
            base, immediate = self.address(address, constant)
            self.emit(Opcode.STORE, type_, ra=base, imm=immediate, rb=ZERO, aux=word)
            return
        value_calls = walk.has_effect(store.value)
        if walk.has_effect(address) or (value_calls and walk.depends_on_memory(address)):
            base, value = self.evaluate_all((address, store.value))
            immediate, high = constant, value.second
        elif value_calls:
            value = self.evaluate(store.value)
            base, immediate = self.address(address, constant)
            high = value.second
        else:
            base, immediate = self.address(address, constant)
            value, high = self._stored_words(store)
        if isinstance(store.type, ScalarType):
            self.emit(Opcode.STORE, store.type, ra=base, imm=immediate, rb=value)
        else:
            second = add_offset(immediate, WORD_BYTES)
            self.emit(Opcode.STORE, ScalarType.U32, ra=base, imm=immediate, rb=value)
            self.emit(Opcode.STORE, ScalarType.U32, ra=base, imm=second, rb=high)

    def _stored_words(self, store: ir.Store) -> wide.TwoWords:
        """Compute the stored value; for a single word, the second register is unused."""
        if isinstance(store.type, ir.WideType):
            return wide.two_words(self, store.value)
        value = self.evaluate(store.value)
        return value, value.second

    def _if(self, statement: ir.If) -> None:
        then, otherwise = statement.then, statement.otherwise
        match then, otherwise:
            case (ir.Break(levels),), ():
                self.branch(statement.condition, self.loops[-1 - levels].end, when=True)
            case (ir.Continue(levels),), ():
                self.branch(statement.condition, self.loops[-1 - levels].step, when=True)
            case (), _:
                end = Label()
                self.branch(statement.condition, end, when=True)
                self.block(otherwise)
                self.bind(end)
            case _, ():
                end = Label()
                self.branch(statement.condition, end, when=False)
                self.block(then)
                self.bind(end)
            case _:
                other, end = Label(), Label()
                self.branch(statement.condition, other, when=False)
                self.block(then)
                self.emit(Opcode.JUMP, imm=end)
                self.bind(other)
                self.block(otherwise)
                self.bind(end)

    def _labelled(self, body: Block) -> None:
        end = Label()
        self.loops.append(_LoopLabels(step=end, end=end))
        self.block(body)
        self.loops.pop()
        self.bind(end)

    # --- loops ----------------------------------------------------------------------------------

    def _loop(self, loop: ir.Loop | ir.Map | ir.Labelled, emit_code: Callable[[], None]) -> None:
        with self.pinned_dsrs(loop):
            if self.is_in_loop:
                emit_code()
            else:
                self._outermost_loop(emit_code)

    def _outermost_loop(self, emit_code: Callable[[], None]) -> None:
        """Emit a loop that keeps the constants it uses in registers.

        The code is emitted twice: the first time only finds the constants.
        """
        self.is_in_loop = True
        with self._rehearsal():
            emit_code()
            wanted = list(self.wanted)[:MAXIMUM_HOISTED]
        for words in wanted:
            self.hoisted[words] = self.constant(words, self.frame.allocate(len(words)))
        emit_code()
        self.hoisted.clear()
        self.is_in_loop = False

    @contextmanager
    def _rehearsal(self) -> Generator[None]:
        """Discard the code that is emitted inside; additions to tables may stay."""
        num_items, num_slots, span = len(self.items), self.frame.num_slots, self.span
        self.wanted.clear()
        with self.frame.scope():
            yield
        del self.items[num_items:]
        self.frame.num_slots, self.span = num_slots, span

    def _loop_code(self, loop: ir.Loop, *, is_entered: bool) -> None:
        top, test = Label(), Label()
        labels = _LoopLabels(step=Label(), end=Label())
        if not is_entered and _is_short(loop.condition):
            self.branch(loop.condition, labels.end, when=False)
        elif not is_entered:
            self.emit(Opcode.JUMP, imm=test)
        self.bind(top)
        self.loops.append(labels)
        is_in_map, self.is_in_map = self.is_in_map, False
        self.block(loop.body)
        self.bind(labels.step)
        self.block(loop.step)
        self.is_in_map = is_in_map
        self.loops.pop()
        self.bind(test)
        self.span = loop.span or self.span
        self.branch(loop.condition, top, when=True)
        self.bind(labels.end)

    def _map_body(self, body: Block) -> None:
        """Emit one round of a map loop; its own DSD operations are set up ahead (M122)."""
        is_in_map, self.is_in_map = self.is_in_map, True
        self.block(body)
        self.is_in_map = is_in_map

    # --- what a person is told ------------------------------------------------------------------

    def _print(self, printed: ir.Print) -> None:
        kind = printed.type
        if printed.value is None:
            number = self._message(printed.text)
            self.emit(Opcode.PRINT, kind, imm=printed.form, aux=number)
        else:
            self.emit(Opcode.PRINT, kind, ra=self.evaluate(printed.value), imm=printed.form)

    def _message(self, text: str) -> int:
        return self.tables.messages.setdefault(text, len(self.tables.messages))

    def _trap(self, trap: ir.Trap) -> None:
        number = self._message(trap.message)
        self.emit(Opcode.TRAP, ra=self.evaluate(trap.condition), imm=number)


def _is_entered(loop: ir.Loop, previous: ir.Statement | None) -> bool:
    """Tell whether the first test of a loop always succeeds: it counts between constants."""
    match loop.condition, previous:
        case ir.Immediate(per_pe=None, word=word), _:
            return word != 0
        case (
            ir.Binary(
                opcode=opcode,
                type=type_,
                left=ir.ReadLocal(local=counter),
                right=ir.Immediate(per_pe=None, word=stop_word),
            ),
            ir.SetLocal(local=local, value=ir.Immediate(per_pe=None, word=start_word)),
        ) if counter is local and not type_.is_float:
            start, stop = _to_number(start_word, type_), _to_number(stop_word, type_)
            return _holds(opcode, start, stop)
        case _:
            return False


def _is_short(condition: ir.Expression) -> bool:
    """Tell whether the code of a loop's test may be duplicated before the loop."""
    num_nodes = sum(1 for _ in walk.expressions(condition))
    return num_nodes <= MAXIMUM_REPEATED and not walk.has_effect(condition)


def _holds(opcode: Opcode, left: int, right: int) -> bool:
    match opcode:
        case Opcode.LESS:
            return left < right
        case Opcode.LESS_EQUAL:
            return left <= right
        case Opcode.NOT_EQUAL:
            return left != right
        case _:
            return False


def _to_number(word: int, type_: ir.NumberType) -> int:
    return to_int32(word) if type_.is_signed else word & 0xFFFF_FFFF


def generate(
    instance: ir.InstanceIr,
    architecture: Architecture,
    *,
    uses_memcpy: bool,
    sink: DiagnosticSink,
    optimizes: bool = True,
) -> ObjectProgram:
    """Return the object code of an instance; report features that the machine lacks."""
    callees = {function: walk.callees(function) for function in instance.functions}
    make_jumps(callees, sink)
    dsrs = plan_dsrs(instance, num_dsrs=architecture.num_dsrs, uses_memcpy=uses_memcpy, sink=sink)
    tables = InstanceTables(dsrs, optimizes, read_only=find_direct(instance, with_stores=False))
    started = {task.function for task in instance.tasks}
    launched = {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
    started = started | launched if optimizes else started - launched
    started -= {callee for called in callees.values() for callee in called}
    functions = tuple(
        _generate_function(
            function, tables, Opcode.END_TASK if function in started else Opcode.RETURN
        )
        for function in instance.functions
    )
    return ObjectProgram(
        instance,
        functions,
        callees,
        tables.descriptors,
        tuple(tables.configs),
        tuple(tables.messages),
    )


def _generate_function(
    function: ir.Function, tables: InstanceTables, exit_opcode: Opcode
) -> ObjectFunction:
    layout = lay_out_frame(function)
    frame = Frame(function, layout.num_slots, layout.num_slots)
    generator = StatementGenerator(
        function,
        frame,
        descriptors=tables.descriptors,
        read_only=tables.read_only,
        registers=dict(zip(function.parameters, layout.parameters, strict=True)),
        span=function.span,
        optimizes=tables.optimizes,
        tables=tables,
        exit_opcode=exit_opcode,
        homes=locals_of_blocks(function),
    )
    generator.block(function.body)
    generator.emit(exit_opcode)
    items = tidy(generator.items, jumps_to_last=tables.optimizes)
    if tables.optimizes:
        items = tidy(with_conditions(items))
    slots_at_calls = generator.slots_at_calls if tables.optimizes else {}
    return ObjectFunction(function, items, frame.num_slots, layout.parameters, slots_at_calls)
