"""Programs of several entries: each does a part of the operations, on the memory of all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onewafer.arch import load_architecture
from onewafer.errors import HostError
from onewafer.mesh import emit, estimate, evaluate, shard
from onewafer.mesh.blocks import Launch, Role
from onewafer.mesh.kinds import STOP
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.schedule import build_schedule, first_words, schedule_parts
from tests.mesh.fabric import run_launches
from tests.mesh.strategies import assert_same_bits, mlp, random_arrays

WSE3 = load_architecture("wse3")
FIRST = Launch.at(0, 0)
SECOND, THIRD = replace(FIRST, entry="second"), replace(FIRST, entry="third")


@pytest.fixture
def whole():
    return shard(mlp([7, 9, 5], batch=3), width=3, height=2, architecture=WSE3)


@pytest.fixture
def cut(whole):
    """Cut the program before its second product."""
    entries = {Role.INPUT: ("infer",), Role.OUTPUT: ("second",)}
    placements = [replace(each, entries=entries.get(each.role, ())) for each in whole.placements]
    end = whole.sources.index(3)
    return replace(
        whole,
        placements=(*placements,),
        entries=("infer", "second"),
        ends=(end, len(whole.operations)),
    )


def test_entries_one_after_the_other_give_what_one_gives(whole, cut):
    inputs, parameters = random_arrays(cut.graph.inputs, 1), random_arrays(cut.graph.parameters, 2)
    expected = evaluate(whole, inputs, parameters)
    evaluator = MeshEvaluator(cut, parameters)
    assert evaluator.run(inputs, FIRST) == {}
    runs = run_launches(cut, WSE3, parameters, [(inputs, FIRST), ({}, SECOND)])
    assert runs[0].outputs == {}
    for found in (evaluator.run({}, SECOND), runs[1].outputs):
        for name, value in expected.items():
            assert_same_bits(found[name], value)
    for run, launch in zip(runs, (FIRST, SECOND), strict=True):
        cycles = estimate(cut, WSE3, launch).cycles
        assert abs(cycles - run.cycles) <= max(0.1 * run.cycles, 100)


def test_the_schedule_has_all_entries_one_after_the_other(cut):
    parts = schedule_parts(cut)
    assert build_schedule(cut) == (*parts["infer"], *parts["second"])
    assert [part[-1].kind for part in parts.values()] == [STOP, STOP]
    words = sum(len(entry.words) for entry in parts["infer"])
    assert first_words(cut) == {"infer": 0, "second": words}
    assert f"entry = {words};" in emit(cut, WSE3).files["pe.csl"]


def test_an_entry_that_there_is_not_is_named(cut):
    with pytest.raises(HostError, match="has no entry 'third'; it has infer, second"):
        MeshEvaluator(cut, random_arrays(cut.graph.parameters, 2)).run({}, THIRD)
