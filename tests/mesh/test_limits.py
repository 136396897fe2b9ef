"""What an operation waits for adds up to its cycles, and each part depends on what it should."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import DataType
from onewafer.mesh import Estimator, Launch, shard, split_waits
from tests.mesh.models import llama
from tests.mesh.strategies import mlp


def waits_of(graph, width, height, *, launch=None, profile="sdk", context=None):
    machine = load_architecture("wse3", profile=profile)
    program = shard(graph, width=width, height=height, architecture=machine, context=context)
    launch = launch or program.whole_launch()
    estimate = Estimator(program, machine).estimate(launch)
    return program, estimate, split_waits(program, launch, estimate, machine)


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    position=st.integers(0, 7),
    dtype=st.sampled_from([DataType.F16, DataType.F32]),
    profile=st.sampled_from(["sdk", "silicon"]),
)
def test_waits_add_up_to_the_cycles_of_every_operation(sides, position, dtype, profile):
    graph = llama(rows=1, dtype=dtype)

    program, estimate, waits = waits_of(
        graph, *sides, launch=Launch.at(position, 1), profile=profile, context=8
    )

    assert [w.cycles for w in waits] == [cost.cycles for cost in estimate.operations]
    for operation, wait in zip(program.operations, waits, strict=True):
        is_collective = operation.kind.is_collective
        assert min(wait.instructions, wait.memory, wait.travel, wait.wavelets) >= 0
        assert (wait.instructions + wait.memory == 0) == is_collective


def test_wavelets_of_a_collective_go_one_a_cycle_and_the_rest_is_travel():
    """100 numbers: 99 more wavelets after the first; on silicon, nine cycles for eight of them."""
    graph = mlp([64, 100], dtype=DataType.F32, batch=1)

    for profile, cycles in (("sdk", 99), ("silicon", 112)):
        program, _, waits = waits_of(graph, 4, 1, profile=profile)
        wavelets = [
            wait.wavelets
            for operation, wait in zip(program.operations, waits, strict=True)
            if operation.kind.is_collective
        ]
        assert wavelets == [cycles] * len(wavelets)


def test_memory_of_a_product_is_its_elements_at_the_rate_of_the_data_path():
    """16 rows of a weight of 100 columns, two multiply-adds a cycle in f16."""
    program, _, waits = waits_of(mlp([64, 100], dtype=DataType.F16, batch=1), 4, 1)

    products = [
        wait.memory
        for operation, wait in zip(program.operations, waits, strict=True)
        if operation.kind.name.startswith("matmul")
    ]
    assert products[0] == pytest.approx(16 * 100 / 2, rel=0.1)


def test_what_is_prepared_is_done_once_whatever_the_layers():
    machine = load_architecture("wse3")
    prepared = [
        shard(llama(layers=n), width=2, height=2, architecture=machine).num_prepared for n in (1, 3)
    ]

    assert prepared[0] == prepared[1] > 0
    assert shard(mlp([8, 8]), width=2, height=2, architecture=machine).num_prepared == 0
