"""`@map(function, inputs…, output)`: a loop over DSD elements with the function's body inside.

The body of the function is inlined into the loop, unless it returns in its middle; then it is
called. The machine steps through mem1d DSDs; the other operands are in `map_operands`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import Fault, fail
from onewafer.csl.sema.runtime import order, passing
from onewafer.csl.sema.runtime.calls import (
    analyzer_of,
    bind_argument,
    check_call,
    specialize,
    spill,
)
from onewafer.csl.sema.runtime.expressions import evaluate_as, evaluate_type
from onewafer.csl.sema.runtime.maps import held_dsds
from onewafer.csl.sema.runtime.maps.dsr_faults import refuse_circular
from onewafer.csl.sema.runtime.maps.map_operands import Element, Walk, rounds_only, walk
from onewafer.csl.sema.runtime.statements import analyze_block
from onewafer.csl.sema.values import (
    Array,
    Dsd,
    Dsr,
    Pointer,
    Runtime,
    Struct,
    Value,
    Variable,
    type_of,
)
from onewafer.csl.sema.values.in_memory import whole
from onewafer.csl.syntax import ast, tree
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.bound_names import RuntimeLocal
    from onewafer.csl.sema.values import FunctionValue
    from onewafer.diagnostics import Span

_USAGE: Final = "write `@map(function, inputs…, output)`; the output only if the function returns"


@dataclass(frozen=True, slots=True)
class _Argument:
    """One argument of `@map` and its place."""

    value: Value
    span: Span


@dataclass(slots=True)
class _Map:
    """The analysis of one `@map`."""

    caller: Analyzer
    callee: Analyzer
    function: FunctionValue
    span: Span
    inputs: list[ir.MapStream] = field(default_factory=list["ir.MapStream"])
    walks: list[Walk] = field(default_factory=list["Walk"])
    """Iterations over operands that are not mem1d: inputs, then the output."""
    parameters: list[RuntimeLocal] = field(default_factory=list["RuntimeLocal"])
    passed: list[Value] = field(default_factory=list["Value"])
    """The arguments, for a call of the function in the loop."""

    def bind(self, parameter: ast.Parameter, argument: _Argument) -> None:
        """Bind a parameter to an element of a DSD, or to the same value in every round."""
        callee, span = self.callee, argument.span
        if _is_stream(argument.value):
            local = self._element(parameter)
            stream = self.stream(argument, local.local, local.type, is_output=False)
            if stream is not None:
                self.inputs.append(stream)
        elif passing.is_run_time(argument.value) and not parameter.is_comptime:
            copy = self._copy(parameter, argument.value, span)
            callee.names.declare(parameter.name, copy)
            self.passed.append(self.caller.load(copy, span))
            return
        else:
            value = argument.value
            bound, _ = bind_argument(self.caller, callee, parameter, value, span)
            if isinstance(bound, Value):
                callee.names.declare(parameter.name, bound)
                self.passed.append(value)
                return
            local = bound
            fixed = self.caller.coerce(value, local.type, span)
            self.caller.emit(ir.SetLocal(local.local, self.caller.expression(fixed, span), span))
        callee.names.declare(parameter.name, local)
        self.parameters.append(local)
        self.passed.append(Runtime(local.type, ir.ReadLocal(local.local), local.descriptor))

    def _copy(
        self, parameter: ast.Parameter, value: Struct | Variable | Array, span: Span
    ) -> Value:
        """Return a copy of a struct or an array, made before the loop."""
        caller, name = self.caller, parameter.name
        typed = passing.in_type_of(caller, self.callee, parameter, value, span)
        if isinstance(typed, Struct) and name not in self.callee.addressed:
            return order.settled(caller, name, typed, span)
        type_ = type_of(typed)
        assert isinstance(type_, t.StructType | t.ArrayType)
        return whole(order.stored(caller, name, typed, type_, span), span)

    def _element(self, parameter: ast.Parameter) -> RuntimeLocal:
        assert parameter.type is not None
        type_ = evaluate_type(self.callee, parameter.type)
        return self.callee.new_local(parameter.name, type_, is_const=True)

    def stream(
        self, argument: _Argument, local: ir.Local, type_: t.Type, *, is_output: bool
    ) -> ir.MapStream | None:
        """Return the stream of a mem1d DSD through `local`; None: it became one of `walks`."""
        value, span = argument.value, argument.span
        scalar = t.scalar_type(type_)
        if scalar is None:
            fail("type-mismatch", f"a DSD has no elements of type `{type_}`", span)
        if t.is_narrow(type_):
            fail(
                "type-mismatch",
                f"a DSD has no elements of type `{type_}`: they have 8, 16 or 32 bits",
                span,
                help="let the function take and return the type of the array's elements, and "
                f"convert inside of it: `@as({type_}, x)`",
            )
        self._check_size(argument, type_)
        found = walk(self.caller, value, Element(local, type_, scalar, is_output), span)
        if found is not None:
            self.walks.append(found)
            return None
        if not isinstance(value, Dsd | Runtime) or value.type is not t.MEM1D_DSD:
            _refuse(value, span, is_output=is_output)
        return ir.MapStream(self.caller.expression(value, span), local, scalar)

    def _check_size(self, argument: _Argument, type_: t.Type) -> None:
        """Warn of an array whose elements have another size than the function's type."""
        value = argument.value
        if not isinstance(value, Dsd) or value.base is None:
            return
        base, num_bytes = value.base, t.num_bytes(type_)
        held = t.num_bytes(t.element(base.type.pointee))
        if held == num_bytes:
            return
        variable = base.variable
        finding = Diagnostic(
            "element-size-mismatch",
            f"`@map` works on elements of {8 * num_bytes} bits here, "
            f"and those of `{variable.name}` have {8 * held}",
            Annotation(argument.span, f"`{self.function.declaration.name}` has a `{type_}` there"),
            (Annotation(variable.span, f"`{variable.name}` is a `{variable.type}`"),),
            ("each round moves on by the size of the function's type, whatever the array holds",),
            "let the function take and return the type of the array's elements",
            severity=Severity.WARNING,
        )
        self.caller.instance.report(Fault(finding))

    def emit(
        self,
        body: tuple[ir.Statement, ...],
        written: tuple[ir.Statement, ...],
        output: ir.MapStream | None,
    ) -> None:
        """Emit the loop; `written` follows the body of the function."""
        reads = [s for walk in self.walks if not walk.is_output for s in walk.move]
        writes = [s for walk in self.walks if walk.is_output for s in walk.move]
        steps = [s for walk in self.walks for s in walk.step]
        inputs = list(self.inputs)
        if self.walks:
            rounds = min(walk.rounds for walk in self.walks)
            inputs.append(rounds_only(self.caller, rounds, self.span))
        whole = (*reads, *body, *written, *writes, *steps)
        self.caller.emit(ir.Map(tuple(inputs), output, whole, self.span))

    def body(self, result: ir.Local | None, spans: Sequence[Span]) -> tuple[ir.Statement, ...]:
        """Return the statements of one round, which set `result` to the function's value."""
        caller, callee = self.caller, self.callee
        statements = self.function.declaration.body.statements
        returned = _only_return(statements)
        caller.open_block()
        if result is not None and returned is None:
            self._call(result, spans)
        elif result is None and _has_return(statements):
            self._call(None, spans)
        else:
            callee.blocks = caller.blocks
            spill(callee, self.parameters, self.span)
            callee.names.open()
            analyze_block(callee, statements if returned is None else statements[:-1])
            if result is not None and returned is not None and returned.value is not None:
                value = evaluate_as(callee, returned.value, callee.result)
                expression = callee.sized(value, callee.result, returned.span, "the result")
                callee.emit(ir.SetLocal(result, expression, returned.span))
        return caller.close_block()

    def _call(self, result: ir.Local | None, spans: Sequence[Span]) -> None:
        caller = self.caller
        target, passed, _ = specialize(caller, self.function, self.passed, spans, self.span)
        call = ir.Call(target, passed)
        if result is None:
            caller.emit(ir.Evaluate(call, self.span))
        else:
            caller.emit(ir.SetLocal(result, call, self.span))


def emit_map(
    a: Analyzer,
    function: FunctionValue,
    values: Sequence[Value],
    spans: Sequence[Span],
    span: Span,
) -> None:
    """Emit the loop of `@map`."""
    chain = ((span, f"`{function.declaration.name}` is mapped here"), *a.chain)
    callee = analyzer_of(a.instance, function, chain)
    arguments = [_Argument(v, s) for v, s in zip(values, spans, strict=True)]
    for parameter, argument in zip(function.declaration.parameters, arguments, strict=False):
        if type_of(argument.value) in t.DSDS | t.DSRS:
            _check_takes_elements(parameter, argument.span)
    callee.result = evaluate_type(callee, function.declaration.result)
    returns = callee.result != t.VOID
    arguments = [
        _resolved(a, argument, is_output=returns and argument is arguments[-1])
        for argument in arguments
    ]
    inputs = arguments[:-1] if returns else arguments
    check_call(function.declaration, len(inputs), span)
    if not any(_is_stream(argument.value) for argument in arguments):
        fail("type-mismatch", "`@map` needs a DSD among its operands", span, help=_USAGE)
    loop = _Map(a, callee, function, span)
    for parameter, argument in zip(function.declaration.parameters, inputs, strict=True):
        loop.bind(parameter, argument)
    if not returns:
        loop.emit(loop.body(None, spans[: len(inputs)]), (), None)
        return
    callee.ir_type(callee.result, span)
    result = a.new_local("result", callee.result, is_const=True).local
    if _is_stream(arguments[-1].value):
        output = loop.stream(arguments[-1], result, callee.result, is_output=True)
        loop.emit(loop.body(result, spans[: len(inputs)]), (), output)
        return
    address = _destination(a, arguments[-1], callee.result)
    store = ir.Store(callee.ir_type(callee.result, span), address, 0, ir.ReadLocal(result), span)
    loop.emit(loop.body(result, spans[: len(inputs)]), (store,), None)


def _check_takes_elements(parameter: ast.Parameter, span: Span) -> None:
    if parameter.type is None or parameter.is_comptime:
        fail(
            "type-mismatch",
            f"the parameter `{parameter.name}` takes elements, so it needs a run-time type",
            span,
            help="declare it with the type of the array's elements: `value: f32`",
        )


def _resolved(a: Analyzer, argument: _Argument, *, is_output: bool) -> _Argument:
    """Return an argument with a DSR replaced by the DSD that it holds."""
    value, span = argument.value, argument.span
    refuse_circular(value, span, settings=", .{ .single_step = true }")
    if not isinstance(value, Dsr):
        return argument
    return _Argument(held_dsds.stepped_by(a, value, span, is_output=is_output), span)


def _is_stream(value: Value) -> bool:
    return type_of(value) in t.DSDS


def _refuse(value: Value, span: Span, *, is_output: bool) -> NoReturn:
    """Fail because `@map` cannot iterate over a DSD of this kind."""
    kind = type_of(value)
    if kind is t.FIFO:
        advice = "move its elements to memory first"
        fail("type-mismatch", "a FIFO cannot be an operand of `@map`", span, help=advice)
    if kind is (t.FABIN_DSD if is_output else t.FABOUT_DSD):
        side = "output" if is_output else "input"
        fail("type-mismatch", f"a {kind} cannot be an {side} of `@map`", span, help=_USAGE)
    fail(
        "unsupported-feature",
        f"`@map` over a {kind} that only run time knows is not supported yet",
        span,
        help="use a DSD that is a `const` of known length",
    )


def _destination(a: Analyzer, argument: _Argument, type_: t.Type) -> ir.Expression:
    """Return the address of the scalar that gets each result, computed before the loop."""
    value, span = argument.value, argument.span
    pointer = type_of(value)
    if not isinstance(value, Pointer | Runtime) or not isinstance(pointer, t.PointerType):
        fail(
            "type-mismatch",
            f"the output of `@map` is a DSD or a pointer, this is of type `{pointer}`",
            span,
            help=_USAGE,
        )
    if pointer.is_const:
        fail("not-assignable", "the output of `@map` is constant", span)
    if pointer.pointee != type_:
        fail(
            "type-mismatch",
            f"the function returns `{type_}`, the output points to a `{pointer.pointee}`",
            span,
        )
    if isinstance(value, Pointer):
        return a.expression(value, span)
    local = a.new_local("output", pointer, is_const=True).local
    a.emit(ir.SetLocal(local, value.expression, span))
    return ir.ReadLocal(local)


def _only_return(statements: Sequence[ast.Statement]) -> ast.Return | None:
    """Return the `return` at the end of a body; None: there is none, or another one."""
    match statements:
        case [*others, ast.Return() as last] if not _has_return(others):
            return last
        case _:
            return None


def _has_return(statements: Sequence[ast.Statement]) -> bool:
    return any(isinstance(node, ast.Return) for s in statements for node in tree.nodes(s))
