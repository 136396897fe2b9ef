"""Code for statements, functions and whole instances."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from onewafer.csl import ir, walk
from onewafer.csl.codegen import wide
from onewafer.csl.codegen.dsr_plan import (
    DsrPlan,
    operands_by_mode,
    plan_dsrs,
    vector_operands,
)
from onewafer.csl.codegen.expressions import (
    MAXIMUM_HOISTED,
    WORD_BYTES,
    ExpressionGenerator,
    add_offset,
    lay_out_frame,
    num_registers,
)
from onewafer.csl.codegen.frame import Frame
from onewafer.csl.codegen.initial_values import find_read_only
from onewafer.csl.codegen.inline import expand_inline
from onewafer.csl.codegen.jumps import emit_jump
from onewafer.csl.codegen.map_loops import emit_map
from onewafer.csl.codegen.object_code import (
    Constant,
    DescriptorTable,
    DsdShapeWord,
    DsrOperand,
    Label,
    ObjectFunction,
    ObjectProgram,
    Register,
    ResultRegister,
    ScalarOperand,
    to_int32,
)
from onewafer.csl.codegen.scopes import locals_of_blocks
from onewafer.csl.codegen.tail_calls import make_jumps
from onewafer.csl.codegen.tidy import tidy
from onewafer.image import IN_MAP, SYNCHRONOUS, Opcode, OperandMode, ScalarType, fifo_length

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from onewafer.arch import Architecture
    from onewafer.csl.codegen.object_code import Operand, Words
    from onewafer.csl.walk import Block
    from onewafer.diagnostics import DiagnosticSink
    from onewafer.image import DsdConfig

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


@dataclass(slots=True)
class InstanceTables:
    """Tables that the functions of one instance fill together."""

    dsrs: DsrPlan
    descriptors: DescriptorTable = field(default_factory=DescriptorTable)
    read_only: frozenset[ir.Global] = frozenset()
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
    is_in_map: bool = False
    """Directly in the body of a map loop."""
    pinned: dict[tuple[OperandMode, Words | ir.Local], DsrOperand] = field(
        default_factory=dict[tuple[OperandMode, "Words | ir.Local"], DsrOperand]
    )
    """DSRs that hold the same DSD as long as the loop around runs."""

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
                is_entered = _is_entered(statement, previous)
                self._loop(statement, lambda: self._loop_code(statement, is_entered=is_entered))
            case ir.Map():
                self._loop(statement, lambda: emit_map(self, statement))
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
                self._dsd(statement)
            case ir.LoadDsr(dsr=dsr, dsd=dsd, saves_address=saves):
                self._load_dsr(DsrOperand(dsr.file, dsr.index), dsd, saves_address=saves)
            case ir.Trap():
                self._trap(statement)
            case ir.Print():
                self._print(statement)
            case _:
                self._one_instruction(statement)

    def _one_instruction(self, statement: _OneInstruction) -> None:
        """Emit what an instruction does to tasks, FIFOs, the command stream or the counter."""
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
        """Compute what is stored; of one word, the second register means nothing."""
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

    def _loop(self, loop: ir.Loop | ir.Map, emit_code: Callable[[], None]) -> None:
        with self._pinned_dsrs(loop):
            if self.is_in_loop:
                emit_code()
            else:
                self._outermost_loop(emit_code)

    def _outermost_loop(self, emit_code: Callable[[], None]) -> None:
        """Emit a loop that keeps the constants it uses in registers.

        Which these are is known only once the code is there: it is emitted twice.
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
    def _pinned_dsrs(self, loop: ir.Loop | ir.Map) -> Generator[None]:
        """Load the DSDs that do not change in a loop once, into registers of their own.

        A loop that calls is left alone: the callee may use the same registers.
        """
        inside = tuple(walk.statements((loop,)))
        roots = [root for statement in inside for root in walk.roots(statement)]
        if self.pinned or any(map(walk.has_effect, roots)):
            yield
            return
        changed = {s.local for s in inside if isinstance(s, ir.SetLocal)}
        spare = {mode: list(indices) for mode, indices in self.tables.dsrs.spare.items()}
        with self.frame.scope():
            computed: dict[Words | ir.Local, Register] = {}
            for statement in inside:
                if isinstance(statement, ir.DsdStatement) and statement.config is None:
                    self._pin(statement, spare, changed, computed)
        yield
        self.pinned.clear()

    def _pin(
        self,
        statement: ir.DsdStatement,
        spare: dict[OperandMode, list[int]],
        changed: set[ir.Local],
        computed: dict[Words | ir.Local, Register],
    ) -> None:
        self.span = statement.span or self.span
        for mode, vector in vector_operands(statement):
            key = self._dsr_key(vector.dsd)
            is_changed = isinstance(key, ir.Local) and key in changed
            if key is None or is_changed or (mode, key) in self.pinned or not spare[mode]:
                continue
            dsr = DsrOperand(mode, spare[mode].pop(0))
            if key not in computed and not self._is_loadable(vector.dsd):
                computed[key] = self.evaluate(vector.dsd)
            self._load_dsr(dsr, vector.dsd, computed.get(key))
            self.pinned[mode, key] = dsr

    def _dsr_key(self, dsd: ir.Expression) -> Words | ir.Local | None:
        """Return what identifies a DSD value that can stay in a register."""
        return dsd.local if isinstance(dsd, ir.ReadLocal) else self.constant_dsd(dsd)

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

    def map_body(self, body: Block) -> None:
        """Emit one round of a map loop; its own DSD operations are set up ahead (M122)."""
        is_in_map, self.is_in_map = self.is_in_map, True
        self.block(body)
        self.is_in_map = is_in_map

    # --- DSD operations and traps ---------------------------------------------------------------

    def _dsd(self, statement: ir.DsdStatement) -> None:
        pinned = self._pinned_operands(statement)
        loaded = {m: v for m, v in vector_operands(statement) if m not in pinned}
        vectors = [v.dsd for _, v in vector_operands(statement)]
        needed = [v.dsd for v in loaded.values() if not self._is_loadable(v.dsd)]
        roots = [r for r in walk.roots(statement) if r not in vectors or r in needed]
        registers = self._evaluate_once(tuple(roots))
        dsrs = dict(pinned)
        for mode, vector in loaded.items():
            dsrs[mode] = DsrOperand(mode, self.tables.dsrs.register(statement, mode))
            self._load_dsr(dsrs[mode], vector.dsd, registers.get(vector.dsd))
        config = SYNCHRONOUS
        if statement.config is not None:
            config = self.tables.configs.setdefault(statement.config, len(self.tables.configs))
        rd, ra, rb = (
            _dsd_operand(operand, dsrs.get(mode), registers)
            for mode, operand in operands_by_mode(statement)
        )
        rc = None
        if statement.scalar is not None:
            rc = ScalarOperand(OperandMode.REGISTER, registers[statement.scalar])
        aux: ResultRegister | int = IN_MAP if self.is_in_map and config == SYNCHRONOUS else 0
        if statement.result is not None:
            aux = ResultRegister(self.registers[statement.result])
        operation = statement.operation
        self.emit(Opcode.DSD, operation, rd=rd, ra=ra, rb=rb, rc=rc, imm=config, aux=aux)

    def _is_loadable(self, dsd: ir.Expression) -> bool:
        """Tell whether one instruction can load a DSR with this DSD: all of it is known."""
        match self.constant_dsd(dsd):
            case (_, DsdShapeWord(stride=Constant(per_pe=None))):
                return True
            case _:
                return False

    def _load_dsr(
        self,
        dsr: DsrOperand,
        dsd: ir.Expression,
        register: Register | None = None,
        *,
        saves_address: bool = False,
    ) -> None:
        """Load a DSR with a DSD, which is in `register` if it has been computed."""
        match self.constant_dsd(dsd):
            case (base, DsdShapeWord(stride=Constant(per_pe=None)) as shape):
                if saves_address:
                    shape = replace(shape, saves_address=True)
                self.emit(Opcode.DSR_LOAD_CONSTANT, ScalarType.U32, rd=dsr, imm=base, aux=shape)
            case _:
                register = register or self.evaluate(dsd)
                self.emit(Opcode.DSR_LOAD, rd=dsr, ra=register, imm=int(saves_address))

    def _pinned_operands(self, statement: ir.DsdStatement) -> dict[OperandMode, DsrOperand]:
        if statement.config is not None or not self.pinned:
            return {}
        keys = {mode: self._dsr_key(v.dsd) for mode, v in vector_operands(statement)}
        return {
            mode: self.pinned[mode, key]
            for mode, key in keys.items()
            if key is not None and (mode, key) in self.pinned
        }

    def _evaluate_once(self, values: tuple[ir.Expression, ...]) -> dict[ir.Expression, Register]:
        """Compute the operands; equal constants and equal reads of memory are computed once."""
        may_change = any(map(walk.has_effect, values))
        keys: dict[ir.Expression, object] = {}
        for value in values:
            keys[value] = self.constant_dsd(value) or value
            match value:
                case ir.Load(address=ir.AddressOf(variable=variable, offset=base)) if (
                    not may_change and keys[value] is value
                ):
                    keys[value] = (variable, base + value.offset, value.type)
                case _:
                    pass
        first = {key: value for value, key in reversed(keys.items())}
        different = [value for value, key in keys.items() if first[key] is value]
        computed = dict(zip(different, self.evaluate_all(different), strict=True))
        return {value: computed[first[key]] for value, key in keys.items()}

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


def _dsd_operand(
    operand: ir.DsdOperand | None, dsr: DsrOperand | None, registers: dict[ir.Expression, Register]
) -> Operand:
    match operand:
        case None:
            return None
        case ir.Dsr(file=file, index=index):
            return DsrOperand(file, index)
        case ir.Vector():
            return dsr
        case ir.Scalar(value=value):
            return ScalarOperand(OperandMode.REGISTER, registers[value])
        case ir.ScalarDestination(address=address):
            return ScalarOperand(OperandMode.POINTER, registers[address])
    assert_never(operand)


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


def _is_short(condition: ir.Expression) -> bool:
    """Tell whether code for a test may stand twice: before a loop, and at its end."""
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
    instance: ir.InstanceIr, architecture: Architecture, *, uses_memcpy: bool, sink: DiagnosticSink
) -> ObjectProgram:
    """Return the object code of an instance; what the machine lacks is reported to the sink."""
    instance = expand_inline(instance)
    callees = {function: walk.callees(function) for function in instance.functions}
    make_jumps(callees, sink)
    dsrs = plan_dsrs(instance, num_dsrs=architecture.num_dsrs, uses_memcpy=uses_memcpy, sink=sink)
    tables = InstanceTables(dsrs, read_only=find_read_only(instance))
    started = {task.function for task in instance.tasks}
    started -= {callee for called in callees.values() for callee in called}
    started -= {e.target for e in instance.exports if isinstance(e.target, ir.Function)}
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
        tables.descriptors,
        tables.read_only,
        registers=dict(zip(function.parameters, layout.parameters, strict=True)),
        span=function.span,
        tables=tables,
        exit_opcode=exit_opcode,
        homes=locals_of_blocks(function),
    )
    generator.block(function.body)
    generator.emit(exit_opcode)
    return ObjectFunction(function, tidy(generator.items), frame.num_slots, layout.parameters)
