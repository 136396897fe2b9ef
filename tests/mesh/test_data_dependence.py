"""Cycles depend on values in the operations that say so, and in no others."""

from __future__ import annotations

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.mesh import Launch, shard
from onewafer.mesh.operation import DataDependence
from tests.mesh.fabric import run_launches
from tests.mesh.models import bert, llama
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (mlp([6, 5, 3]), ()),
        (bert(), (DataDependence.TOKENS, DataDependence.SPECIAL_VALUES)),
    ],
)
def test_a_program_names_the_values_that_its_cycles_depend_on(graph, expected):
    assert shard(graph, width=2, height=2, architecture=WSE3).depends_on == expected


def cycles_of(program, parameters, several_inputs):
    launches = [(inputs, program.whole_launch()) for inputs in several_inputs]
    return [run.cycles for run in run_launches(program, WSE3, parameters, launches)]


def test_other_values_take_as_long():
    program = shard(mlp([6, 5, 3]), width=2, height=2, architecture=WSE3)
    weights = random_arrays(program.graph.parameters, 1)
    values = [{"x": np.full((1, 6), value, np.float32)} for value in (0, 1.5, -np.inf, np.nan)]
    assert len({*cycles_of(program, weights, values)}) == 1


def test_other_tokens_do_not():
    graph = llama()
    program = shard(graph, width=2, height=2, architecture=WSE3)
    weights = random_arrays(graph.parameters, 1)
    rows = graph.inputs[0].shape[0]
    tokens = [{graph.inputs[0].name: np.full((rows, 1), token, np.int32)} for token in (0, 10)]
    launches = [(ids, Launch.at(0, rows)) for ids in tokens]
    one, other = (run.cycles for run in run_launches(program, WSE3, weights, launches))
    assert one != other
    assert abs(one - other) < 0.01 * one
