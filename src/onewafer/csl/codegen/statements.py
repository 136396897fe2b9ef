"""Code for statements, functions and whole instances."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from onewafer.csl import ir
from onewafer.csl.codegen import walk
from onewafer.csl.codegen.dsr_plan import (
    DsrPlan,
    operands_by_mode,
    plan_dsrs,
    vector_operands,
)
from onewafer.csl.codegen.expressions import (
    DSD_WORD_BYTES,
    MAXIMUM_HOISTED,
    ExpressionGenerator,
    add_offset,
    lay_out_frame,
    num_registers,
)
from onewafer.csl.codegen.frame import Frame
from onewafer.csl.codegen.object_code import (
    DescriptorTable,
    DsrOperand,
    Label,
    ObjectFunction,
    ObjectProgram,
    Register,
    ScalarOperand,
    to_int32,
)
from onewafer.csl.codegen.scopes import locals_of_blocks
from onewafer.csl.codegen.tidy import tidy
from onewafer.image import Opcode, OperandMode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.arch import Architecture
    from onewafer.csl.codegen.object_code import Operand
    from onewafer.csl.codegen.walk import Block
    from onewafer.diagnostics import DiagnosticSink
    from onewafer.image import DsdConfig

SYNCHRONOUS = -1


@dataclass(slots=True)
class InstanceTables:
    """What the functions of one instance fill together."""

    dsrs: DsrPlan
    descriptors: DescriptorTable = field(default_factory=DescriptorTable)
    configs: dict[DsdConfig, int] = field(default_factory=dict["DsdConfig", int])
    messages: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class _LoopLabels:
    step: Label
    end: Label


@dataclass(slots=True)
class StatementGenerator(ExpressionGenerator):
    """Emits the statements of one function."""

    tables: InstanceTables = field(kw_only=True)
    exit_opcode: Opcode = field(kw_only=True)
    """RETURN, or END_TASK when only the hardware starts the function."""
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
        """Emit one statement; `previous` ran just before it."""
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
                self._loop(statement, is_entered=_is_entered(statement, previous))
            case ir.Break():
                self.emit(Opcode.JUMP, imm=self.loops[-1].end)
            case ir.Continue():
                self.emit(Opcode.JUMP, imm=self.loops[-1].step)
            case ir.Return(value=value):
                if value is not None:
                    self.evaluate(value, lay_out_frame(self.function).result)
                self.emit(self.exit_opcode)
            case ir.DsdStatement():
                self._dsd(statement)
            case ir.LoadDsr(dsr=dsr, dsd=dsd):
                register = self.evaluate(dsd)
                self.emit(Opcode.DSR_LOAD, rd=DsrOperand(dsr.file, dsr.index), ra=register)
            case ir.Activate(task_id=task_id):
                self.emit(Opcode.ACTIVATE, imm=task_id)
            case ir.SetBlocked(channel=channel, is_blocked=is_blocked):
                self.emit(Opcode.BLOCK if is_blocked else Opcode.UNBLOCK, imm=channel)
            case ir.UnblockCommandStream():
                self.emit(Opcode.UNBLOCK_COMMAND_STREAM)
            case ir.Timestamp(address=address):
                self.emit(Opcode.TIMESTAMP, ra=self.evaluate(address))
            case ir.TimestampControl(mode=mode):
                self.emit(Opcode.TIMESTAMP_CONTROL, imm=mode)
            case ir.Trap():
                self._trap(statement)
            case _:
                assert_never(statement)

    def _store(self, store: ir.Store) -> None:
        address, constant = store.address, store.offset
        if walk.has_call(address):
            base, value = self.evaluate_all((address, store.value))
            immediate = constant
        elif walk.has_call(store.value):
            value = self.evaluate(store.value)
            base, immediate = self.address(address, constant)
        else:
            base, immediate = self.address(address, constant)
            value = self.evaluate(store.value)
        if store.type is ir.DSD:
            second = add_offset(immediate, DSD_WORD_BYTES)
            self.emit(Opcode.STORE, ScalarType.U32, ra=base, imm=immediate, rb=value)
            self.emit(Opcode.STORE, ScalarType.U32, ra=base, imm=second, rb=value.second)
        else:
            self.emit(Opcode.STORE, store.type, ra=base, imm=immediate, rb=value)

    def _if(self, statement: ir.If) -> None:
        then, otherwise = statement.then, statement.otherwise
        match then, otherwise:
            case (ir.Break(),), ():
                self.branch(statement.condition, self.loops[-1].end, when=True)
            case (ir.Continue(),), ():
                self.branch(statement.condition, self.loops[-1].step, when=True)
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

    # --- loops ----------------------------------------------------------------------------------

    def _loop(self, loop: ir.Loop, *, is_entered: bool) -> None:
        """Emit a loop; an outermost one keeps the constants that it uses in registers.

        Which these are is known only once the code is there: it is emitted twice.
        """
        if self.loops:
            self._loop_code(loop, is_entered=is_entered)
            return
        with self._rehearsal():
            self._loop_code(loop, is_entered=is_entered)
            wanted = list(self.wanted)[:MAXIMUM_HOISTED]
        for words in wanted:
            self.hoisted[words] = self.constant(words, self.frame.allocate(len(words)))
        self._loop_code(loop, is_entered=is_entered)
        self.hoisted.clear()

    @contextmanager
    def _rehearsal(self) -> Generator[None]:
        """Forget, at the end, the code emitted inside; what it added to tables may stay."""
        num_items, num_slots, span = len(self.items), self.frame.num_slots, self.span
        self.wanted.clear()
        with self.frame.scope():
            yield
        del self.items[num_items:]
        self.frame.num_slots, self.span = num_slots, span

    def _loop_code(self, loop: ir.Loop, *, is_entered: bool) -> None:
        top, test = Label(), Label()
        labels = _LoopLabels(step=Label(), end=Label())
        if not is_entered:
            self.emit(Opcode.JUMP, imm=test)
        self.bind(top)
        self.loops.append(labels)
        self.block(loop.body)
        self.bind(labels.step)
        self.block(loop.step)
        self.loops.pop()
        self.bind(test)
        self.span = loop.span or self.span
        self.branch(loop.condition, top, when=True)
        self.bind(labels.end)

    # --- DSD operations and traps ---------------------------------------------------------------

    def _dsd(self, statement: ir.DsdStatement) -> None:
        registers = self._evaluate_once(walk.roots(statement))
        for mode, vector in vector_operands(statement):
            dsr = DsrOperand(mode, self.tables.dsrs.register(statement, mode))
            self.emit(Opcode.DSR_LOAD, rd=dsr, ra=registers[vector.dsd])
        config = SYNCHRONOUS
        if statement.config is not None:
            config = self.tables.configs.setdefault(statement.config, len(self.tables.configs))
        rd, ra, rb = (
            self._dsd_operand(statement, mode, operand, registers)
            for mode, operand in operands_by_mode(statement)
        )
        rc = None
        if statement.scalar is not None:
            rc = ScalarOperand(OperandMode.REGISTER, registers[statement.scalar])
        self.emit(Opcode.DSD, statement.operation, rd=rd, ra=ra, rb=rb, rc=rc, imm=config)

    def _dsd_operand(
        self,
        statement: ir.DsdStatement,
        mode: OperandMode,
        operand: ir.DsdOperand | None,
        registers: dict[ir.Expression, Register],
    ) -> Operand:
        match operand:
            case None:
                return None
            case ir.Dsr(file=file, index=index):
                return DsrOperand(file, index)
            case ir.Vector():
                return DsrOperand(mode, self.tables.dsrs.register(statement, mode))
            case ir.Scalar(value=value):
                return ScalarOperand(OperandMode.REGISTER, registers[value])
            case ir.ScalarDestination(address=address):
                return ScalarOperand(OperandMode.POINTER, registers[address])
        assert_never(operand)

    def _evaluate_once(self, values: tuple[ir.Expression, ...]) -> dict[ir.Expression, Register]:
        """Compute the operands; those that are the same constant DSD share a register pair."""
        keys = {value: self.constant_dsd(value) or value for value in values}
        first = {key: value for value, key in reversed(keys.items())}
        different = [value for value in keys if first[keys[value]] is value]
        computed = dict(zip(different, self.evaluate_all(different), strict=True))
        return {value: computed[first[key]] for value, key in keys.items()}

    def _trap(self, trap: ir.Trap) -> None:
        message = f"{trap.span}: {trap.message}" if trap.span else trap.message
        number = self.tables.messages.setdefault(message, len(self.tables.messages))
        self.emit(Opcode.TRAP, ra=self.evaluate(trap.condition), imm=number)


def _is_entered(loop: ir.Loop, previous: ir.Statement | None) -> bool:
    """Tell whether the first test of a loop is sure to succeed: it counts between constants."""
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


def _to_number(word: int, type_: ScalarType) -> int:
    return to_int32(word) if type_.is_signed else word & 0xFFFF_FFFF


def generate(
    instance: ir.InstanceIr, architecture: Architecture, *, uses_memcpy: bool, sink: DiagnosticSink
) -> ObjectProgram:
    """Return the object code of an instance; what the machine lacks is reported to the sink."""
    dsrs = plan_dsrs(
        instance.functions, num_dsrs=architecture.num_dsrs, uses_memcpy=uses_memcpy, sink=sink
    )
    tables = InstanceTables(dsrs)
    started = {task.function for task in instance.tasks}
    started -= {callee for function in instance.functions for callee in walk.callees(function)}
    started -= {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
    functions = tuple(
        _generate_function(
            function, tables, Opcode.END_TASK if function in started else Opcode.RETURN
        )
        for function in instance.functions
    )
    return ObjectProgram(
        instance, functions, tables.descriptors, tuple(tables.configs), tuple(tables.messages)
    )


def _generate_function(
    function: ir.Function, tables: InstanceTables, exit_opcode: Opcode
) -> ObjectFunction:
    layout = lay_out_frame(function)
    frame = Frame(function, layout.num_slots, layout.num_slots)
    generator = StatementGenerator(
        function,
        frame,
        tables.descriptors,
        registers=dict(zip(function.parameters, layout.parameters, strict=True)),
        span=function.span,
        tables=tables,
        exit_opcode=exit_opcode,
        homes=locals_of_blocks(function),
    )
    generator.block(function.body)
    generator.emit(exit_opcode)
    return ObjectFunction(function, tidy(generator.items), frame.num_slots, layout.parameters)
