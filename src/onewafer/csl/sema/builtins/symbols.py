"""Symbols of the host by their number: `@get_symbol_id` and related builtins.

The number of a symbol is that by which the host calls it (`SdkRuntime.get_id`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import rules
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.instance.registry import comptime_builtin, runtime_builtin
from onewafer.csl.sema.modules.instance_context import find_instance
from onewafer.csl.sema.values import (
    FunctionValue,
    Pointer,
    Runtime,
    Scalar,
    Value,
    Variable,
    boolean,
    type_of,
)
from onewafer.image import FIRST_SYMBOL_ID, Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.sema.instance.instance import Instance
    from onewafer.csl.sema.instance.registry import Site
    from onewafer.csl.sema.values import Module

_WORDS = t.PointerType(t.U16, is_many=True)
"""Type of the pointers that `@get_tensor_ptr` gives."""


@comptime_builtin("get_symbol_id", 1, operands=(0,))
def get_symbol_id(site: Site, module: Module, args: Sequence[Value]) -> Value:
    """Return the number of an exported symbol; of its first name if there are several."""
    instance = find_instance(module)
    if instance is None:
        fail(
            "wrong-context",
            "`@get_symbol_id` cannot be used in the layout",
            site.span,
            help="it belongs in the program that exports the symbol",
        )
    return _symbol_id(site, instance, args[0])


@runtime_builtin("get_symbol_id", 1, operands=(0,))
def get_symbol_id_at_run_time(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the number of an exported symbol."""
    return _symbol_id(site, a.instance, args[0])


def _symbol_id(site: Site, instance: Instance, symbol: Value) -> Scalar:
    for name, (target, _) in instance.exports.items():
        if _is_same(target, symbol):
            return Scalar(t.U16, _number(instance, name))
    fail(
        "export-missing",
        "the program does not export this symbol",
        site.argument_spans[0],
        help="name a variable or function that a `comptime` block before has exported: "
        "`@export_symbol(x);`",
    )


def _is_same(target: Value, symbol: Value) -> bool:
    match target, symbol:
        case FunctionValue(), FunctionValue():
            return target.module is symbol.module and target.declaration is symbol.declaration
        case _:
            return target is symbol or (isinstance(target, Pointer) and target == symbol)


def _number(instance: Instance, name: str) -> int:
    """Return the number of a name, which is the same on all PEs."""
    layout = instance.session.layout
    names = [*layout.exports] if layout is not None else []
    return FIRST_SYMBOL_ID + (names.index(name) if name in names else len(names))


@runtime_builtin("get_symbol_value", 2)
def get_symbol_value(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the value of the exported variable with a number; all variables have one type."""
    wanted = rules.expect_type(args[0], site.argument_spans[0])
    found = [
        (name, target)
        for name, (target, _) in a.instance.exports.items()
        if isinstance(target, Variable) and target.type == wanted
    ]
    if not found:
        fail(
            "export-missing",
            f"the program exports no variable of type `{wanted}`",
            site.argument_spans[0],
            help="`@get_symbol_value` gives the values of variables that are exported as such",
        )
    return _chosen(site, a, args[1], found, wanted)


@runtime_builtin("get_tensor_ptr", 1)
def get_tensor_ptr(site: Site, a: Analyzer, args: Sequence[Value]) -> Value:
    """Return the exported pointer that has a number."""
    return _chosen(site, a, args[0], _tensors(a.instance), _WORDS)


@runtime_builtin("has_exported_tensors", 0)
def has_exported_tensors(_site: Site, a: Analyzer, _args: Sequence[Value]) -> Value:
    """Tell whether some pointer is exported."""
    return boolean(bool(_tensors(a.instance)))


def _tensors(instance: Instance) -> list[tuple[str, Value]]:
    return [
        (name, target)
        for name, (target, _) in instance.exports.items()
        if not isinstance(target, FunctionValue) and isinstance(type_of(target), t.PointerType)
    ]


def _chosen(
    site: Site, a: Analyzer, wanted: Value, symbols: Sequence[tuple[str, Value]], type_: t.Type
) -> Value:
    """Return the value of the symbol with a run-time number; others stop the simulation."""
    span = site.span
    number = ir.Local("number", ScalarType.U16)
    result = a.new_local("value", type_, is_const=False).local
    message = f"no symbol has the number that `@{site.name}` gets"
    chain: tuple[ir.Statement, ...] = (ir.Trap(ir.Immediate(ScalarType.BOOL, 0), message, span),)
    for name, target in reversed(symbols):
        known = ir.Immediate(ScalarType.U16, _number(a.instance, name))
        is_it = ir.Binary(Opcode.EQUAL, ScalarType.U16, ir.ReadLocal(number), known)
        held = a.load_variable(target, span) if isinstance(target, Variable) else target
        value = a.expression(held, span)
        chain = (ir.If(is_it, (ir.SetLocal(result, value, span),), chain, span),)
    a.emit(ir.SetLocal(number, a.sized(wanted, t.U16, site.argument_spans[-1], "the number")))
    a.emit(ir.SetLocal(result, a.expression(_nothing(type_), span), span))
    for statement in chain:
        a.emit(statement)
    return Runtime(type_, ir.ReadLocal(result))


def _nothing(type_: t.Type) -> Value:
    """Return the initial value of a local before a symbol is found; it is never read."""
    if isinstance(type_, t.PointerType):
        return Runtime(type_, ir.Immediate(ScalarType.U16, 0))
    return Scalar(type_, 0)
