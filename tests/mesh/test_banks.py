"""Where blocks lie in the banks of memory: M13."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import FLOATING, DataType
from onewafer.mesh import Axis, Matmul, estimate, shard
from onewafer.mesh.banks import bank, period, row_banks
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.elementwise import Add, AddBias
from tests.graph.strategies import graphs
from tests.mesh.fabric import run_on_fabric
from tests.mesh.strategies import mlp, random_arrays, turned_input

WSE2 = load_architecture("wse2")
F16, F32 = DataType.F16, DataType.F32


def with_factor(factor):
    return replace(WSE2, timing=replace(WSE2.timing, bank_conflict_factor=Fraction(factor)))


def activation(offset, rows, columns):
    return Block(Arena.ACTIVATIONS, offset, rows, columns)


def conflicts(graph, width=2, height=2):
    program = shard(graph, width=width, height=height, architecture=WSE2)
    return sum(count(operation, program) for operation in program.operations)


def count(operation, program):
    return operation.conflicts(program, program.whole_launch()).count


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("is_residual", [False, True])
def test_rows_of_whole_periods_never_conflict(dtype, is_residual):
    side = 4 * period(dtype)
    graph = mlp([side] * 4, batch=3, dtype=dtype, is_residual=is_residual)
    assert conflicts(graph) == 0


@pytest.mark.parametrize("columns", [2, 4, 6, 10])
def test_rows_of_an_even_number_of_f32_never_conflict(columns):
    assert conflicts(mlp([2 * columns] * 4, batch=3)) == 0


@pytest.mark.parametrize("dtype", FLOATING)
def test_a_turned_operand_gets_other_banks(dtype):
    assert conflicts(turned_input(16 * period(dtype), dtype=dtype)) == 0


def program_of(dtype):
    return shard(mlp([4, 4], dtype=dtype), width=1, height=1, architecture=WSE2)


def test_an_operand_added_to_itself_conflicts():
    block = activation(4, 1, 8)
    assert count(Add(activation(12, 1, 8), block, block), program_of(F32)) == 1


def test_rows_are_counted_one_by_one():
    """Rows of 3 words begin in every bank: of 16 pairs, 4 conflict."""
    weight = Block(Arena.PARAMETERS, 0, 4, 3)
    matmul = Matmul(activation(1, 4, 3), activation(20, 4, 4), weight, Axis.X, 3)
    assert count(matmul, program_of(F32)) == 4
    assert count(matmul, program_of(F16)) == 0
    bias = Block(Arena.PARAMETERS, 12, 1, 3)
    add_bias = AddBias(activation(1, 4, 3), activation(1, 4, 3), bias)
    assert count(add_bias, program_of(F32)) == 1


@settings(max_examples=6)
@given(graphs(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
@pytest.mark.slow
def test_the_cost_model_adds_what_the_fabric_adds(graph, width, height, seed):
    """Two factors apart, everything but the conflicts is the same."""
    program = shard(graph, width=width, height=height, architecture=WSE2)
    inputs, parameters = random_arrays(graph.inputs, seed), random_arrays(graph.parameters, seed)
    machines = with_factor(1), with_factor(5)
    runs = [
        run_on_fabric(program, machine, inputs, parameters, engine="reference")
        for machine in machines
    ]
    costs = [estimate(program, machine).cycles for machine in machines]
    added, predicted = runs[1].cycles - runs[0].cycles, costs[1] - costs[0]
    assert abs(added - predicted) <= max(0.1 * predicted, 20)


@given(
    block=st.builds(activation, st.integers(0, 20), st.integers(1, 40), st.integers(1, 20)),
    dtype=st.sampled_from(sorted(FLOATING)),
    share=st.floats(0, 1),
)
def test_rows_begin_where_each_of_them_does(block, dtype, share):
    num_rows = round(share * block.rows)
    banks = [bank(block.offset + row * block.columns, dtype) for row in range(num_rows)]

    counts = row_banks(block, num_rows, dtype)

    assert [counts[index] for index in range(4)] == [banks.count(index) for index in range(4)]
