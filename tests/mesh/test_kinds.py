"""Kinds of steps, and the state machine that has an arm for each that a program needs."""

from __future__ import annotations

import pytest

from onewafer.mesh.attention import ReduceScores
from onewafer.mesh.elementwise import Add, Relu
from onewafer.mesh.families import COST_CASES
from onewafer.mesh.kinds import CONTROL_KINDS
from onewafer.mesh.state_machine import write_state_machine

OPERATIONS = [case.build(case.grid[0]) for case in COST_CASES]
ALL_KINDS = sorted({operation.kind for operation in OPERATIONS} | CONTROL_KINDS)


def test_no_two_kinds_share_a_number_or_a_name():
    classes = {type(operation) for operation in OPERATIONS}
    kinds = [*CONTROL_KINDS, *(kind for cls in classes for kind in cls.kinds)]
    for names in ([kind.number for kind in kinds], [kind.name for kind in kinds]):
        assert len(set(names)) == len(names)


def test_every_kind_has_one_sample():
    kinds = [operation.kind for operation in OPERATIONS]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == {kind for operation in OPERATIONS for kind in operation.kinds}


def test_kinds_that_begin_alike_are_neighbours():
    """So that the state machine has one arm for all of them."""
    begins = [kind.beginning for kind in ALL_KINDS]
    runs = [one for one, before in zip(begins, [None, *begins], strict=False) if one is not before]
    named = [run for run in runs if run is not None]
    assert len(set(named)) == len(named)


def test_a_state_machine_has_the_arms_and_kernels_of_its_kinds_only():
    text = write_state_machine({*Relu.kinds, *CONTROL_KINDS})
    assert 'const relu = @import_module("relu.csl", .{ .element = element });' in text
    assert "relu.run(activation(result, n), activation(left, n));" in text
    assert "const kinds = [3]u16{\n  kind_relu, kind_repeat, kind_stop\n};" in text
    for absent in ("functions.csl", "matmul", "kind_add"):
        assert absent not in text


@pytest.mark.parametrize("place", ["kinds", "kernels", "functions", "arms"])
def test_every_place_is_filled(place):
    assert f"// <{place}>" not in write_state_machine(ALL_KINDS)


def test_a_kind_may_change_what_the_tasks_know():
    flag = "const may_send_nothing_y = {};"
    assert flag.format("false") in write_state_machine({*Add.kinds, *CONTROL_KINDS})
    assert flag.format("true") in write_state_machine({ReduceScores.kinds[1], *CONTROL_KINDS})
