"""Calls that cannot be compiled."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onewafer.csl import ir, walk
from onewafer.csl.codegen import generate
from onewafer.csl.codegen.call_graph import place_frames
from onewafer.diagnostics import DiagnosticSink
from onewafer.image import ScalarType
from tests.csl.codegen.interpreters import ARCHITECTURE, instance

NOTHING = ir.UnblockCommandStream()
FALSE = ir.Immediate(ScalarType.BOOL, 0)
ONE = ir.Immediate(ScalarType.U32, 1)


def is_call(statement: ir.Statement) -> bool:
    return isinstance(statement, ir.Evaluate)


def findings(*functions: ir.Function) -> list[tuple[str, str]]:
    sink = DiagnosticSink()
    objects = generate(instance(functions), ARCHITECTURE, uses_memcpy=True, sink=sink)
    place_frames(objects, sink)
    return [(d.code, d.message) for d in sink.diagnostics]


def chain(length: int) -> list[ir.Function]:
    functions = [ir.Function(f"f{i}", (), None) for i in range(length)]
    for caller, callee in pairwise(functions):
        caller.body = (ir.Evaluate(ir.Call(callee, ())),)
    return functions


def test_recursion_is_reported_with_the_whole_cycle() -> None:
    first, second = chain(2)
    second.body = (ir.Evaluate(ir.Call(first, ())), NOTHING)
    assert findings(first, second) == [("recursive-call", "`f0` calls itself: `f0` → `f1` → `f0`")]


def test_the_return_stack_bounds_the_depth_of_calls() -> None:
    assert findings(*chain(33)) == []
    ((code, message),) = findings(*chain(34))
    assert code == "calls-too-deep"
    assert "`f33` is 33 calls deep" in message


def calls(*callees: ir.Function) -> tuple[ir.Statement, ...]:
    return tuple(ir.Evaluate(ir.Call(callee, ())) for callee in callees)


def test_functions_may_call_each_other_last() -> None:
    first, second = chain(2)
    second.body = (ir.If(FALSE, calls(first), (*calls(second), ir.Return(None))),)
    assert findings(first, second) == []
    assert [s.is_jump for f in (first, second) for s in walk.statements(f.body) if is_call(s)] == [
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("place", ["loop", "result", "before", "argument", "memory"])
def test_what_keeps_a_frame_alive_is_refused(place: str) -> None:
    """One such call is enough, whatever the others are."""
    first, second = chain(2)
    local = ir.Global("second.x", 4, 4, ScalarType.U32, None, is_local=True)
    stores = ir.Store(ScalarType.U32, ir.AddressOf(local), 0, ir.Immediate(ScalarType.U32, 1))
    match place:
        case "loop":
            second.body = (ir.Loop(FALSE, calls(first), ()),)
        case "before":
            second.body = (*calls(first), *calls(first))
        case "memory":
            second.body = (stores, *calls(first))
        case "argument":
            number = ir.Function("number", (), ScalarType.U32, (ir.Return(ONE), *calls(first)))
            taking = ir.Function("taking", (ir.Local("x", ScalarType.U32),), None)
            second.body = (ir.Evaluate(ir.Call(taking, (ir.Call(number, ()),))),)
            assert findings(first, second, number, taking)[0][0] == "recursive-call"
            return
        case _:
            second.result = ScalarType.U32
            second.body = (*calls(first), ir.Return(ONE))
    assert [code for code, _ in findings(first, second)] == ["recursive-call"]


def test_frames_of_such_functions_lie_behind_those_of_all_callers() -> None:
    """Whoever calls one of them waits for all of them."""
    first, second = chain(2)
    second.body = calls(first)
    caller = ir.Function("caller", tuple(ir.Local(f"p{i}", ScalarType.U32) for i in range(5)), None)
    caller.body = (*calls(second), NOTHING)
    sink = DiagnosticSink()
    functions = (caller, first, second)
    objects = generate(instance(functions), ARCHITECTURE, uses_memcpy=True, sink=sink)
    frames = place_frames(objects, sink)
    slots = {f.function: f.num_slots for f in objects.functions}
    assert not sink.diagnostics
    assert min(frames[first], frames[second]) >= frames[caller] + slots[caller]


def test_a_jump_does_not_make_calls_deeper() -> None:
    functions = chain(34)
    functions[-1].body = calls(functions[20])
    assert findings(*functions) == []
