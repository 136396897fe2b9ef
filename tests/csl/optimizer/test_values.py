"""Code for values that a variable never has goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onewafer.csl import ir
from onewafer.csl.ir import walk
from onewafer.csl.optimizer.values import fold_values
from onewafer.image import Opcode, ScalarType
from tests.csl.codegen.interpreters import check, instance

Op, T = Opcode, ScalarType
OUT = ir.Global("out", 32, 4, T.U16, None)


def number(name: str = "n", *, first: int | None = None, **options: bool) -> ir.Global:
    data = [] if first is None else [ir.Datum(0, T.U16, first)]
    return ir.Global(name, 2, 2, T.U16, None, [*data], **options)


def imm(value: int) -> ir.Immediate:
    return ir.Immediate(T.U16, value)


def load(variable: ir.Global) -> ir.Load:
    return ir.Load(T.U16, ir.AddressOf(variable))


def store(value: int | ir.Expression, variable: ir.Global = OUT) -> ir.Store:
    held = imm(value) if isinstance(value, int) else value
    return ir.Store(T.U16, ir.AddressOf(variable), 0, held)


def when(value: ir.Expression, word: int, *then: ir.Statement) -> ir.If:
    return ir.If(ir.Binary(Op.EQUAL, T.U16, value, imm(word)), then, ())


def kept(variable: ir.Global, *body: ir.Statement, functions=()) -> list[int]:
    """Return what is still stored to `out`."""
    main = ir.Function("main", (), None, body)
    one = instance((main, *functions), (variable, OUT))
    check(one)
    folded = fold_values(one)
    inside = [s for f in folded.functions for s in walk.statements(f.body)]
    stores = [s for s in inside if isinstance(s, ir.Store)]
    return [s.value.word for s in stores if s.address.variable is OUT]


def test_a_state_that_nothing_sets_has_no_code() -> None:
    n = number(first=1)
    states = [when(load(n), i, store(10 + i)) for i in range(4)]
    assert kept(n, *states, store(3, n)) == [11, 13]


def test_a_local_has_the_values_that_it_is_set_to() -> None:
    n, x = number(first=1), ir.Local("x", T.U16)
    choice = ir.Select(T.U16, ir.Load(T.BOOL, ir.AddressOf(OUT), 8), load(n), imm(2))
    read = ir.ReadLocal(x)
    body = (ir.SetLocal(x, choice), *(when(read, i, store(10 + i)) for i in range(5)))
    assert kept(n, *body, store(3, n)) == [11, 12, 13]


def test_what_only_a_dropped_way_sets_is_not_set() -> None:
    n = number(first=0)
    body = (when(load(n), 1, store(2, n)), when(load(n), 2, store(12)), when(load(n), 0, store(10)))
    assert kept(n, *body) == [10]


def test_a_function_that_only_a_dropped_way_calls_goes() -> None:
    n = number(first=0)
    other = ir.Function("other", (), None, (store(12),))
    call = ir.Evaluate(ir.Call(other, ()))
    assert kept(n, when(load(n), 1, call), functions=(other,)) == []
    assert kept(n, when(load(n), 0, call), functions=(other,)) == [12]


@pytest.mark.parametrize("stored", [imm(1), ir.Binary(Op.ADD, T.U16, load(OUT), imm(1))])
def test_what_is_computed_may_be_anything(stored: ir.Expression) -> None:
    n = number(first=0)
    expected = [10] if isinstance(stored, ir.Immediate) else [10, 15]
    body = (when(load(n), 0, store(10)), when(load(n), 5, store(15)), store(stored, n))
    assert kept(n, *body) == expected


def test_a_variable_that_others_reach_may_have_any_value() -> None:
    seen = when(load(number()), 5, store(15))
    assert seen
    for n in (number(first=0, is_exported=True), number(is_undefined=True)):
        assert kept(n, when(load(n), 5, store(15))) == [15]
    n = number(first=0)
    pointer = ir.Store(T.U16, ir.AddressOf(OUT), 4, ir.AddressOf(n))
    main = (pointer, when(load(n), 5, store(15)))
    one = instance((ir.Function("main", (), None, main),), (n, OUT))
    assert len([*walk.statements(fold_values(one).functions[0].body)]) == 3


def test_a_comparison_that_holds_for_all_values_holds() -> None:
    n = number(first=1)
    less = ir.Binary(Op.LESS, T.U16, load(n), imm(4))
    assert kept(n, ir.If(less, (store(10),), (store(11),)), store(3, n)) == [10]
    assert kept(n, ir.If(less, (store(10),), (store(11),)), store(5, n)) == [10, 11]


def test_parameters_and_what_comes_after_an_exit() -> None:
    n, x = number(first=0), ir.Local("x", T.U16)
    other = ir.Function("other", (x,), None, (when(ir.ReadLocal(x), 5, store(15)),))
    call = ir.Evaluate(ir.Call(other, (imm(5),)))
    body = (call, when(load(n), 0, ir.Return(None)), store(16))
    assert kept(n, *body, functions=(other,)) == [15]


def test_a_parameter_has_the_values_that_calls_give_it() -> None:
    n, m = number(first=2), number("m")
    x = ir.Local("x", T.U16)
    called = ir.Function("called", (x,), None, states_of(ir.ReadLocal(x)))
    one, three, two = (ir.Evaluate(ir.Call(called, (v,))) for v in (imm(1), imm(3), load(n)))
    assert kept(n, one, three, functions=(called,)) == [11, 13]
    called.body = states_of(ir.ReadLocal(x))
    assert kept(n, one, two, functions=(called,)) == [11, 12]
    called.body = states_of(ir.ReadLocal(x))
    unknown = ir.Evaluate(ir.Call(called, (ir.Load(T.U16, ir.AddressOf(OUT), 8),)))
    assert kept(m, one, unknown, functions=(called,)) == [10, 11, 12, 13]


def test_what_is_computed_from_constants_is_one() -> None:
    """Else the body of a function that constants have come into is too large to be copied."""
    x = ir.Local("x", T.U16)
    wide = ir.Convert(T.U16, T.U32, ir.Binary(Op.ADD, T.U16, ir.ReadLocal(x), imm(3)))
    stored = ir.Store(T.U32, ir.AddressOf(OUT), 0, wide)
    called = ir.Function("called", (x,), None, (stored,))
    call = ir.Evaluate(ir.Call(called, (imm(5),)))
    main = ir.Function("main", (), None, (call, call))
    folded = fold_values(instance((main, called), (OUT,)))
    (store_,) = folded.functions[1].body
    assert isinstance(store_.value, ir.Immediate)
    assert (store_.value.type, store_.value.word) == (T.U32, 8)


def test_what_the_host_passes_may_be_anything() -> None:
    n, x = number(), ir.Local("x", T.U16)
    main = ir.Function("main", (x,), None, states_of(ir.ReadLocal(x)))
    other = ir.Function("other", (), None, (ir.Evaluate(ir.Call(main, (imm(1),))),))
    one = instance((main, other), (n, OUT))
    exported = replace(one, exports=(ir.ExportedSymbol("main", main),))
    folded = fold_values(exported)
    assert len(folded.functions[0].body) == 4


def states_of(value: ir.Expression) -> tuple[ir.Statement, ...]:
    return tuple(when(value, i, store(10 + i)) for i in range(4))
