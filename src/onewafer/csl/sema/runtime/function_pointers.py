"""Function pointers at run time: numbers of the functions whose address a program takes.

A call through a pointer calls a dispatcher, made for its function type, which compares the number
with those of the functions of this type, one after the other. Its body is written at the end, when
all of them are known. Structs and arrays are passed and returned by address; the caller copies a
result at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.state import PointedFunctions
from onewafer.csl.sema.runtime import order, passing
from onewafer.csl.sema.runtime.structs import load_result
from onewafer.csl.sema.runtime.temporaries import once
from onewafer.csl.sema.values import Runtime, Undefined, Value, Variable, conversions
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.values import FunctionValue
    from onewafer.diagnostics import Span

    Start = Callable[[FunctionValue], ir.Function]


def is_pointer(type_: t.Type) -> bool:
    """Tell whether a type is a pointer to a function."""
    match type_:
        case t.PointerType(t.FunctionType()):
            return True
        case _:
            return False


def call(
    a: Analyzer, pointer: Runtime, arguments: Sequence[Value], spans: Sequence[Span], span: Span
) -> Value:
    """Call the function that a pointer leads to."""
    assert isinstance(pointer.type, t.PointerType)
    type_ = pointer.type.pointee
    assert isinstance(type_, t.FunctionType)
    if len(arguments) != len(type_.parameters):
        expected = len(type_.parameters)
        fail(
            "wrong-argument-count",
            f"a `{type_}` takes {expected} argument(s), {len(arguments)} are given",
            span,
        )
    if any(map(passing.by_address, type_.parameters)):  # copied here, so all are computed here
        settled = order.settled(a, "function", pointer, span)
        assert isinstance(settled, Runtime)
        pointer = settled
        arguments = [_settled(a, v, where) for v, where in zip(arguments, spans, strict=True)]
    passed = [pointer.expression]
    for value, wanted, where in zip(arguments, type_.parameters, spans, strict=True):
        passed.append(_passed(a, value, wanted, where))
    a.dsrs.forget_loads()
    called = ir.Call(_dispatcher(a, type_, span), tuple(passed))
    if not passing.by_address(type_.result):
        return Runtime(type_.result, called)
    address = t.PointerType(type_.result, is_const=True)
    at = Runtime(address, once(a, "result", called, address, span))
    result = Variable("result", type_.result, Undefined(), span, is_const=True, at=at)
    return load_result(a, result, span)


def _settled(a: Analyzer, value: Value, span: Span) -> Value:
    """Return an argument that is computed before other arguments are copied."""
    return order.settled(a, "argument", a.load(value, span), span)


def _passed(a: Analyzer, value: Value, wanted: t.Type | None, span: Span) -> ir.Expression:
    """Return an argument in the parameter's type as IR: its value, or the address of a copy."""
    if wanted is None:
        conversions.mismatch(value, t.ANYTYPE, span)
    if not passing.by_address(wanted):
        return a.sized(a.load(value, span), wanted, span, "the argument")
    coerced = a.coerce(value, wanted, span, "the argument")
    return passing.copied(a, "argument", coerced, wanted, span)


def _ir_type(a: Analyzer, type_: t.Type, span: Span) -> ir.ValueType:
    """Return the IR type of a parameter or result; `u16` if it is passed by address."""
    return ScalarType.U16 if passing.by_address(type_) else a.ir_type(type_, span)


def _dispatcher(a: Analyzer, type_: t.FunctionType, span: Span) -> ir.Function:
    pointed = a.instance.pointed.setdefault(type_, PointedFunctions())
    if pointed.dispatcher is None:
        parameters = [ir.Local("function", ScalarType.U16)]
        for index, parameter in enumerate(type_.parameters):
            assert parameter is not None
            parameters.append(ir.Local(f"argument{index}", _ir_type(a, parameter, span)))
        result = None if type_.result is t.VOID else _ir_type(a, type_.result, span)
        name = a.instance.unique_symbol(f"call {type_}")
        pointed.dispatcher = ir.Function(name, tuple(parameters), result, span=span)
        a.instance.functions.append(pointed.dispatcher)
    return pointed.dispatcher


def finish(instance: Instance, start: Start) -> bool:
    """Write the bodies of all dispatchers; return True if this added functions to analyse."""
    count = len(instance.functions)
    for type_, pointed in list(instance.pointed.items()):
        targets = [start(function) for function in pointed.functions]
        if pointed.dispatcher is not None:
            pointed.dispatcher.body = _body(instance, pointed.dispatcher, targets, type_)
    return len(instance.functions) > count


def _body(
    instance: Instance,
    dispatcher: ir.Function,
    targets: Sequence[ir.Function],
    type_: t.Type,
) -> tuple[ir.Statement, ...]:
    number, *arguments = map(ir.ReadLocal, dispatcher.parameters)
    never = ir.Immediate(ScalarType.BOOL, 0)
    complaint = (
        f"a call through a `*const {type_}` that leads to no function: assign one first (of the "
        "calls through such pointers, the place is that of the first in the program)"
    )
    rest: tuple[ir.Statement, ...] = (
        ir.Trap(never, complaint, dispatcher.span),
        ir.Loop(ir.Immediate(ScalarType.BOOL, 1), (), ()),
    )
    for index, target in reversed(list(enumerate(targets, start=1))):
        call = ir.Call(target, tuple(arguments))
        taken: tuple[ir.Statement, ...] = (ir.Return(call),)
        if target.result is None:
            variable = instance.stored_results.get(target)
            result = ir.AddressOf(instance.storage(variable)) if variable is not None else None
            taken = (ir.Evaluate(call), ir.Return(result))
        test = ir.Binary(Opcode.EQUAL, ScalarType.U16, number, ir.Immediate(ScalarType.U16, index))
        rest = (ir.If(test, taken, rest),)
    return rest
