"""Layers that a backward pass computes again: equal values, and less that is left for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    GraphError,
    Keep,
    Recall,
    derive_gradients,
    evaluate_graph,
    recompute,
    verify_graph,
)
from tests.graph.strategies import graphs
from tests.mesh.models import Decoder
from tests.mesh.strategies import random_arrays


def left_for_gradients(gradients):
    """Return the results of the forward pass that the backward pass reads."""
    forward, backward = (
        gradients.graph.operations[: gradients.num_forward],
        gradients.graph.operations[gradients.num_forward :],
    )
    read = {name for operation in backward for name in operation.activation_operands}
    return read.intersection(operation.result.name for operation in forward)


def num_of(kind, gradients):
    return sum(isinstance(operation, kind) for operation in gradients.graph.operations)


@pytest.mark.parametrize(("cuts", "per_layer"), [(1, 2), (2, 1)])
def test_only_what_layers_begin_with_is_left(cuts, per_layer):
    decoder = Decoder(layers=3)
    gradients = derive_gradients(decoder.graph, ["0.query.weight", "tokens"])
    number = len(decoder.graph.operations)
    again, more = recompute(gradients, number, cuts=cuts)
    verify_graph(again.graph, seeds=frozenset(again.seeds.values()))
    assert num_of(Keep, again) == num_of(Recall, again) == 3 * per_layer == more - number
    kept = {op.result.name for op in again.graph.operations if isinstance(op, Keep)}
    assert len(left_for_gradients(gradients)) > 20
    assert len(left_for_gradients(again) - kept) <= 3  # of the head
    assert (again.by_name, again.seeds) == (gradients.by_name, gradients.seeds)
    assert again.graph.outputs == gradients.graph.outputs


def test_where_each_operation_is_a_cut_nothing_is_computed_again():
    decoder = Decoder(layers=0)
    gradients = derive_gradients(decoder.graph, ["tokens"])
    assert recompute(gradients, len(decoder.graph.operations))[0] == gradients


@given(graphs(max_features=3, max_operations=12), st.integers(1, 3), st.data())
def test_values_are_the_same(graph, cuts, data):
    """Operations read the same numbers, under other names."""
    wanted = data.draw(st.sets(st.sampled_from([t.name for t in graph.parameters] or [""])))
    try:
        gradients = derive_gradients(graph, wanted)
    except GraphError:
        return
    again, _ = recompute(gradients, len(graph.operations), cuts=cuts)
    inputs = random_arrays(gradients.graph.inputs, 1)
    parameters = random_arrays(graph.parameters, 2)
    results = [evaluate_graph(each.graph, inputs, parameters) for each in (gradients, again)]
    for name, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][name])
