"""Local tasks whose ids only run time knows: there are few, so they are compared one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl import ir
from onewafer.csl.sema import types as t
from onewafer.csl.sema.faults import fail
from onewafer.csl.sema.values import Runtime, Scalar, Struct, Value
from onewafer.image import Opcode, ScalarType, TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.csl.sema.runtime.analyzer import Analyzer
    from onewafer.diagnostics import Span

Statements = tuple[ir.Statement, ...]
_ACTIONS = ("activate", "unblock")
"""Settings of an operation, and of its `.on_control`, that may be ids of run time."""
_ON_CONTROL = "on_control"


def to_one_of(
    a: Analyzer, value: Runtime, user: str, span: Span, effect: Callable[[int], Statements]
) -> Statements:
    """Return what does something to the task of a run-time id; `user` is who got the id."""
    bound = sorted(n for kind, n in a.instance.bindings if kind is TaskKind.LOCAL)
    if not bound:
        fail(
            "unbound-task",
            "the program binds no local task, so that there is none with this id",
            span,
            help="add `@bind_local_task(task, id);` to a `comptime` block",
        )
    number = ir.Local("task", ScalarType.U16)
    message = f"no local task is bound to the id that {user} gets ({span})"
    chain: Statements = (ir.Trap(ir.Immediate(ScalarType.BOOL, 0), message, span),)
    for task_id in reversed(bound):
        known = ir.Immediate(ScalarType.U16, task_id)
        is_it = ir.Binary(Opcode.EQUAL, ScalarType.U16, ir.ReadLocal(number), known)
        chain = (ir.If(is_it, effect(task_id), chain, span),)
    return ir.SetLocal(number, value.expression, span), *chain


def with_known_ids(
    a: Analyzer, settings: Value, user: str, span: Span, make: Callable[[Value], Statements]
) -> Statements:
    """Return what `make` makes of the settings of an operation, for each task that may be meant."""
    found = _find_unknown(settings)
    if found is None:
        return make(settings)
    path, value = found

    def effect(task_id: int) -> Statements:
        known = _replaced(settings, path, Scalar(t.LOCAL_TASK_ID, task_id))
        return with_known_ids(a, known, user, span, make)

    return to_one_of(a, value, user, span, effect)


def _find_unknown(settings: Value) -> tuple[Sequence[str], Runtime] | None:
    """Return where settings have an id of run time, and the id."""
    for name, value in _items(settings):
        match value:
            case Runtime(t.LOCAL_TASK_ID) if name in _ACTIONS:
                return (name,), value
            case Struct() if name == _ON_CONTROL:
                for inner, action in _items(value):
                    if isinstance(action, Runtime) and action.type is t.LOCAL_TASK_ID:
                        return (name, inner), action
            case _:
                pass
    return None


def _items(value: Value) -> Sequence[tuple[str, Value]]:
    if isinstance(value, Struct) and value.names is not None:
        return tuple(value.items())
    return ()


def _replaced(settings: Value, path: Sequence[str], new: Value) -> Value:
    """Return settings with another value at a path."""
    if not path:
        return new
    items = [
        (name, _replaced(value, path[1:], new) if name == path[0] else value)
        for name, value in _items(settings)
    ]
    return Struct(tuple(name for name, _ in items), tuple(value for _, value in items))
