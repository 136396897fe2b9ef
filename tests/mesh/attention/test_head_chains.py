"""Scores go along the PEs of their own head: `head_chain.csl` and its readers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.graph import FLOATING, DataType
from onewafer.mesh import Axis, Launch, MeshEvaluator, estimate, shard
from onewafer.mesh.attention import BroadcastScores, ReduceScores
from onewafer.mesh.chains import Chains
from tests.mesh.fabric import run_launches
from tests.mesh.models import VOCABULARY, bert, llama
from tests.mesh.strategies import assert_same_bits, random_arrays

ARCHITECTURES = {name: load_architecture(name) for name in ("wse2", "wse3")}
WSE3 = ARCHITECTURES["wse3"]
OF_HEADS = {ReduceScores.kinds[2], BroadcastScores.kinds[2]}
TWO_HEADS = {"features": 32, "heads": 4, "kv_heads": 2, "rows": 3, "layers": 1}
"""Heads of 8 features: on 8 PEs along the axis of the features, 4 PEs have one head."""


def kinds(program):
    return {operation.kind for operation in program.operations}


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 9), st.data())
def test_a_root_is_the_pe_of_its_head_next_to_the_middle(num_pes, num_heads, behind, data):
    size = num_pes * num_heads + behind
    middle = data.draw(st.integers(0, size - 1))
    chains = Chains(size, middle, head_pes=num_pes, num_heads=num_heads)
    roots = chains.roots(of_heads=True)
    for place, root in enumerate(roots.tolist()):
        if place >= num_pes * num_heads:
            assert root == place
            continue
        members = range(place // num_pes * num_pes, (place // num_pes + 1) * num_pes)
        assert root == min(members, key=lambda member: abs(member - middle))


PLACES = [
    *((0, 0, "wse3"), (2, 0, "wse2"), (3, 0, "wse3"), (4, 0, "wse3"), (8, 0, "wse3")),
    *((0, 2, "wse3"), (2, 3, "wse2"), (5, 2, "wse3"), (8, 3, "wse3")),
]
"""Middle, section, and the machine."""
QUICK = [(3, 1), (6, 0)]
"""Places and dtypes of quick tests: heads before, around and behind the middle, both machines."""
TURNS = [
    pytest.param(*place, dtype, marks=[] if (i, j) in QUICK else pytest.mark.slow)
    for i, place in enumerate(PLACES)
    for j, dtype in enumerate(FLOATING)
]


@pytest.mark.parametrize(("middle", "section", "architecture", "dtype"), TURNS)
@pytest.mark.alternate(4)
def test_chains_end_where_a_head_is_next_to_the_middle(middle, section, architecture, dtype):
    """In front of the middle, around it, behind it; PE 8 along the axis has no head."""
    machine = ARCHITECTURES[architecture]
    graph = llama(dtype=dtype, **TWO_HEADS)
    program = shard(graph, width=2, height=9, architecture=machine)
    if program.heads is None or program.heads.axis is not Axis.Y:
        program = shard(graph, width=9, height=2, architecture=machine)
    assert program.heads is not None
    assert (program.heads.num_pes, program.heads.num_heads) == (4, 2)
    axis = program.heads.axis
    program = replace(program, **{f"middle_{axis}": middle, f"section_{axis}": section})
    parameters = random_arrays(graph.parameters, 0)
    parameters = {name: np.float32(0.4) * array for name, array in parameters.items()}
    generator, launches = (
        np.random.default_rng(middle),
        (Launch.at(0, 3), Launch.at(3, 1), Launch.at(4, 1)),
    )
    steps = [({"ids": generator.integers(0, VOCABULARY, (3, 1), np.int32)}, at) for at in launches]
    reader = MeshEvaluator(program, parameters)
    runs = run_launches(program, machine, parameters, steps)
    for run, (inputs, launch) in zip(runs, steps, strict=True):
        (expected,) = reader.run(inputs, launch).values()
        assert_same_bits(next(iter(run.outputs.values())), expected)
        cycles = estimate(program, machine, launch).cycles
        # The closed form leaves out waits of short operations for results (M152), 0.8 % here.
        assert abs(cycles - run.cycles) <= max(0.04 * run.cycles, 200)


def test_scores_of_other_heads_take_no_room_and_no_time():
    graph = llama(dtype=DataType.F16, positions=64, **TWO_HEADS)
    apart = shard(graph, width=8, height=8, architecture=WSE3)
    across = shard(graph, width=3, height=3, architecture=WSE3)  # blocks with parts of two heads
    assert kinds(apart) >= OF_HEADS
    assert not kinds(across) & OF_HEADS
    (reduce,) = (item for item in apart.operations if item.kind is ReduceScores.kinds[2])
    words = reduce.traffic(apart, Launch.at(63, 1)).words
    assert words.max() == 2 * 64 // 8  # the two query heads of a key head, and the slots of a PE


def test_pes_with_whole_heads_exchange_no_scores():
    program = shard(llama(**TWO_HEADS), width=2, height=2, architecture=WSE3)
    names = {kind.name for kind in kinds(program)}
    assert program.heads is None
    assert not any(name.startswith(("REDUCE_", "BROADCAST_SCORES")) for name in names)


def test_a_bias_is_added_to_the_scores_of_all_heads():
    program = shard(bert(has_bias=True), width=4, height=7, architecture=WSE3)
    assert program.heads is None
    assert any(kind.name.startswith("reduce_scores") for kind in kinds(program))
