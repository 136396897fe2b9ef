"""Which functions are expanded: those called once, and short ones."""

from __future__ import annotations

import pytest

from onewafer.csl import ir
from onewafer.csl.optimizer.short_functions import MOST_ADDED, mark_inlined
from onewafer.image import DsdConfig, DsdDescriptor, DsdKind, DsdOperation, ScalarType, TaskKind
from tests.csl.codegen.interpreters import instance

T = ScalarType
N = ir.Global("n", 2, 2, T.U16, None)


def store(times: int = 1) -> tuple[ir.Statement, ...]:
    address = ir.AddressOf(N)
    return tuple(ir.Store(T.U16, address, 0, ir.Immediate(T.U16, i)) for i in range(times))


def call(function: ir.Function) -> ir.Statement:
    return ir.Evaluate(ir.Call(function, ()))


def function(name: str, *body: ir.Statement) -> ir.Function:
    return ir.Function(name, (), None, body)


def inlined(*functions: ir.Function, tasks: tuple[ir.TaskBinding, ...] = ()) -> list[str]:
    mark_inlined(instance(functions, (N,), tasks=tasks))
    return [f.name for f in functions if f.is_inline]


def test_a_function_that_is_called_once_is_expanded_whatever_its_size() -> None:
    long = function("long", *store(300))
    assert inlined(function("main", call(long)), long) == ["long"]


def test_a_short_function_is_expanded_at_every_call() -> None:
    short, long = function("short", *store(2)), function("long", *store(20))
    main = function("main", *(call(f) for f in (short, long) * 3))
    assert inlined(main, short, long) == ["short"]


def test_copies_stop_where_they_add_much() -> None:
    shorts = [function(f"f{i}", *store(6)) for i in range(MOST_ADDED)]
    main = function("main", *(call(f) for f in shorts * 2))
    assert 0 < len(inlined(main, *shorts)) < MOST_ADDED // 4


def test_the_size_of_a_function_is_with_what_is_expanded_in_it() -> None:
    leaf = function("leaf", *store(4))
    inner = function("inner", call(leaf), call(leaf), call(leaf))
    main = function("main", call(inner), call(inner))
    assert inlined(main, inner, leaf) == ["leaf"]


def test_functions_that_call_themselves_stay() -> None:
    first, second = function("first"), function("second")
    first.body, second.body = (call(second),), (call(first),)
    own = function("own")
    own.body = (call(own),)
    assert inlined(function("main", call(first), call(own)), first, second, own) == []


def test_a_task_that_is_called_stays_for_the_hardware() -> None:
    long, short = function("long", *store(300)), function("short", *store())
    tasks = tuple(ir.TaskBinding(TaskKind.LOCAL, 9 + i, f) for i, f in enumerate((long, short)))
    assert inlined(function("main", call(long), call(short)), long, short, tasks=tasks) == ["short"]


@pytest.mark.parametrize("is_asynchronous", [True, False])
def test_what_starts_an_asynchronous_operation_is_not_copied(*, is_asynchronous: bool) -> None:
    one, step = ir.Immediate(T.U16, 1), ir.Immediate(T.I16, 1)
    vector = ir.Vector(ir.MakeDsd(DsdDescriptor(DsdKind.MEM1D), ir.AddressOf(N), one, step))
    config = DsdConfig(microthread=2, priority=0) if is_asynchronous else None
    operation = ir.DsdStatement(
        DsdOperation.MOV16, vector, None, vector, scalar=None, config=config
    )
    start = function("start", operation)
    assert inlined(function("main", call(start), call(start)), start) == (
        [] if is_asynchronous else ["start"]
    )
