"""Sequences of several lengths in one launch: all get the rows of the longest.

An encoder and a decoder have inputs of different numbers of rows; a launch has one. Rows behind a
sequence are zeros at first and whatever follows from them; nothing of them reaches a result: most
operations work row by row, causal attention does not look ahead, and other attention gets a bias
that hides the keys behind the sequence.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING

import torch

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    Concatenate,
    Embedding,
    FirstRow,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    OfElement,
    PositionEmbedding,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
    Softmax,
)
from onewafer.pytorch.lowering.masks import HIDES
from onewafer.pytorch.lowering.nouns import noun_of
from onewafer.pytorch.lowering.operands import External, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import Graph, Operation, Tensor
    from onewafer.pytorch.lowering.writer import GraphWriter


def pad_sequences(writer: GraphWriter, graph: Graph) -> Graph:
    """Return a graph whose inputs all have the rows of the longest, and change the writer's.

    Its parameters are left out. Results have their valid rows first. Raises
    UnsupportedOperationError where rows behind a sequence could reach a result.
    """
    rows = max(tensor.shape[0] for tensor in graph.inputs)
    padding = _Padding(writer, graph, rows)
    operations = tuple(padding.pad(operation) for operation in graph.operations)
    inputs = tuple(padding.pad_input(tensor) for tensor in graph.inputs)
    return replace(graph, inputs=inputs, operations=operations, parameters=())


class _Padding:
    """The change of a graph to more rows."""

    def __init__(self, writer: GraphWriter, graph: Graph, rows: int) -> None:
        self._writer = writer
        self._rows = rows
        self._valid = {tensor.name: tensor.shape[0] for tensor in graph.inputs}
        """Rows of each tensor before its padding."""
        self._padded = {tensor.name for tensor in graph.inputs}
        """Tensors that have `rows` rows."""

    def pad_input(self, tensor: Tensor) -> Tensor:
        """Return an input with more rows."""
        external = self._writer.inputs[tensor.name]
        self._writer.inputs[tensor.name] = self._pad(external, below=self._rows - tensor.shape[0])
        return replace(tensor, shape=(self._rows, *tensor.shape[1:]))

    def pad(self, operation: Operation) -> Operation:
        """Return an operation with more rows."""
        result = operation.result
        self._valid[result.name] = result.shape[0]
        operands = operation.activation_operands
        self._check_rows(operation, operands)
        if operands and self._padded.isdisjoint(operands):
            return operation
        return self._with_more_rows(operation)

    @singledispatchmethod
    def _with_more_rows(self, operation: Operation) -> Operation:
        raise self._refusal(operation)

    @_with_more_rows.register(Linear | AddBias | Add | Multiply | OfElement | Scale | ScaleFeatures)
    @_with_more_rows.register(RmsNorm | LayerNorm | Softmax | Concatenate | Embedding)
    def _row_by_row(self, operation: Operation) -> Operation:
        result = operation.result
        self._padded.add(result.name)
        return replace(operation, result=replace(result, shape=(self._rows, *result.shape[1:])))

    @_with_more_rows.register(PositionEmbedding | Rotary)
    def _at_positions(self, operation: Operation) -> Operation:
        tables = {name: self._table(name) for name in operation.position_tables}
        return self._row_by_row(operation.renamed(tables))

    @_with_more_rows.register(Attention)
    def _attention(self, operation: Attention) -> Operation:
        if operation.has_dropout:
            raise self._refusal(operation)
        return self._row_by_row(self._without_keys_behind(operation))

    @_with_more_rows.register(FirstRow)
    def _first_row(self, operation: FirstRow) -> Operation:
        return operation

    @_with_more_rows.register(LastRow)
    def _last_row(self, operation: LastRow) -> Operation:
        if self._valid[operation.input] == self._rows:
            return operation
        raise self._refusal(operation)

    def _refusal(self, operation: Operation) -> UnsupportedOperationError:
        msg = f"{noun_of(operation)} over inputs of different lengths is not supported"
        return UnsupportedOperationError(msg, self._writer.place_of(operation.result.name))

    def _check_rows(self, operation: Operation, operands: Sequence[str]) -> None:
        """Refuse operands of different rows, except the queries and keys of an attention."""
        are_padded = {name in self._padded for name in operands}
        rows = {self._valid[name] for name in operands if not isinstance(operation, Attention)}
        if len(are_padded) > 1 or len(rows) > 1:
            msg = f"{noun_of(operation)} of two sequences of different lengths is not supported"
            raise UnsupportedOperationError(msg, self._writer.place_of(operation.result.name))

    def _without_keys_behind(self, operation: Attention) -> Attention:
        """Return an attention in which keys behind the sequence are hidden."""
        rows, keys = self._valid[operation.query], self._valid[operation.key]
        if operation.is_causal or (operation.bias is None and keys == self._rows):
            return operation
        writer, heads = self._writer, operation.heads
        if operation.bias is None:
            name = f"{heads}_heads_{rows}_by_{keys}"
            zeros = torch.zeros(rows * heads, keys, dtype=writer.format)
            bias = writer.tensor(name, torch.clone, External(name, zeros, Origin.CONSTANT))
        else:
            bias = writer.parameters[operation.bias]
        hidden = HIDES[writer.format]
        wide = self._pad(bias, right=self._rows - keys, number=hidden)
        padded = self._pad(wide, below=(self._rows - rows) * heads)
        return replace(operation, bias=writer.parameter(padded, "bias").name)

    def _table(self, name: str) -> str:
        table = self._writer.parameters[name]
        padded = self._pad(table, below=max(self._rows - table.shape[0], 0))
        return self._writer.parameter(padded, "table").name

    def _pad(
        self, external: External, *, below: int = 0, right: int = 0, number: float = 0.0
    ) -> External:
        if not below and not right:
            return external
        name, margins = f"{external.name}__{below}_below_{right}_right", [0, right, 0, below]
        pad = torch.ops.aten.constant_pad_nd.default
        return self._writer.view(external, name, pad, margins, number)
