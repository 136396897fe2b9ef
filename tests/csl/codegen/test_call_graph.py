"""Calls that cannot be compiled."""

from __future__ import annotations

from itertools import pairwise

from onewafer.csl import ir
from onewafer.csl.codegen import generate
from onewafer.csl.codegen.call_graph import place_frames
from onewafer.diagnostics import DiagnosticSink
from tests.csl.codegen.interpreters import ARCHITECTURE, instance


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
    second.body = (ir.Evaluate(ir.Call(first, ())),)
    assert findings(first, second) == [("recursive-call", "`f0` calls itself: `f0` → `f1` → `f0`")]


def test_the_return_stack_bounds_the_depth_of_calls() -> None:
    assert findings(*chain(33)) == []
    ((code, message),) = findings(*chain(34))
    assert code == "calls-too-deep"
    assert "`f33` is 33 calls deep" in message
