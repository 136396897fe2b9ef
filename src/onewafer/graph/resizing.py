"""A graph with other sizes: rows, samples, positions, or another number format."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.operations import (
    Attention,
    Embedding,
    FirstRow,
    LastRow,
    OnSamples,
    PositionEmbedding,
    RowAt,
    RowAtGradient,
)
from onewafer.graph.operations.checks import MATRIX
from onewafer.graph.tensor import FLOATING

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation
    from onewafer.graph.tensor import DataType, Tensor


def num_samples(graph: Graph) -> int:
    """Return the samples of a launch: its feature maps or its rows; a sequence is one sample."""
    for operation in graph.operations:
        if isinstance(operation, OnSamples):
            return operation.count_samples(graph.by_name)
    return 1 if graph.is_sequence else graph.inputs[0].shape[0]


def with_samples(graph: Graph, samples: int) -> Graph:
    """Return the graph for another number of samples.

    Raise GraphError if an input is not two-dimensional; the graph must be well formed.
    """
    old = num_samples(graph)
    return _with_inputs(graph, lambda tensor: tensor.shape[0] // old * samples)


def with_part_of_samples(graph: Graph, samples: int) -> Graph:
    """Return the graph for some of its samples; inputs without samples stay.

    Those have fewer rows than there are samples, such as the gradient of a loss.
    """
    old = num_samples(graph)

    def resize(tensor: Tensor) -> int:
        rows = tensor.shape[0]
        return rows // old * samples if rows >= old else rows

    return _with_inputs(graph, resize)


def with_rows(graph: Graph, rows: int, *, context: int | None = None) -> Graph:
    """Return the graph for another number of rows; tensors of one row keep it.

    Factors of attention probabilities have, for each head, as many features as the sequence has
    positions: `context`, by default `rows`. Raise GraphError if an input is not two-dimensional;
    the graph must be well formed.
    """
    alone = inputs_of_one_row(graph)
    heads = {op.factors: op.heads for op in graph.operations if isinstance(op, Attention)}
    inputs = tuple(
        replace(tensor, shape=(tensor.shape[0], heads[tensor.name] * (context or rows)))
        if tensor.name in heads
        else tensor
        for tensor in graph.inputs
    )
    whole = replace(graph, inputs=inputs)
    return _with_inputs(whole, lambda tensor: 1 if tensor.name in alone else rows)


def with_sequences(graph: Graph, sequences: int) -> Graph:
    """Return the graph for launches with several sequences, with the last row of each.

    Raise GraphError if an input is not two-dimensional; the graph must be well formed.
    """
    operations = tuple(
        replace(operation, sequences=sequences) if isinstance(operation, LastRow) else operation
        for operation in graph.operations
    )
    return _with_inputs(replace(graph, operations=operations), lambda tensor: tensor.shape[0])


def inputs_of_one_row(graph: Graph) -> frozenset[str]:
    """Return the inputs that have a row for each sequence, as the labels of a classifier have.

    They only meet what follows from one row of a sequence, or say which one that is.
    """
    alone, beside, elsewhere = set[str](), set[str](), set[str]()
    for operation in graph.operations:
        operands = {*operation.activation_operands}
        rows = {graph.tensor(name).shape[0] for name in operands & alone}
        if isinstance(operation, FirstRow | LastRow | RowAt) or operation.result.shape[0] in rows:
            alone.add(operation.result.name)
        same = {name for name in operands if graph.tensor(name).shape[0] in rows}
        if isinstance(operation, RowAt | RowAtGradient):
            same.add(operation.index)
        beside |= same
        elsewhere |= operands - same
    return frozenset(tensor.name for tensor in graph.inputs) & beside - elsewhere


def position_tables(graph: Graph) -> tuple[str, ...]:
    """Return the parameters that have a row for every position, without duplicates."""
    return tuple(dict.fromkeys(name for op in graph.operations for name in op.position_tables))


def table_rows(graph: Graph) -> dict[str, int]:
    """Return, for each input of indices, the number of rows that it may index.

    If it indexes several tables, the smallest counts. An index of a row of the sequence may be any
    row of it.
    """
    tables = {tensor.name: tensor.shape[0] for tensor in graph.parameters}
    rows: dict[str, int] = {}
    for operation in graph.operations:
        match operation:
            case Embedding(indices=indices, table=table):
                count = tables[table]
            case RowAt(index=indices, input=source):
                count = graph.tensor(source).shape[0]
            case _:
                continue
        rows[indices] = min(count, rows.get(indices, count))
    return rows


def with_positions(graph: Graph, count: int) -> Graph:
    """Return the graph with another number of positions in its tables."""
    tables = position_tables(graph)
    parameters = tuple(
        replace(tensor, shape=(count, *tensor.shape[1:])) if tensor.name in tables else tensor
        for tensor in graph.parameters
    )
    return replace(graph, parameters=parameters)


def with_dtype(graph: Graph, dtype: DataType) -> Graph:
    """Return the graph in another floating format; indices stay i32."""

    def convert(tensor: Tensor) -> Tensor:
        return replace(tensor, dtype=dtype) if tensor.dtype in FLOATING else tensor

    return replace(
        graph,
        inputs=tuple(map(convert, graph.inputs)),
        parameters=tuple(map(convert, graph.parameters)),
        operations=tuple(
            replace(operation, result=convert(operation.result)) for operation in graph.operations
        ),
    )


def _with_inputs(graph: Graph, resize: Callable[[Tensor], int]) -> Graph:
    if any(len(tensor.shape) != MATRIX for tensor in graph.inputs):
        raise GraphError(f"graph {graph.name!r} has inputs that are not of shape (rows, features)")
    inputs = tuple(
        replace(tensor, shape=(resize(tensor), tensor.shape[1])) for tensor in graph.inputs
    )
    tensors = {tensor.name: tensor for tensor in (*inputs, *graph.parameters)}
    operations: list[Operation] = []
    for operation in graph.operations:
        shape = operation.result_shape(tensors)
        if isinstance(operation, PositionEmbedding):
            shape = (resize(operation.result), shape[1])
        result = replace(operation.result, shape=shape)
        tensors[result.name] = result
        operations.append(replace(operation, result=result))
    return replace(graph, inputs=inputs, operations=tuple(operations))
