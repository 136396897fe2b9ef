"""Evaluation from left to right: an operand keeps the value it had before later operands.

A run-time value is an expression, evaluated where it is used; statements that a later operand emits
(a block, a choice between blocks, a call that returns a struct) run earlier. An expression that
these statements change is therefore computed into a local before them; all others stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.sema import types as t
from onewafer.csl.sema.runtime import dispatch, stores
from onewafer.csl.sema.runtime.temporaries import once
from onewafer.csl.sema.values import (
    Array,
    Pointer,
    Range,
    Runtime,
    Struct,
    Value,
    Variable,
    is_comptime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.instance.analyzer import Analyzer
    from onewafer.csl.syntax import ast
    from onewafer.diagnostics import Span

    Evaluate = Callable[[Analyzer, ast.Expression], Value]


def in_order(
    a: Analyzer, nodes: Sequence[ast.Expression], evaluate: Evaluate | None = None
) -> list[Value]:
    """Evaluate expressions in order; return each value as it is before the next is evaluated."""
    evaluate = evaluate or dispatch.evaluate
    values: list[Value] = []
    marks: list[int] = []
    for node in nodes:
        values.append(evaluate(a, node))
        marks.append(here(a))
    if not marks or marks[0] == marks[-1]:
        return values
    # Backwards, so that inserted statements leave the earlier marks valid.
    for i in reversed(range(len(values))):
        values[i] = before(a, marks[i], values[i], nodes[i].span)
    return values


def here(a: Analyzer) -> int:
    """Return the current position in the emitted code, for `before`."""
    return len(a.blocks[-1])


def before(a: Analyzer, mark: int, value: Value, span: Span) -> Value:
    """Return `value` as it was at `mark`, kept in a local if later statements change it."""
    emitted = a.blocks[-1][mark:]
    if not emitted:
        return value
    a.blocks.append([])
    try:
        kept = _Keeper(a, span, _effects(emitted)).keep("operand", value)
    finally:
        copies = a.blocks.pop()
        a.blocks[-1][mark:mark] = copies
    return kept


def settled(a: Analyzer, name: str, value: Value, span: Span) -> Value:
    """Emit the computation of all run-time parts of a value into locals and return the value."""
    return _Keeper(a, span, None).keep(name, value)


def called(a: Analyzer, name: str, value: Value, span: Span) -> Value:
    """Return a value of which parts may be left unused; calls in it are emitted here."""
    return settled(a, name, value, span) if _has_effect(value) else value


def stored(
    a: Analyzer, name: str, value: Value, type_: t.ArrayType | t.StructType, span: Span
) -> Variable:
    """Copy an array or a struct into a new variable and return it."""
    copy = a.new_variable(name, type_, span, is_const=True)
    stores.store_value(a, Pointer(t.PointerType(type_), copy), type_, value, span)
    return copy


def discard(a: Analyzer, value: Value, span: Span) -> None:
    """Emit the calls in a value that is not used."""
    match value:
        case Runtime(_, ir.Call() as call):
            a.emit(ir.Evaluate(call, span))
        case _:
            called(a, "_", value, span)


def _has_effect(value: Value) -> bool:
    match value:
        case Runtime(_, expression):
            return walk.has_effect(expression)
        case Struct(_, parts) | Array(_, parts):
            return any(map(_has_effect, parts))
        case Range(_, start, stop, step):
            return any(map(_has_effect, (start, stop, step)))
        case _:
            return False


def apart(a: Analyzer, value: Value, type_: t.Type, span: Span) -> Value:
    """Return a value to be stored part by part in a target that it may read itself.

    Its parts are then computed before the first one is stored.
    """
    match value:
        case Array(_, [one]) if not isinstance(one, Struct):
            return value
        case Array() | Struct() if not stores.is_copy(value, type_) and _depends_on_memory(value):
            return settled(a, "part", value, span)
        case _:
            return value


def _depends_on_memory(value: Value) -> bool:
    match value:
        case Runtime(_, expression):
            return walk.depends_on_memory(expression)
        case Struct(_, parts) | Array(_, parts):
            return any(map(_depends_on_memory, parts))
        case _:
            return isinstance(value, Variable)


def ahead(
    a: Analyzer, first: ir.Expression, second: ir.Expression, type_: t.Type, span: Span
) -> ir.Expression:
    """Return `first` for evaluation after `second`, kept in a local unless they commute."""
    return first if walk.commute(first, second) else once(a, "operand", first, type_, span)


@dataclass(frozen=True, slots=True)
class _Effects:
    """The effects of statements on expressions that are evaluated after them."""

    locals: frozenset[ir.Local]
    """Locals that they set."""
    write_memory: bool
    meet_calls: bool
    """They have or see effects that a call could have, so that calls may not move past them."""

    def disturb(self, expression: ir.Expression) -> bool:
        """Tell whether an expression has another value or effect after the statements."""
        for node in walk.expressions(expression):
            match node:
                case ir.ReadLocal(local=local) if local in self.locals:
                    return True
                case ir.Load() if self.write_memory:
                    return True
                case ir.Call() | ir.Load(is_volatile=True) if self.meet_calls:
                    return True
                case _:
                    pass
        return False


def _effects(emitted: Sequence[ir.Statement]) -> _Effects:
    locals_: set[ir.Local] = set()
    write_memory = meet_calls = False
    for statement in walk.statements(tuple(emitted)):
        roots = walk.roots(statement)
        write_memory |= any(map(walk.has_effect, roots))
        meet_calls |= any(map(walk.depends_on_memory, roots))
        match statement:
            case ir.SetLocal(local=local):
                locals_.add(local)
            case ir.Map(streams=streams):
                locals_.update(stream.local for stream in streams)
                write_memory = True
            case ir.DsdStatement(result=ir.Local() as result):
                locals_.add(result)
                write_memory = True
            case ir.Store() | ir.DsdStatement() | ir.Timestamp():
                write_memory = True
            case ir.Evaluate() | ir.If() | ir.Loop() | ir.Labelled():
                pass
            case _:
                meet_calls = True
    return _Effects(frozenset(locals_), write_memory, write_memory or meet_calls)


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Copies the parts of values that `effects` change, or all parts, to locals."""

    a: Analyzer
    span: Span
    effects: _Effects | None

    def keep(self, name: str, value: Value) -> Value:
        """Return a value that later statements do not change."""
        match value:
            case Runtime(type_, expression):
                return self._runtime(name, value) if self._is_kept(type_, expression) else value
            case Struct(names, fields):
                labels = names if names is not None else map(str, range(len(fields)))
                kept = tuple(
                    self.keep(f"{name}.{label}", f)
                    for label, f in zip(labels, fields, strict=False)
                )
                is_same = all(a is b for a, b in zip(kept, fields, strict=True))
                return value if is_same else value.with_fields(kept)
            case Array(type_, elements) if not is_comptime(value):
                return Array(type_, self._elements(name, elements))
            case Range(type_, start, stop, step):
                bounds = [self.keep(name, bound) for bound in (start, stop, step)]
                return Range(type_, *bounds)
            case Variable(is_const=True, at=None, initial=Array()):
                return value
            case Variable(type=t.ArrayType() as type_):
                is_overwritten = self._is_overwritten(value)
                return stored(self.a, name, value, type_, self.span) if is_overwritten else value
            case Variable() if self._is_overwritten(value):
                return self.keep(name, self.a.load_variable(value, self.span))
            case _:
                return value

    def _is_overwritten(self, variable: Variable) -> bool:
        """Tell whether the statements may change a variable or the address of it."""
        if self.effects is None or self.effects.write_memory:
            return True
        at = variable.at
        return isinstance(at, Runtime) and self.effects.disturb(at.expression)

    def _is_kept(self, type_: t.Type, expression: ir.Expression) -> bool:
        if type_ is t.VOID:
            return False
        return self.effects is None or self.effects.disturb(expression)

    def _runtime(self, name: str, value: Runtime) -> Runtime:
        kept = once(self.a, name, value.expression, value.type, self.span)
        return Runtime(value.type, kept, value.descriptor)

    def _elements(self, name: str, elements: Sequence[Value]) -> list[Value]:
        """Keep the elements of an array; an element that is repeated is computed once."""
        kept: dict[int, Value] = {}
        for element in elements:
            if id(element) not in kept:
                kept[id(element)] = self.keep(name, element)
        return [kept[id(element)] for element in elements]
