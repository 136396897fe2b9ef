"""The same graph with other sizes: rows, samples, positions, or another format of numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.inputs_of_one_row import inputs_of_one_row
from onewafer.graph.operations import (
    Attention,
    Embedding,
    LastRow,
    OnSamples,
    PositionEmbedding,
    RowAt,
)
from onewafer.graph.operations.checks import MATRIX
from onewafer.graph.tensor import FLOATING

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation
    from onewafer.graph.tensor import DataType, Tensor


def num_samples(graph: Graph) -> int:
    """Return the samples of a launch: its feature maps, or its rows; a sequence is one sample."""
    for operation in graph.operations:
        if isinstance(operation, OnSamples):
            return operation.count_samples(graph.by_name)
    return 1 if graph.is_sequence else graph.inputs[0].shape[0]


def with_samples(graph: Graph, samples: int) -> Graph:
    """Return the same graph for another number of samples.

    The graph must be well formed and two-dimensional, else GraphError is raised.
    """
    old = num_samples(graph)
    return _with_inputs(graph, lambda tensor: tensor.shape[0] // old * samples)


def with_part_of_samples(graph: Graph, samples: int) -> Graph:
    """Return the same graph for a part of its samples; inputs that are none of samples stay.

    Those have fewer rows than there are samples, as the gradient of a loss does.
    """
    old = num_samples(graph)

    def resize(tensor: Tensor) -> int:
        rows = tensor.shape[0]
        return rows // old * samples if rows >= old else rows

    return _with_inputs(graph, resize)


def with_rows(graph: Graph, rows: int, *, context: int | None = None) -> Graph:
    """Return the same graph for another number of rows; tensors of one row keep it.

    Factors of the shares of an attention have as many features of each head as the sequence has
    positions: the `context` where rows are some of it, else the rows. The graph must be well formed
    and two-dimensional, else GraphError is raised.
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
    """Return the same graph for launches with rows of several sequences, the last row of each.

    The graph must be well formed and two-dimensional, else GraphError is raised.
    """
    operations = tuple(
        replace(operation, sequences=sequences) if isinstance(operation, LastRow) else operation
        for operation in graph.operations
    )
    return _with_inputs(replace(graph, operations=operations), lambda tensor: tensor.shape[0])


def position_tables(graph: Graph) -> tuple[str, ...]:
    """Return the parameters that have a row for every position, each once."""
    return tuple(dict.fromkeys(name for op in graph.operations for name in op.position_tables))


def table_rows(graph: Graph) -> dict[str, int]:
    """Return, for each input of indices, how many rows there are to choose from.

    Of an input that looks up several tables: the rows of the smallest. What says which row of a
    sequence is taken has those of the sequence.
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
    """Return the same graph with tables of another number of positions."""
    tables = position_tables(graph)
    parameters = tuple(
        replace(tensor, shape=(count, *tensor.shape[1:])) if tensor.name in tables else tensor
        for tensor in graph.parameters
    )
    return replace(graph, parameters=parameters)


def with_dtype(graph: Graph, dtype: DataType) -> Graph:
    """Return the same graph in another floating format; indices stay."""

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
