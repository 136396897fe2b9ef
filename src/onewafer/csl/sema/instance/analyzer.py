"""The state of one function while it is analysed, and how values become IR."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.instance import narrow, packed_fields
from onewafer.csl.sema.instance.bound_names import BoundNames, RuntimeLocal
from onewafer.csl.sema.instance.explicit_dsrs import ExplicitDsrs
from onewafer.csl.sema.instance.jump_target import JumpTarget
from onewafer.csl.sema.values import (
    Dsd,
    FunctionAddress,
    FunctionValue,
    Pointer,
    Runtime,
    Scalar,
    Struct,
    Undefined,
    Value,
    Variable,
    conversions,
    halves,
    not_comptime,
    type_of,
)
from onewafer.csl.sema.values.in_memory import address_of_variable, struct_at

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.session import Session
    from onewafer.csl.sema.values import Module
    from onewafer.diagnostics import Span
    from onewafer.image import DsdDescriptor, Opcode


@dataclass(slots=True, eq=False)
class Analyzer:
    """The analysis of one function for given comptime arguments, and the IR emitted so far."""

    instance: Instance
    module: Module
    name: str
    chain: tuple[tuple[Span, str], ...]
    result: t.Type = t.VOID
    stored_result: Variable | None = None
    """The variable for a result of a struct or array type."""
    addressed: frozenset[str] = frozenset()
    """Names whose address the function takes somewhere."""
    names: BoundNames = field(default_factory=BoundNames)
    blocks: list[list[ir.Statement]] = field(default_factory=lambda: [[]])
    dsrs: ExplicitDsrs = field(default_factory=ExplicitDsrs)
    comptime_depth: int = 0
    """Positive inside of `comptime …`: calls are evaluated, not emitted."""
    jumps: list[JumpTarget] = field(default_factory=list[JumpTarget])
    """The enclosing blocks and loops that `break` and `continue` can name, outermost first."""
    has_errors: bool = False

    @property
    def session(self) -> Session:
        """The session of the module."""
        return self.module.session

    def report(self, fault: Fault) -> None:
        """Hand a fault to the sink with the locations that led to this function."""
        self.has_errors = True
        self.instance.report(fault, self.chain)

    # --- places of values ------------------------------------------------------------------------

    def new_local(
        self, name: str, type_: t.Type, *, is_const: bool, descriptor: DsdDescriptor | None = None
    ) -> RuntimeLocal:
        """Return a fresh local of a run-time type."""
        return RuntimeLocal(name, type_, ir.Local(name, self.ir_type(type_)), is_const, descriptor)

    def new_variable(
        self,
        name: str,
        type_: t.Type,
        span: Span,
        *,
        is_const: bool,
        alignment: int | None = None,
    ) -> Variable:
        """Return a new local in static memory (no reentrancy); code stores its first value."""
        name = f"{self.name}.{name}"
        return Variable(
            name, type_, Undefined(), span, is_const, alignment=alignment, is_local=True
        )

    # --- emitting --------------------------------------------------------------------------------

    def emit(self, statement: ir.Statement) -> None:
        """Append a statement to the current block."""
        self.blocks[-1].append(statement)

    def open_block(self, *, goes_on: bool = False) -> None:
        """Begin a nested list of statements with its own scope.

        `goes_on`: it runs once, straight after the statements before it, so that the DSRs which
        they loaded are still known in it.
        """
        self.dsrs.open_block(goes_on=goes_on)
        self.blocks.append([])
        self.names.open()

    def close_block(self) -> tuple[ir.Statement, ...]:
        """End the innermost list and return it."""
        self.names.close()
        self.dsrs.close_block()
        return tuple(self.blocks.pop())

    # --- values ----------------------------------------------------------------------------------

    def load_variable(self, variable: Variable, span: Span) -> Value:
        """Return the loaded value of a scalar variable; an array variable is returned unchanged."""
        if isinstance(variable.type, t.ArrayType):
            return variable
        if self.comptime_depth:
            not_comptime(variable, span)
        initial = variable.initial
        descriptor = initial.descriptor if isinstance(initial, Dsd) else None
        word = self._load(self.ir_type(variable.type, span), variable, span)
        return Runtime(variable.type, word, descriptor)

    def _load(self, held: ir.ValueType, variable: Variable, span: Span) -> ir.Load:
        if isinstance(variable.at, Runtime):
            return ir.Load(held, variable.at.expression, variable.offset)
        return ir.Load(held, self.expression(address_of_variable(variable), span))

    def load(self, value: Value, span: Span) -> Value:
        """Return the loaded value of a variable; of a struct, its fields are loaded."""
        match value:
            case Variable():
                return self.load_variable(value, span)
            case Struct() if _has_variable(value):
                is_single = len(value.fields) == 1
                if isinstance(value.address, Runtime) and not is_single:
                    value = struct_at(self.anchored(value.address, span), span)
                return self._load_fields(value, span)
            case _:
                return value

    def _load_fields(self, value: Struct, span: Span) -> Struct:
        loaded = tuple(
            self._load_fields(field, span) if isinstance(field, Struct) else self.load(field, span)
            for field in value.fields
        )
        return Struct(value.names, loaded, value.type, value.address)

    def anchored(self, address: Pointer | Runtime, span: Span) -> Pointer | Runtime:
        """Emit the computation of an address into a local, unless it is constant or in a local."""
        if isinstance(address, Pointer) or isinstance(address.expression, ir.ReadLocal):
            return address
        local = self.new_local("address", t.U16, is_const=True).local
        self.emit(ir.SetLocal(local, address.expression, span))
        return Runtime(address.type, ir.ReadLocal(local))

    def coerce(self, value: Value, type_: t.Type, span: Span, what: str = "") -> Value:
        """Return `value` as `type_` if the language converts it by itself, or fail."""
        match value:
            case Runtime(source):
                if source == type_:
                    return value
                if conversions.pointer_converts(source, type_):
                    return Runtime(type_, value.expression)
                held, target = t.register_type(source), t.register_type(type_)
                if conversions.widens(source, type_) and held is not None and target is not None:
                    expression = value.expression
                    if held is not target:
                        expression = ir.Convert(held, target, expression)
                    return Runtime(type_, expression)
                conversions.mismatch(value, type_, span, what)
            case Variable():
                if value.type == type_:
                    return value
                conversions.mismatch(value, type_, span, what)
            case Struct() if isinstance(type_, t.StructType):
                if type_of(value) == type_:
                    return value
                return conversions.to_struct(
                    value, type_, lambda f, wanted: self.coerce(f, wanted, span, what), span, what
                )
            case Struct() if isinstance(type_, t.PackedType) and value.type is None:
                return packed_fields.compose(self, value, type_, span)
            case _:
                return conversions.coerce(value, type_, span, what)

    def expression(self, value: Value, span: Span) -> ir.Expression:
        """Return a value of a run-time type as IR."""
        match value:
            case Runtime():
                return value.expression
            case Scalar():
                held = t.register_type(value.type)
                if held is None:
                    self._unsized(value, span)
                halves.refuse_other(value.type, self.half, span)
                if isinstance(held, ir.WideType):
                    return self.instance.columns.join(value, held)
                return self.instance.immediate(value)
            case Pointer():
                return self.instance.address(value)
            case FunctionAddress():
                return self.instance.function_number(value)
            case Dsd():
                return self.instance.make_dsd(value)
            case Struct(type=t.PackedType() as type_):
                return packed_fields.composed(self, value, type_, span)
            case _:
                self._unsized(value, span)

    def _unsized(self, value: Value, span: Span) -> NoReturn:
        type_ = type_of(value)
        advice = ""
        if t.is_numeric(type_):
            advice = "give it a sized type: `@as(i16, …)`"
        elif isinstance(value, FunctionValue):
            advice = (
                "pass it as a `comptime` parameter, or choose among addresses: give the place a "
                "type, `const f: *const fn (…) R = …`"
            )
        elif isinstance(value, Variable):
            advice = "take its address with `&`, or copy the elements"
        fail(
            "not-runtime",
            f"a value of type `{type_}` does not exist at run time",
            span,
            help=advice,
        )

    def sized(self, value: Value, type_: t.Type, span: Span, what: str = "") -> ir.Expression:
        """Return `value`, coerced to a run-time type, as IR."""
        return self.expression(self.coerce(value, type_, span, what), span)

    @property
    def half(self) -> t.FloatType:
        """The 16-bit float that the program computes with."""
        return self.module.session.half

    def ir_type(self, type_: t.Type, span: Span | None = None) -> ir.ValueType:
        """Return the IR type that holds run-time values of `type_`, or fail."""
        halves.refuse_other(type_, self.half, span)
        if type_ in t.DSDS:
            return ir.DSD
        held = t.register_type(type_)
        if held is None:
            narrow.too_wide(type_, span)
        return held

    def binary(
        self, opcode: Opcode, type_: t.Type, left: ir.Expression, right: ir.Expression
    ) -> ir.Binary:
        """Return an operation on two numbers of `type_` as IR, in the type of their register."""
        held = t.register_type(type_)
        assert held is not None
        return ir.Binary(opcode, held, left, right)


def _has_variable(value: Struct) -> bool:
    return any(
        _has_variable(field) if isinstance(field, Struct) else isinstance(field, Variable)
        for field in value.fields
    )
