"""Programs that train with dropouts of their own: NumPy, fabric and closed form; float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    MOST_FEATURES,
    SEEDS,
    Add,
    DataType,
    Draw,
    Dropout,
    Graph,
    Linear,
    Operation,
    Tensor,
    draw_bits,
    evaluate_graph,
    recompute,
    with_dtype,
)
from onewafer.mesh import ErrorBounds, shard, shard_training
from onewafer.mesh.dropout import Dropout as MeshDropout
from onewafer.mesh.kinds import REPEAT
from onewafer.mesh.reference import MeshEvaluator
from onewafer.mesh.schedule import schedule_parts
from tests.mesh.drawing import (
    check_against_float64,
    check_computed_again,
    check_evaluation,
    check_on_the_fabric,
    seeded,
)
from tests.mesh.gradients.test_transformers import derived
from tests.mesh.models import Decoder
from tests.mesh.strategies import random_arrays

WSE3 = load_architecture("wse3")


def with_dropouts(graph: Graph, share: float = 0.3) -> Graph:
    """Return a graph with a dropout of what is added to the rows that layers hand on."""
    sums = [one for one in graph.operations if isinstance(one, Add)]
    added = {name for one in sums for name in one.activation_operands}
    names: dict[str, str] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        name = operation.result.name
        operations.append(operation.renamed({old: names[old] for old in names if old != name}))
        if isinstance(operation, Linear) and name in added:
            result = replace(operation.result, name=f"{name}.dropped")
            operations.append(Dropout(result, name, len(names), Draw.threshold_of(share)))
            names[name] = result.name
    return replace(graph, operations=tuple(operations))


CASES = {
    "one PE": (Decoder(rows=3), (1, 1), "wse3"),
    "an odd number of rows": (Decoder(), (2, 3), "wse2"),
    "two layers, which are a loop": (Decoder(layers=3, rows=4), (3, 2), "wse3"),
}


@pytest.mark.parametrize(("decoder", "rectangle", "arch"), CASES.values(), ids=CASES)
@pytest.mark.slow
def test_a_step_on_the_fabric(decoder, rectangle, arch):
    check_on_the_fabric(decoder, rectangle, with_dropouts, load_architecture(arch))


@settings(max_examples=8)
@given(
    st.builds(Decoder, rows=st.integers(2, 6), layers=st.integers(1, 2), has_rotary=st.booleans()),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 99),
)
def test_results_and_gradients_are_those_in_float64(decoder, rectangle, seed):
    decoder = replace(decoder, kv_heads=2 if decoder.has_rotary else 4)
    check_against_float64(decoder, rectangle, with_dropouts, seed)


def test_an_evaluation_by_the_same_program_keeps_all():
    check_evaluation(with_dropouts)


def test_layers_that_are_computed_again_keep_the_same():
    check_computed_again(with_dropouts, Dropout, cuts=2)


def test_equal_layers_are_a_loop_whose_dropouts_are_numbered():
    decoder = Decoder(layers=4)
    gradients, number = derived(decoder, graph=with_dropouts(decoder.graph))
    again, more = recompute(gradients, number, cuts=2)
    program = shard_training(again, width=3, height=2, architecture=WSE3, num_model=more)
    (kind,) = MeshDropout.kinds
    for entry, step in (("forward", 2), ("backward", -2)):
        part = schedule_parts(program)[entry]
        assert any(one.kind is REPEAT for one in part)
        counts = {one.more[1] for one in part if one.kind is kind}
        assert step & 0xFFFF in counts


def test_results_are_within_their_bound():
    x = Tensor("x", (5, 9), DataType.F32)
    graph = Graph("d", (x,), (), (Dropout(replace(x, name="r"), "x", 1, 9000),), ("r",))
    inputs = random_arrays((x,), 1) | seeded(1)
    program = shard(graph, width=2, height=1, architecture=WSE3)
    exact = evaluate_graph(graph, inputs, {})["r"]
    bounded = ErrorBounds(program, {}).run(inputs)["r"]
    found = MeshEvaluator(program, {}).run(inputs)["r"]
    assert (np.abs(found - exact) <= bounded.error).all()
    assert 0 < bounded.error.max() < 1e-5


def test_a_graph_in_f16_is_refused():
    graph = with_dtype(with_dropouts(Decoder().graph), DataType.F16)
    with pytest.raises(UnsupportedOperationError, match="drawn on the wafer is not supported in f"):
        shard(graph, width=2, height=2, architecture=WSE3)


def test_features_that_would_be_drawn_alike_are_refused():
    x = Tensor("x", (1, MOST_FEATURES + 1), DataType.F32)
    graph = Graph("d", (x,), (), (Dropout(replace(x, name="r"), "x", 0, 9000),), ("r",))
    first, last = draw_bits(seeded(1)[SEEDS], 0, np.zeros(1, np.intp), np.array([0, MOST_FEATURES]))
    assert first == last
    with pytest.raises(UnsupportedOperationError, match="more than 65,536 features is not drawn"):
        shard(graph, width=4, height=4, architecture=WSE3)
