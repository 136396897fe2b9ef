"""What every operation owes its readers; a new class needs an example, and passes or fails here."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from onewafer.errors import HostError
from onewafer.graph import (
    SEEDS,
    DataType,
    GraphError,
    Operation,
    Relu,
    evaluate_graph,
    fold,
    from_json,
    rename,
    to_json,
    verify_graph,
    with_rows,
    with_samples,
)
from onewafer.graph.operations.names import ValueName
from tests.graph.moved import moved_elements
from tests.graph.operations.examples import EXAMPLES, KEPT

COUNTED = {"Experts", "Opaque"}
"""Classes that have a cost, and no values."""


KINDS = {name: kind for name, kind in Operation.kinds().items() if kind.__module__ != __name__}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def graph(request):
    return EXAMPLES[request.param]


@pytest.fixture
def operation(graph):
    return graph.operations[-1]


def arrays(tensors, *, choices=4):
    random = np.random.default_rng(0)
    return {
        t.name: random.integers(0, choices, t.shape)
        if t.dtype is DataType.I32
        else random.normal(size=t.shape)
        for t in tensors
    }


def test_its_graph_is_well_formed_and_comes_back_from_json(graph):
    verify_graph(graph)
    assert from_json(to_json(graph)) == graph


def test_every_tensor_of_its_graph_is_an_operand(graph, operation):
    """The annotations of its fields name all that it reads."""
    parameters = {tensor.name for tensor in graph.parameters}
    assert set(operation.parameter_operands) == parameters
    assert set(operation.position_tables) <= parameters
    assert set(operation.activation_operands) <= set(graph.by_name) - parameters
    assert set(operation.index_operands) <= set(operation.activation_operands)
    assert not set(operation.number_operands) & set(operation.index_operands)


def test_new_names_reach_every_operand_and_nothing_else(graph, operation):
    names = {name: f"new {name}" for name in graph.by_name}
    renamed = operation.renamed(names)
    assert renamed.activation_operands == tuple(names[n] for n in operation.activation_operands)
    assert renamed.parameter_operands == tuple(names[n] for n in operation.parameter_operands)
    back = {new: old for old, new in names.items()}
    assert rename(rename(graph, names), back) == graph
    assert operation.renamed({}) == operation


def test_a_missing_operand_is_found(graph, operation):
    for name in (*operation.activation_operands, *operation.parameter_operands):
        broken = operation.renamed({name: "nothing"})
        with pytest.raises(GraphError, match="nothing"):
            verify_graph(replace(graph, operations=(*graph.operations[:-1], broken)))


def test_a_result_of_another_shape_is_refused(graph, operation):
    shape = (*operation.result.shape[:-1], operation.result.shape[-1] + 1)
    broken = replace(operation, result=replace(operation.result, shape=shape))
    if broken.result_shape(graph.by_name) == shape:  # PyTorch gave the shape: nothing is known
        return
    with pytest.raises(GraphError, match=r"the result has shape|it cuts"):
        verify_graph(replace(graph, operations=(*graph.operations[:-1], broken)))


def test_it_computes_the_shape_and_the_kind_of_numbers_that_it_says(graph, operation):
    inputs, parameters = arrays(graph.inputs), arrays(graph.parameters)
    inputs[SEEDS] = np.array([[1, 2, 1]])
    if type(operation).__name__ in COUNTED:
        with pytest.raises(HostError, match="is counted, it has no values"):
            evaluate_graph(graph, inputs, parameters)
        return
    (found,) = evaluate_graph(graph, inputs, parameters).values()
    assert found.shape == operation.result_shape(graph.by_name) == operation.result.shape
    assert np.issubdtype(found.dtype, np.integer) == operation.gives_indices
    assert np.isfinite(found).all()


def test_its_counts_grow_with_sequences_and_tokens_behind_them(graph, operation):
    tensors = graph.by_name
    one, two = (operation.count_work(tensors, sequences=count) for count in (1, 2))
    later = operation.count_work(tensors, cached_tokens=5)
    assert one.flop == operation.count_flop(tensors) >= 0
    assert operation.count_product_flop(tensors) >= (one.flop if operation.is_product else 0)
    assert (two.flop, two.activations) == (2 * one.flop, 2 * one.activations)
    assert 0 <= one.weights <= two.weights <= 2 * one.weights
    assert one.cached == 0 <= later.cached
    assert later.flop >= one.flop
    assert (later.weights, later.activations) == (one.weights, one.activations)
    read = moved_elements(operation, graph) - operation.result.num_elements
    assert 0 < read <= sum(tensors[n].num_elements for n in tensors)


def test_other_sizes_keep_its_graph_well_formed(graph, operation):
    if graph.has_feature_maps:
        other = with_samples(graph, 3)
        assert other.inputs[0].shape[0] == 3 * operation.sample_rows
    else:
        other = with_rows(graph, 3)
    verify_graph(other)


def test_it_folds_whatever_its_names_are(graph):
    """Pieces are equal if their operations are, with their operands' shapes."""
    (segment,) = fold(rename(graph, {name: f"new {name}" for name in graph.by_name}))
    assert len(segment.graph.operations) == len(graph.operations)


@dataclass(frozen=True, slots=True)
class Halve(Operation):
    """A class of which nothing but this is written anywhere."""

    input: ValueName

    def evaluate(self, launch):
        return launch[self.input] / 2


def test_a_new_class_is_all_that_a_new_operation_needs():
    graph = replace(EXAMPLES[Relu], operations=(Halve(KEPT, "x"),))
    verify_graph(graph)
    assert from_json(to_json(graph)) == graph
    x = arrays(graph.inputs)
    (found,) = evaluate_graph(rename(graph, {"r": "half"}), x, {}).values()
    np.testing.assert_array_equal(found, x["x"] / 2)
    assert with_rows(graph, 2).operations[0].result.shape == (2, 6)
    assert graph.operations[0].count_flop(graph.by_name) == KEPT.num_elements


def test_its_fields_cannot_change(operation):
    for field in fields(operation):
        with pytest.raises(AttributeError):
            setattr(operation, field.name, None)
    assert not hasattr(operation, "__dict__")
    assert hash(operation) == hash(replace(operation))
