"""Batches of sequences: the graph is that of one, and a launch works on one.

The rows of all sequences come one after the other, which every operation on rows that belong
together has checked as it was written. Others work row by row, so sequences never meet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import Attention, LastRow, RowAt, inputs_of_one_row
from onewafer.pytorch.lowering.joined import JoinedLoss, join_losses
from onewafer.pytorch.lowering.nouns import noun_of
from onewafer.pytorch.lowering.operands import External

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph, Operation, Tensor
    from onewafer.pytorch.lowering.writer import GraphWriter


_ATEN = torch.ops.aten
_ELEMENTWISE = frozenset(
    [
        *(getattr(_ATEN, name).Tensor for name in ("add", "sub", "mul", "div")),
        *(getattr(_ATEN.to, name) for name in ("dtype", "dtype_layout", "device")),
        _ATEN._to_copy.default,  # noqa: SLF001 - no public name
    ]
)
"""Operations whose results have the shape of their operands, or one that those broadcast to."""


def of_one_sequence(writer: GraphWriter, external: External) -> External | None:
    """Return a tensor of the host for the first sequence if it is alike for all; else None.

    It is alike if it was made by repeating the tensor of one sequence, or is computed from such
    tensors alone; elements are not compared.
    """
    step = external.step
    if external.shape[0] == 1:
        return external
    if external.tensor.stride(0) == 0:
        return writer.view(external, external.name, _ATEN.slice.Tensor, 0, 0, 1)
    if step is None or any(isinstance(value, External) for value in step.kwargs.values()):
        return None
    operands = [*step.args]
    if step.target is _ATEN.embedding.default:
        varying = [1]
    elif step.target in _ELEMENTWISE:
        rank = len(external.shape)
        varying = [
            index
            for index, operand in enumerate(operands)
            if isinstance(operand, External) and len(operand.shape) == rank
        ]
    else:
        return None
    for index in varying:
        operand = operands[index]
        one = of_one_sequence(writer, operand) if isinstance(operand, External) else None
        if one is None:
            return None
        operands[index] = one
    return writer.tensor(external.name, step.target, *operands, **step.kwargs)


def take_one_sequence(graph: Graph, sequences: int) -> tuple[Graph, Mapping[str, JoinedLoss]]:
    """Return the graph for one sequence, given that of several, and how its losses are joined.

    Raises UnsupportedOperationError if a table has positions of all sequences.
    """
    biases = {
        operation.bias: operation.result.shape[0] * operation.heads
        for operation in graph.operations
        if isinstance(operation, Attention) and operation.bias is not None
    }
    joined: dict[str, JoinedLoss] = {}
    operations: list[Operation] = []
    for operation in graph.operations:
        if operation.joins_rows:
            found, joined[operation.result.name] = join_losses(operation)
        else:
            found = replace(operation, result=_shorten(operation.result, sequences))
        operations.append(found)
    one = replace(
        graph,
        inputs=tuple(_shorten(tensor, sequences) for tensor in graph.inputs),
        parameters=tuple(
            _shorten(tensor, sequences) if biases.get(tensor.name) == tensor.shape[0] else tensor
            for tensor in graph.parameters
        ),
        operations=tuple(operations),
    )
    for operation in one.operations:
        _check_table(one, operation)
    return one, joined


def check_rows(writer: GraphWriter, graph: Graph) -> None:
    """Refuse a sequence if its positions are not the rows of the inputs."""
    alone = inputs_of_one_row(graph)
    rows = {tensor.shape[0] for tensor in graph.inputs if tensor.name not in alone}
    for operation in graph.operations:
        if operation.has_all_rows:
            found = operation.result.shape[0]
        elif isinstance(operation, LastRow | RowAt):
            found = graph.tensor(operation.input).shape[0]
        else:
            continue
        if rows != {found}:
            numbers = " and ".join(str(number) for number in sorted(rows))
            msg = f"{noun_of(operation)} covers {found} tokens, and the inputs have {numbers}"
            raise UnsupportedOperationError(msg, writer.place_of(operation.result.name))


def _shorten(tensor: Tensor, sequences: int) -> Tensor:
    return replace(tensor, shape=(tensor.shape[0] // sequences, *tensor.shape[1:]))


def _check_table(graph: Graph, operation: Operation) -> None:
    lengths = {graph.tensor(table).shape[0] for table in operation.position_tables}
    if not lengths <= {operation.result.shape[0]}:
        msg = "position tables that differ from sequence to sequence are not supported"
        raise UnsupportedOperationError(msg)
