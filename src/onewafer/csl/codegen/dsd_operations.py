"""Code for DSD operations: their operands in data structure registers (DSRs).

A loop keeps the DSDs that do not change in it in registers of their own; an in-place
operation uses one register for source and destination.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from onewafer.csl import ir
from onewafer.csl.codegen.dsr_plan import DsrPlan, operands_by_mode, vector_operands
from onewafer.csl.codegen.expressions import ExpressionGenerator
from onewafer.csl.codegen.object_code import (
    Constant,
    DescriptorTable,
    DsdShapeWord,
    DsrOperand,
    Register,
    ResultRegister,
    ScalarOperand,
)
from onewafer.csl.ir import walk
from onewafer.image import IN_MAP, SYNCHRONOUS, DsdKind, Opcode, OperandMode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Generator

    from onewafer.csl.codegen.object_code import Operand, Words
    from onewafer.image import DsdConfig


@dataclass(slots=True)
class InstanceTables:
    """Tables that the functions of one instance fill together."""

    dsrs: DsrPlan
    optimizes: bool = True
    descriptors: DescriptorTable = field(default_factory=DescriptorTable)
    read_only: frozenset[ir.Global] = frozenset()
    configs: dict[DsdConfig, int] = field(default_factory=dict["DsdConfig", int])
    messages: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class DsdGenerator(ExpressionGenerator):
    """Emits the DSD operations of one function; `statements` builds on it."""

    tables: InstanceTables = field(kw_only=True)
    is_in_map: bool = False
    """True directly in the body of a map loop."""
    pinned: dict[tuple[OperandMode, Words | ir.Local], DsrOperand] = field(
        default_factory=dict[tuple[OperandMode, "Words | ir.Local"], DsrOperand]
    )
    """DSRs with a DSD that is invariant in the enclosing loop."""

    def dsd(self, statement: ir.DsdStatement) -> None:
        """Emit an operation, preceded by loads of DSRs that do not hold its operands yet.

        An operation waits for a register that was just loaded, so constant DSDs are loaded first.
        """
        pinned = self._pinned_operands(statement)
        loaded = {m: v for m, v in self._loaded_operands(statement) if m not in pinned}
        vectors = [v.dsd for _, v in vector_operands(statement)]
        needed = [v.dsd for v in loaded.values() if not self._is_loadable(v.dsd)]
        scalars = [r for r in walk.roots(statement) if r not in vectors]
        dsrs = dict(pinned)
        for mode in loaded:
            dsrs[mode] = DsrOperand(mode, self.tables.dsrs.register(statement, mode))
        if self.optimizes and not any(map(walk.has_effect, walk.roots(statement))):
            known = {m: v for m, v in loaded.items() if v.dsd not in needed}
            self._load_dsrs(known, dsrs, {})
            registers = self._evaluate_once(tuple(needed))
            self._load_dsrs({m: v for m, v in loaded.items() if m not in known}, dsrs, registers)
            registers |= self._evaluate_once(tuple(scalars))
        else:
            roots = [r for r in walk.roots(statement) if r in scalars or r in needed]
            registers = self._evaluate_once(tuple(roots))
            self._load_dsrs(loaded, dsrs, registers)
        if self._is_in_place(statement):
            dsrs[OperandMode.DSR_DEST] = dsrs[OperandMode.DSR_SRC0]
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

    def _load_dsrs(
        self,
        vectors: dict[OperandMode, ir.Vector],
        dsrs: dict[OperandMode, DsrOperand],
        registers: dict[ir.Expression, Register],
    ) -> None:
        for mode, vector in vectors.items():
            self.load_dsr(dsrs[mode], vector.dsd, registers.get(vector.dsd))

    def _loaded_operands(self, statement: ir.DsdStatement) -> list[tuple[OperandMode, ir.Vector]]:
        """Return the operands to load into registers; an in-place src0 uses the destination's."""
        is_in_place = self._is_in_place(statement)
        return [
            (mode, vector)
            for mode, vector in vector_operands(statement)
            if not (is_in_place and mode is OperandMode.DSR_DEST)
        ]

    def _is_in_place(self, statement: ir.DsdStatement) -> bool:
        """Tell whether an operation writes to the vector in memory that is its first source."""
        match statement:
            case ir.DsdStatement(dest=ir.Vector(dsd=dest), src0=ir.Vector(dsd=source)) if (
                self.optimizes
            ):
                key = self._dsr_key(dest)
                return key is not None and key == self._dsr_key(source) and not self._is_fifo(key)
            case _:
                return False

    def _is_fifo(self, key: Words | ir.Local) -> bool:
        match key:
            case (_, DsdShapeWord(descriptor=number)):
                return self.descriptors.rows[number].kind is DsdKind.FIFO
            case _:
                return False

    def _is_loadable(self, dsd: ir.Expression) -> bool:
        """Tell whether one instruction can load a DSR with this DSD: all its fields are known."""
        match self.constant_dsd(dsd):
            case (_, DsdShapeWord(stride=Constant(per_pe=None))):
                return True
            case _:
                return False

    def load_dsr(
        self,
        dsr: DsrOperand,
        dsd: ir.Expression,
        register: Register | None = None,
        *,
        saves_address: bool = False,
    ) -> None:
        """Load a DSR with a DSD, found in `register` if it is already computed."""
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
        keys = {mode: self._dsr_key(v.dsd) for mode, v in self._loaded_operands(statement)}
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

    # --- loops ----------------------------------------------------------------------------------

    @contextmanager
    def pinned_dsrs(self, loop: ir.Loop | ir.Map | ir.Labelled) -> Generator[None]:
        """Load the DSDs that do not change in a loop once, into registers of their own.

        A loop with calls stays unchanged: the callee may use the same registers. A DSD that occurs
        once in an unrolled loop is used once per round.
        """
        inside = tuple(walk.statements((loop,)))
        roots = [root for statement in inside for root in walk.roots(statement)]
        if self.pinned or any(map(walk.has_effect, roots)):
            yield
            return
        operations = [s for s in inside if isinstance(s, ir.DsdStatement) and s.config is None]
        left_out: set[Words | ir.Local] = {s.local for s in inside if isinstance(s, ir.SetLocal)}
        if isinstance(loop, ir.Labelled):
            left_out |= self._used_once(operations)
        spare = {mode: list(indices) for mode, indices in self.tables.dsrs.spare.items()}
        with self.frame.scope():
            computed: dict[Words | ir.Local, Register] = {}
            for statement in operations:
                self._pin(statement, spare, left_out, computed)
        yield
        self.pinned.clear()

    def _used_once(self, operations: list[ir.DsdStatement]) -> set[Words | ir.Local]:
        """Return the DSDs that exactly one of the operations uses."""
        uses = Counter(
            key
            for operation in operations
            for key in {self._dsr_key(vector.dsd) for _, vector in vector_operands(operation)}
        )
        return {key for key, number in uses.items() if key is not None and number == 1}

    def _pin(
        self,
        statement: ir.DsdStatement,
        spare: dict[OperandMode, list[int]],
        left_out: set[Words | ir.Local],
        computed: dict[Words | ir.Local, Register],
    ) -> None:
        self.span = statement.span or self.span
        for mode, vector in self._loaded_operands(statement):
            key = self._dsr_key(vector.dsd)
            if key is None or key in left_out or (mode, key) in self.pinned or not spare[mode]:
                continue
            dsr = DsrOperand(mode, spare[mode].pop(0))
            if key not in computed and not self._is_loadable(vector.dsd):
                computed[key] = self.evaluate(vector.dsd)
            self.load_dsr(dsr, vector.dsd, computed.get(key))
            self.pinned[mode, key] = dsr

    def _dsr_key(self, dsd: ir.Expression) -> Words | ir.Local | None:
        """Return the key of a DSD value that can stay in a register."""
        return dsd.local if isinstance(dsd, ir.ReadLocal) else self.constant_dsd(dsd)


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
