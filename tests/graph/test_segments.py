"""Segments, unrolled, are the graph that was folded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    DataType,
    Graph,
    Linear,
    Relu,
    Segment,
    Tensor,
    fold,
    split,
    verify_graph,
)
from tests.graph.moved import moved_elements
from tests.graph.strategies import graphs, sequences


def looks(graph):
    """Return what the operations of a graph are, apart from names."""
    tensors = graph.by_name
    return [
        (
            type(operation),
            operation.result.shape,
            [tensors[name].shape for name in operation.parameter_operands],
        )
        for operation in graph.operations
    ]


def totals(graph):
    """Return FLOP and moved elements of all operations."""
    return sum(op.count_flop(graph.by_name) for op in graph.operations), sum(
        moved_elements(op, graph) for op in graph.operations
    )


def num_weights(segments):
    counted = {}
    for segment in segments:
        for tensor in segment.graph.parameters:
            copies = 1 if tensor.name in segment.shared else segment.repeats
            counted[tensor.name] = copies * tensor.num_elements
    return sum(counted.values())


def repeated(graph, times):
    """Return a graph of one input and output of one shape, so many times after itself."""
    (source,), (output,) = graph.inputs, graph.outputs
    parameters, operations = [], []
    carried = source.name
    for index in range(times):
        names = {source.name: carried}
        for tensor in (*graph.parameters, *(op.result for op in graph.operations)):
            names[tensor.name] = f"{tensor.name}_{index}"
        parameters += [replace(t, name=names[t.name]) for t in graph.parameters]
        operations += [renamed(operation, names) for operation in graph.operations]
        carried = names[output]
    return Graph("repeated", (source,), (*parameters,), (*operations,), (carried,))


def renamed(operation, names):
    fields = {}
    for name in operation.__dataclass_fields__:
        value = getattr(operation, name)
        if isinstance(value, Tensor):
            fields[name] = replace(value, name=names[value.name])
        elif type(value) is str:
            fields[name] = names[value]
    return replace(operation, **fields)


@given(graphs() | sequences(), st.integers(1, 4))
def test_unrolled_segments_are_the_graph(graph, times):
    verify_graph(graph)
    can_repeat = graph.operations and graph.tensor(graph.outputs[0]) == replace(
        graph.inputs[0], name=graph.outputs[0]
    )
    if can_repeat and len(graph.inputs) == 1:
        graph = repeated(graph, times)

    segments = fold(graph)

    unrolled = [look for s in segments for _ in range(s.repeats) for look in looks(s.graph)]
    assert unrolled == looks(graph)
    flop, num_bytes = totals(graph)
    assert sum(s.repeats * totals(s.graph)[0] for s in segments) == flop
    assert sum(s.repeats * totals(s.graph)[1] for s in segments) == num_bytes
    read = {name for operation in graph.operations for name in operation.parameter_operands}
    expected = sum(t.num_elements for t in graph.parameters if t.name in read)
    assert num_weights(segments) == expected
    for segment in segments:
        if segment.graph.outputs:  # an unread result has no output
            verify_graph(segment.graph)


def block(index, source, features, weight):
    """Return a residual block with one matrix, and its result."""

    def tensor(kind):
        return Tensor(f"{kind}{index}", (4, features), DataType.F16)

    linear = Linear(tensor("linear"), source, weight)
    function = Relu if index % 2 else lambda r, s: Activation(r, s, ActivationFunction.SILU)
    bent = function(tensor("bent"), linear.result.name)
    return [linear, bent, Add(tensor("sum"), source, bent.result.name)], f"sum{index}"


@pytest.mark.parametrize("is_shared", [False, True])
def test_layers_of_two_kinds_that_alternate_are_one_segment(is_shared):
    weights = [f"w{i % 2 if is_shared else i}" for i in range(6)]
    operations, carried = [], "x"
    for index, weight in enumerate(weights):
        more, carried = block(index, carried, 8, weight)
        operations += more
    parameters = [Tensor(name, (8, 8), DataType.F16) for name in dict.fromkeys(weights)]
    x = Tensor("x", (4, 8), DataType.F16)
    graph = Graph("alternating", (x,), (*parameters,), (*operations,), (carried,))
    verify_graph(graph)

    (segment,) = fold(graph, constants=["w1"])

    assert (segment.repeats, len(segment.graph.operations)) == (3, 6)
    assert segment.shared == (frozenset(["w0", "w1"]) if is_shared else frozenset())
    assert [tensor.name for tensor in segment.weights] == ["w0"]
    assert segment.graph.outputs == ("sum1",)


def test_a_segment_is_split_where_an_operation_says_so():
    operations, carried = [], "x"
    for index in range(3):
        more, carried = block(index, carried, 8, f"w{index}")
        operations += [*more, Relu(Tensor(f"relu{index}", (4, 8), DataType.F16), carried)]
        carried = f"relu{index}"
    parameters = tuple(Tensor(f"w{index}", (8, 8), DataType.F16) for index in range(3))
    x = Tensor("x", (4, 8), DataType.F16)
    graph = Graph("chain", (x,), parameters, (*operations,), (carried,))
    pieces = split(Segment(graph, 1, constants=frozenset(["w1"])), lambda op: type(op) is Linear)

    assert [op for piece in pieces for op in piece.graph.operations] == operations
    assert [len(piece.graph.operations) for piece in pieces] == [4, 4, 4]
    assert [piece.graph.outputs for piece in pieces] == [("relu0",), ("relu1",), ("relu2",)]
    assert [len(piece.weights) for piece in pieces] == [1, 0, 1]


def test_what_comes_before_the_first_beginning_stays_with_it():
    x, y, z = (Tensor(name, (4, 8), DataType.F16) for name in "xyz")
    weight = Tensor("w", (8, 8), DataType.F16)
    graph = Graph("late", (x,), (weight,), (Relu(y, "x"), Linear(z, "y", "w")), ("z",))

    (piece,) = split(Segment(graph, 1), lambda op: type(op) is Linear)
    assert piece.graph == graph
