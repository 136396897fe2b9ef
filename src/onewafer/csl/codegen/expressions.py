"""Code for expressions: destination-driven, each value computed where it is wanted.

One invariant makes it safe to compute straight into a variable or an argument register: a
destination is written only after everything that the expression reads has been read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, assert_never

from onewafer.csl import ir
from onewafer.csl.codegen import wide
from onewafer.csl.codegen.dsds import OPCODE_OF_UPDATE, fold_updates, known_dsd, take_apart
from onewafer.csl.codegen.emitter import Emitter
from onewafer.csl.codegen.frame import FrameLayout, lay_out_frame, num_registers
from onewafer.csl.codegen.initial_values import initial_value
from onewafer.csl.codegen.linear import Term, linearize
from onewafer.csl.codegen.object_code import (
    ZERO,
    Address,
    DescriptorTable,
    Label,
    Register,
    Words,
    to_constant,
)
from onewafer.csl.ir import walk
from onewafer.image import IMMEDIATE_OPCODES, Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence


WORD_BYTES: Final = 4
MAXIMUM_HOISTED: Final = 16
"""Constants that a loop may keep in registers; each costs four bytes of stack."""
MAXIMUM_DOUBLINGS: Final = 2
"""The largest shift done by additions: up to ×4, they are shorter than loading a shift count."""
MAXIMUM_DOUBLINGS_IN_LOOP: Final = 1
"""As before, where a register or the instruction already holds the shift count."""
COMPARISONS: Final = range(Opcode.EQUAL, Opcode.LESS_EQUAL + 1)
"""Operations whose result is a BOOL."""


@dataclass(slots=True)
class ExpressionGenerator(Emitter):
    """Emits the code of one function; `statements` builds on it."""

    descriptors: DescriptorTable = field(kw_only=True)
    read_only: frozenset[ir.Global] = frozenset()
    """Variables that keep their initial values."""
    slots_at_calls: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """Functions without a result → slots of this frame that are live during the call."""
    is_in_loop: bool = False
    known: dict[ir.Expression, Words | None] = field(
        default_factory=dict[ir.Expression, "Words | None"]
    )
    """Cached results of `constant_dsd`, which is called several times for each DSD."""

    # --- values ---------------------------------------------------------------------------------

    def evaluate(self, expression: ir.Expression, dest: Register | None = None) -> Register:
        """Compute a value into `dest`, or wherever it is cheapest; return where it is.

        Without `dest` the register may be that of a local, or the result register of a callee,
        which the next call may overwrite.
        """
        match self.fold(expression):
            case ir.Immediate(type=type_) as expression:
                return self.constant((to_constant(expression),), dest, type_)
            case ir.AddressOf(variable=variable, offset=offset, array=array):
                return self.constant((Address(variable, offset, array),), dest, ScalarType.U16)
            case ir.ReadLocal(local=local):
                return self.deliver(self.registers[local], dest, num_registers(local.type))
            case ir.Load() as expression:
                return self._load(expression, dest)
            case ir.Join() as expression:
                return wide.evaluate(self, expression, dest)
            case ir.Unary() as expression:
                return self._unary(expression, dest)
            case ir.Binary() as expression:
                return self._binary(expression, dest)
            case ir.Convert() as expression:
                return self._convert(expression, dest)
            case ir.Select() as expression:
                return self._select(expression, dest)
            case ir.Call() as expression:
                result = self.call(expression)
                type_ = expression.function.result
                return self.deliver(result, dest, 1 if type_ is None else num_registers(type_))
            case ir.MakeDsd() as expression:
                return self._make_dsd(expression, dest)
            case ir.UpdateDsd() as expression:
                return self._update_dsd(expression, dest)
            case ir.Coordinate(axis=axis):
                dest = dest or self.frame.allocate()
                self.emit(Opcode.COORDINATE, rd=dest, imm=axis)
                return dest
        assert_never(expression)

    def fold(self, expression: ir.Expression) -> ir.Expression:
        """Replace a load of a read-only variable by its initial value."""
        match expression:
            case ir.Load(type=type_, address=ir.AddressOf(variable=variable, offset=base)) if (
                variable in self.read_only
            ):
                return initial_value(variable, type_, base + expression.offset) or expression
            case ir.UpdateDsd(dsd=dsd):
                return fold_updates(replace(expression, dsd=self.fold(dsd)))
            case _:
                return expression

    def evaluate_all(self, values: Sequence[ir.Expression]) -> list[Register]:
        """Compute several values into registers that hold them all at the same time."""
        found: list[Register] = []
        for i, value in enumerate(values):
            register = self.evaluate(value)
            is_foreign = register.function not in (self.function, None)
            if is_foreign and any(walk.has_effect(later) for later in values[i + 1 :]):
                width = width_of(value)
                own = self.frame.allocate(width)
                self.move(register, own, width)
                register = own
            found.append(register)
        return found

    def _load(self, load: ir.Load, dest: Register | None) -> Register:
        if not isinstance(load.type, ScalarType):
            # The address must outlive the first word of the pair.
            base, constant = self.address(load.address, load.offset)
            dest = dest or self.frame.allocate(2)
            second = add_offset(constant, WORD_BYTES)
            self.emit(Opcode.LOAD, ScalarType.U32, rd=dest, ra=base, imm=constant)
            self.emit(Opcode.LOAD, ScalarType.U32, rd=dest.second, ra=base, imm=second)
            return dest
        with self.frame.scope():
            base, constant = self.address(load.address, load.offset)
        dest = dest or self.frame.allocate()
        self.emit(Opcode.LOAD, load.type, rd=dest, ra=base, imm=constant)
        return dest

    def _convert(self, convert: ir.Convert, dest: Register | None) -> Register:
        source, target = convert.source, convert.target
        if isinstance(source, ir.WideType) or isinstance(target, ir.WideType):
            return self._convert_wide(convert, dest)
        if is_same_word(source, target):
            return self.evaluate(convert.operand, dest)
        with self.frame.scope():
            ra = self.evaluate(convert.operand)
        dest = dest or self.frame.allocate()
        self.emit(Opcode.CONVERT, source, rd=dest, ra=ra, imm=int(target))
        return dest

    def _convert_wide(self, convert: ir.Convert, dest: Register | None) -> Register:
        match convert:
            case ir.Convert(source=ir.WideType(), target=ir.WideType(), operand=operand):
                return self.evaluate(operand, dest)
            case ir.Convert(target=ScalarType() as target, operand=operand):
                return wide.narrowed(self, operand, target, dest)
            case _:
                return wide.evaluate(self, convert, dest)

    def _select(self, select: ir.Select, dest: Register | None) -> Register:
        dest = dest or self.frame.allocate(num_registers(select.type))
        otherwise, end = Label(), Label()
        self.branch(select.condition, otherwise, when=False)
        with self.frame.scope():
            self.evaluate(select.then, dest)
        self.emit(Opcode.JUMP, imm=end)
        self.bind(otherwise)
        with self.frame.scope():
            self.evaluate(select.otherwise, dest)
        self.bind(end)
        return dest

    # --- arithmetic -----------------------------------------------------------------------------

    def _unary(self, unary: ir.Unary, dest: Register | None) -> Register:
        type_ = unary.type
        if isinstance(type_, ir.WideType):
            return wide.evaluate(self, unary, dest)
        with self.frame.scope():
            ra = self.evaluate(unary.operand)
        dest = dest or self.frame.allocate()
        self.emit(unary.opcode, type_, rd=dest, ra=ra)
        return dest

    def _binary(self, binary: ir.Binary, dest: Register | None) -> Register:
        type_ = binary.type
        if isinstance(type_, ir.WideType):
            emit = wide.compare if binary.opcode in COMPARISONS else wide.evaluate
            return emit(self, binary, dest)
        if not type_.is_float:
            match binary:
                case ir.Binary(right=ir.Immediate(per_pe=None, word=word), left=value):
                    reduced = self._binary_with_constant(binary, type_, value, word, dest)
                case ir.Binary(
                    opcode=Opcode.MUL | Opcode.ADD,
                    left=ir.Immediate(per_pe=None, word=word),
                    right=value,
                ):
                    reduced = self._binary_with_constant(binary, type_, value, word, dest)
                case _:
                    reduced = None
            if reduced is not None:
                return reduced
        left, right = _in_order(binary)
        word = self.short_word(right, type_)
        if word is not None and binary.opcode in IMMEDIATE_OPCODES and not type_.is_float:
            with self.frame.scope():
                ra = self.evaluate(left)
            return self.with_number(binary.opcode, type_, ra, word, dest)
        with self.frame.scope():
            ra, rb = self.evaluate_all((binary.left, binary.right))
        dest = dest or self.frame.allocate()
        self.emit(binary.opcode, type_, rd=dest, ra=ra, rb=rb)
        return dest

    def _binary_with_constant(
        self,
        binary: ir.Binary,
        type_: ScalarType,
        value: ir.Expression,
        word: int,
        dest: Register | None,
    ) -> Register | None:
        """Emit a cheaper form of an integer operation with a constant, if there is one."""
        match binary.opcode:
            case Opcode.ADD | Opcode.SUB | Opcode.OR | Opcode.XOR | Opcode.SHL | Opcode.SHR if (
                word == 0
            ):
                return self.evaluate(value, dest)
            case Opcode.MUL | Opcode.DIV if word == 1:
                return self.evaluate(value, dest)
            case Opcode.MUL if word > 0 and word.bit_count() == 1:
                return self.scale(self.evaluate(value), word, type_, dest)
            case Opcode.SHL if 0 < word <= MAXIMUM_DOUBLINGS:
                return self.scale(self.evaluate(value), 1 << word, type_, dest)
            case Opcode.DIV if _is_unsigned_power(type_, word):
                count = ir.Immediate(type_, word.bit_length() - 1)
                return self._binary(replace(binary, opcode=Opcode.SHR, right=count), dest)
            case Opcode.REM if _is_unsigned_power(type_, word):
                mask = ir.Immediate(type_, word - 1)
                return self._binary(replace(binary, opcode=Opcode.AND, right=mask), dest)
            case _:
                return None

    def scale(
        self, register: Register, factor: int, type_: ScalarType, dest: Register | None
    ) -> Register:
        """Multiply a register by a power of two."""
        doublings = factor.bit_length() - 1
        if doublings == 0:
            return self.deliver(register, dest, 1)
        dest = dest or self.frame.allocate()
        if doublings > self._most_doublings:
            return self.with_number(Opcode.SHL, type_, register, doublings, dest)
        for _ in range(doublings):
            self.emit(Opcode.ADD, type_, rd=dest, ra=register, rb=register)
            register = dest
        return dest

    @property
    def _most_doublings(self) -> int:
        """The largest shift that is emitted as additions."""
        if self.optimizes or self.is_in_loop:
            return MAXIMUM_DOUBLINGS_IN_LOOP
        return MAXIMUM_DOUBLINGS

    # --- addresses ------------------------------------------------------------------------------

    def address(self, expression: ir.Expression, offset: int = 0) -> tuple[Register, int | Address]:
        """Return the register and the immediate whose sum is an address."""
        linear = linearize(expression, offset)
        return self._sum(linear.terms), linear.constant

    def _sum(self, terms: tuple[Term, ...]) -> Register:
        if not terms:
            return ZERO
        common = min(term.coefficient & -term.coefficient for term in terms)
        registers = self.evaluate_all([term.value for term in terms])
        factors = [term.coefficient // common for term in terms]
        # A leading positive term needs no negation.
        ordered = sorted(zip(registers, factors, strict=True), key=lambda pair: pair[1] < 0)
        total = ZERO
        for register, factor in ordered:
            total = self._add_product(total, register, factor)
        return self.scale(total, common, ScalarType.U16, None)

    def _add_product(self, total: Register, register: Register, factor: int) -> Register:
        opcode = Opcode.ADD if factor > 0 else Opcode.SUB
        if abs(factor).bit_count() == 1:
            register = self.scale(register, abs(factor), ScalarType.U16, None)
        else:
            register = self.with_number(Opcode.MUL, ScalarType.U16, register, abs(factor), None)
        if total == ZERO and factor > 0:
            return register
        dest = self.frame.allocate()
        self.emit(opcode, ScalarType.U16, rd=dest, ra=total, rb=register)
        return dest

    # --- data structure descriptors -------------------------------------------------------------

    def constant_dsd(self, dsd: ir.Expression) -> Words | None:
        """Return the two words of a DSD whose every field is known."""
        if dsd not in self.known:
            folded = self.fold(dsd)
            is_made = isinstance(folded, ir.MakeDsd)
            self.known[dsd] = known_dsd(folded, self.descriptors) if is_made else None
        return self.known[dsd]

    def _make_dsd(self, make: ir.MakeDsd, dest: Register | None) -> Register:
        words = self.constant_dsd(make)
        if words is not None:
            return self.constant(words, dest)
        template, steps = take_apart(make, self.descriptors)
        values = self.evaluate_all([step.value for step in steps])
        dest = dest or self.frame.allocate(2)
        current = self.hoisted.get(template)
        if current is None:
            self.wanted[template] = None
            current = self.constant(template, dest)
        for step, register in zip(steps, values, strict=True):
            self.emit(step.opcode, rd=dest, ra=current, rb=register, imm=step.scale)
            current = dest
        return dest

    def _update_dsd(self, update: ir.UpdateDsd, dest: Register | None) -> Register:
        ra, rb = self.evaluate_all((update.dsd, update.value))
        dest = dest or self.frame.allocate(2)
        scale = update.element_bytes if update.update is ir.DsdUpdate.ADVANCE else 0
        self.emit(OPCODE_OF_UPDATE[update.update], rd=dest, ra=ra, rb=rb, imm=scale)
        return dest

    # --- calls and conditions -------------------------------------------------------------------

    def call(self, call: ir.Call) -> Register:
        """Emit a call; return the callee's result register.

        The callee's frame may overlap those of functions called in the arguments, so an argument is
        computed into its register only if no later argument has a call. A DSD made from results
        of calls may overlap even then.
        """
        layout = lay_out_frame(call.function)
        with self.frame.watch():
            self._pass(call, layout)
            if call.function.result is None:
                self._note_call(call.function)
        self.emit(Opcode.CALL, imm=call.function)
        return layout.result

    def _note_call(self, callee: ir.Function) -> None:
        """Record the number of live slots during the call of a function without a result."""
        self.slots_at_calls[callee] = max(self.slots_at_calls.get(callee, 0), self.frame.peak)

    def _pass(self, call: ir.Call, layout: FrameLayout) -> None:
        """Put the arguments of a call into the registers of the callee's parameters."""
        arguments = list(zip(call.arguments, layout.parameters, strict=True))
        calling = [i for i, value in enumerate(call.arguments) if walk.has_effect(value)]
        last = calling[-1] if calling else -1
        # What an argument reads from memory, a later call may change.
        early = [
            i for i, value in enumerate(call.arguments[:last]) if walk.depends_on_memory(value)
        ]
        parked: list[tuple[Register, Register, int]] = []
        with self.frame.scope():
            for i in (*early, *calling[-1:]):
                value, parameter = arguments[i]
                width = width_of(value)
                if i == last and (width == 1 or isinstance(value, ir.Call)):
                    self.evaluate(value, parameter)
                    continue
                own = self.frame.allocate(width)
                self.evaluate(value, own)
                parked.append((own, parameter, width))
            for own, parameter, width in parked:
                self.move(own, parameter, width)
            for i, (value, parameter) in enumerate(arguments):
                if i != last and i not in early:
                    with self.frame.scope():
                        self.evaluate(value, parameter)

    def branch(self, condition: ir.Expression, target: Label, *, when: bool) -> None:
        """Jump to `target` if the condition is `when`, else fall through."""
        match condition:
            case ir.Immediate(per_pe=None, word=word):
                if bool(word) is when:
                    self.emit(Opcode.JUMP, imm=target)
            case ir.Unary(opcode=Opcode.NOT, type=ScalarType.BOOL, operand=operand):
                self.branch(operand, target, when=not when)
            case ir.Binary(
                opcode=Opcode.EQUAL | Opcode.NOT_EQUAL as opcode,
                type=type_,
                left=value,
                right=ir.Immediate(per_pe=None, word=0),
            ) if not type_.is_float:
                self._branch_on(value, target, when=when is (opcode is Opcode.NOT_EQUAL))
            case ir.Binary(opcode=Opcode.EQUAL | Opcode.NOT_EQUAL as opcode, type=ir.WideType()):
                with self.frame.scope():
                    register = wide.unlike(self, condition)
                is_branch_zero = when is (opcode is Opcode.EQUAL)
                branch = Opcode.BRANCH_ZERO if is_branch_zero else Opcode.BRANCH_NONZERO
                self.emit(branch, ra=register, imm=target)
            case ir.Select(then=then, otherwise=ir.Immediate(per_pe=None, word=0)):
                self._branch_both(condition.condition, then, target, when=when, decided=False)
            case ir.Select(then=ir.Immediate(per_pe=None, word=1), otherwise=otherwise):
                self._branch_both(condition.condition, otherwise, target, when=when, decided=True)
            case _:
                self._branch_on(condition, target, when=when)

    def _branch_on(self, value: ir.Expression, target: Label, *, when: bool) -> None:
        with self.frame.scope():
            register = self.evaluate(value)
        opcode = Opcode.BRANCH_NONZERO if when else Opcode.BRANCH_ZERO
        self.emit(opcode, ra=register, imm=target)

    def _branch_both(
        self,
        first: ir.Expression,
        second: ir.Expression,
        target: Label,
        *,
        when: bool,
        decided: bool,
    ) -> None:
        """Branch on `first and second` (decided by a false) or `first or second` (by a true)."""
        skip = Label()
        self.branch(first, target if when is decided else skip, when=decided)
        self.branch(second, target, when=when)
        self.bind(skip)


def width_of(expression: ir.Expression) -> int:
    """Return how many registers the value of an expression takes."""
    match expression:
        case ir.MakeDsd() | ir.UpdateDsd() | ir.Join():
            return 2
        case ir.Binary(opcode=opcode) if opcode in COMPARISONS:
            return 1
        case ir.Load(type=type_) | ir.Select(type=type_):
            return num_registers(type_)
        case ir.Unary(type=type_) | ir.Binary(type=type_) | ir.Convert(target=type_):
            return num_registers(type_)
        case ir.ReadLocal(local=local):
            return num_registers(local.type)
        case ir.Call(function=function):
            return 1 if function.result is None else num_registers(function.result)
        case _:
            return 1


def is_same_word(source: ScalarType, target: ScalarType) -> bool:
    """Tell whether every value has the same canonical word in both types."""
    if source is target:
        return True
    if source.is_float or target.is_float or target is ScalarType.BOOL:
        return False
    if target.num_bytes == WORD_BYTES:
        return True
    is_wider = target.num_bytes > source.num_bytes
    if source.is_signed:
        return is_wider and target.is_signed
    return is_wider or source is ScalarType.BOOL


_COMMUTATIVE: Final = frozenset(
    (Opcode.ADD, Opcode.MUL, Opcode.AND, Opcode.OR, Opcode.XOR, Opcode.EQUAL, Opcode.NOT_EQUAL)
)


def _in_order(binary: ir.Binary) -> tuple[ir.Expression, ir.Expression]:
    """Return the operands, a constant last if the operation is commutative."""
    if isinstance(binary.left, ir.Immediate) and binary.opcode in _COMMUTATIVE:
        return binary.right, binary.left
    return binary.left, binary.right


def _is_unsigned_power(type_: ScalarType, word: int) -> bool:
    return not type_.is_signed and word > 0 and word.bit_count() == 1


def add_offset(constant: int | Address, num_bytes: int) -> int | Address:
    """Return the immediate that is `num_bytes` further."""
    if isinstance(constant, int):
        return constant + num_bytes
    return replace(constant, offset=constant.offset + num_bytes)
