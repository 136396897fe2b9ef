"""Who calls whom: where frames lie, and calls that cannot be compiled."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.csl import ir
from onewafer.csl.codegen import generate
from onewafer.csl.codegen.call_graph import place_frames
from onewafer.csl.ir import walk
from onewafer.csl.ir.components import find_components
from onewafer.diagnostics import DiagnosticSink
from onewafer.image import ScalarType
from tests.csl.codegen.interpreters import ARCHITECTURE, instance

NOTHING = ir.UnblockCommandStream()
FALSE = ir.Immediate(ScalarType.BOOL, 0)
ONE = ir.Immediate(ScalarType.U32, 1)


def is_jump(statement: ir.Statement) -> bool:
    return isinstance(statement, ir.TailCall)


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
    assert findings(first, second) == [("recursive-call", "`f1` calls itself: `f1` → `f0` → `f1`")]


def test_functions_that_jump_to_one_another_lie_in_one_place() -> None:
    """A chain of calls through them counts them once, and what they call lies behind them."""
    functions = chain(5)
    _, second, third, fourth, last = functions
    n = ir.Local("n", ScalarType.U16)
    third.parameters = (n,)
    second.body = (ir.Evaluate(ir.Call(third, (ir.Immediate(ScalarType.U16, 1),))),)
    third.body = (ir.Evaluate(ir.Call(fourth, ())),)
    fourth.body = (ir.Evaluate(ir.Call(last, ())), ir.Evaluate(ir.Call(second, ())))
    sink = DiagnosticSink()
    objects = generate(instance(functions), ARCHITECTURE, uses_memcpy=True, sink=sink)
    frames = place_frames(objects, sink)
    assert not sink.diagnostics
    assert frames[second] == frames[third] == frames[fourth]
    sizes = {f.function: f.num_slots for f in objects.functions}
    assert frames[last] == frames[fourth] + sizes[fourth]


def test_a_frame_lies_behind_what_its_caller_still_needs() -> None:
    caller, callee = chain(2)
    early, late = (ir.Local(name, ScalarType.U32) for name in ("early", "late"))
    set_early, set_late = ir.SetLocal(early, ONE), ir.SetLocal(late, ir.ReadLocal(early))
    assert isinstance(caller.body[0], ir.Evaluate)

    def distance(*body: ir.Statement) -> int:
        caller.body = body
        objects = generate(
            instance((caller, callee)), ARCHITECTURE, uses_memcpy=True, sink=DiagnosticSink()
        )
        frames = place_frames(objects, DiagnosticSink())
        return frames[callee] - frames[caller]

    call = caller.body[0]
    inside = ir.Labelled((set_early, set_late))
    assert distance(inside, call) == 0
    assert distance(ir.Labelled((set_early, call, set_late))) == 2


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_components_are_those_that_reach_one_another_callers_first(edges) -> None:
    functions = [ir.Function(f"f{i}", (), None) for i in range(8)]
    callees = {f: tuple(functions[b] for a, b in edges if functions[a] is f) for f in functions}
    reached = {f: {f} for f in functions}
    for _ in functions:
        for f in functions:
            reached[f] |= {other for callee in callees[f] for other in reached[callee]}
    components = find_components(callees)
    assert sorted(f.name for c in components for f in c) == [f.name for f in functions]
    place = {f: i for i, component in enumerate(components) for f in component}
    for f in functions:
        for other in functions:
            is_mutual = other in reached[f] and f in reached[other]
            assert (place[f] == place[other]) == is_mutual
            assert place[f] <= place[other] or other not in reached[f]


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
    jumps = [s for f in (first, second) for s in walk.statements(f.body) if is_jump(s)]
    assert [jump.call.function for jump in jumps] == [second, first, second]


@pytest.mark.parametrize("place", ["loop", "result", "before", "argument", "memory"])
def test_what_keeps_a_frame_alive_is_refused(place: str) -> None:
    """One such call is enough, whatever the others are."""
    first, second = chain(2)
    local = ir.Global("second.x", 4, 4, ScalarType.U32, None, is_local=True)
    shared = ir.Global("x", 2, 2, ScalarType.U16, None)
    stores = ir.Store(ScalarType.U16, ir.AddressOf(shared), 0, ir.AddressOf(local))
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
