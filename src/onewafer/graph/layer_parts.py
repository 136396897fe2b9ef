"""The part of the layer that each operation of a graph belongs to, from the graph alone.

Names of modules differ from model to model; the operations around attention do not:

* norms are norms wherever they stand, those of heads as well;
* the embedding is lookups and what joins them before anything else happens, and what inputs pass
  before the first norm (the patches of a picture);
* convolutions and pools keep what comes after them element by element;
* attention is the operation itself or a product of two tensors of activations, what only leads to
  it (projections, rotation), and what follows up to the residual connection, that included;
* the head is what comes after the last layer and leads to outputs only, one row of many included;
* linear operations and experts that are left, with what stands between them, are the MLP; among
  convolutions and without attention they are convolutions, too.

A graph without attention has no embedding but lookups, one without convolutions either no head.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.graph.operations import (
    Activation,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DepthwiseConvolution,
    Embedding,
    Experts,
    FirstRow,
    Gather,
    GlobalAveragePool,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Opaque,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
    Softmax,
    TopIndices,
)

if TYPE_CHECKING:
    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


class LayerPart(StrEnum):
    """The purpose of an operation."""

    EMBEDDING = "embedding"
    CONVOLUTION = "convolution"
    ATTENTION = "attention"
    MLP = "MLP"
    NORMS = "norms"
    HEAD = "head"
    OTHER = "other"


_NORMS = (RmsNorm, LayerNorm)
_LOOKUPS = (Embedding, PositionEmbedding)
_JOINING = (Add, AddBias, Multiply, Scale, ScaleFeatures)
_LEADING = (Linear, Rotary, Softmax, Opaque, *_JOINING)
"""Operations that may stand between a norm and attention."""
_FOLLOWING = (Linear, *_JOINING)
"""Operations that may stand between attention and a residual connection."""
_ROWS = (FirstRow, LastRow, GlobalAveragePool)
_SEARCHES = (TopIndices, Gather)
_LAST = (Linear, AddBias, Scale, ScaleFeatures, Multiply, Activation, Relu, *_SEARCHES, *_ROWS)
"""Operations that may stand between the last layer and an output."""
_BETWEEN = (Activation, Relu, Softmax, Opaque, *_JOINING)
"""Operations that belong to the operation before them."""
_MOST_PROJECTIONS = 2
"""Linear operations between attention and a residual connection."""


def layer_parts(graph: Graph) -> tuple[LayerPart, ...]:
    """Return the part of each operation of a graph, in order."""
    return _Assignment(graph).complete()


class _Assignment:
    """Parts that are known so far."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._operations = graph.operations
        self._parts: dict[int, LayerPart] = {}
        self._defined = {op.result.name: i for i, op in enumerate(graph.operations)}
        self._readers: dict[str, list[int]] = {}
        for index, operation in enumerate(graph.operations):
            for name in operation.activation_operands:
                self._readers.setdefault(name, []).append(index)

    def complete(self) -> tuple[LayerPart, ...]:
        """Return the part of every operation."""
        self._assign_kinds()
        if LayerPart.ATTENTION in self._parts.values():
            self._assign_what_leads_to_attention()
            self._assign_what_follows_attention()
            self._assign_what_inputs_pass()
        if not {LayerPart.ATTENTION, LayerPart.CONVOLUTION}.isdisjoint(self._parts.values()):
            self._assign_head()
        self._assign_rest()
        return tuple(self._parts[index] for index in range(len(self._operations)))

    def _assign_kinds(self) -> None:
        for index, operation in enumerate(self._operations):
            match operation:
                case RmsNorm() | LayerNorm():
                    self._parts[index] = LayerPart.NORMS
                case Embedding() | PositionEmbedding():
                    self._parts[index] = LayerPart.EMBEDDING
                case Attention() | BatchedMatmul():
                    self._parts[index] = LayerPart.ATTENTION
                case Convolution() | DepthwiseConvolution() | MaxPool():
                    self._parts[index] = LayerPart.CONVOLUTION
                case _ if isinstance(operation, _BETWEEN):
                    self._keep_part(index, operation)
                case _:
                    pass

    def _keep_part(self, index: int, operation: Operation) -> None:
        """Let an operation on single elements of lookups or convolutions be of their part."""
        sources = [self._defined.get(name, -1) for name in operation.activation_operands]
        before = {self._parts.get(source) for source in sources}
        if before == {LayerPart.CONVOLUTION}:
            self._parts[index] = LayerPart.CONVOLUTION
        elif before == {LayerPart.EMBEDDING} and isinstance(operation, _JOINING):
            self._parts[index] = LayerPart.EMBEDDING

    def _assign_what_leads_to_attention(self) -> None:
        """Go backwards past norms, which stay norms, to what others read as well."""
        leads = {i for i, part in self._parts.items() if part is LayerPart.ATTENTION}
        for index, operation in reversed([*enumerate(self._operations)]):
            readers = self._readers.get(operation.result.name, [])
            if not readers or not leads.issuperset(readers) or self._is_output(operation):
                continue
            if index not in self._parts and isinstance(operation, _LEADING):
                self._parts[index] = LayerPart.ATTENTION
                leads.add(index)
            elif isinstance(operation, _NORMS):
                leads.add(index)

    def _assign_what_follows_attention(self) -> None:
        """Go on to the residual connection, past a norm as well if it comes right after that."""
        steps: dict[int, int] = {}
        """Operation → linear operations and norms since attention."""
        for index, operation in enumerate(self._operations):
            if isinstance(operation, Attention | BatchedMatmul):
                steps[index] = 0
                continue
            sources = [self._defined.get(name, -1) for name in operation.activation_operands]
            known = [steps[source] for source in sources if source in steps]
            if not known:
                continue
            if isinstance(operation, _NORMS):
                steps[index] = _MOST_PROJECTIONS
            elif isinstance(operation, _FOLLOWING) and index not in self._parts:
                count = max(known) + isinstance(operation, Linear)
                if count > _MOST_PROJECTIONS:
                    continue
                self._parts[index] = LayerPart.ATTENTION
                if len(known) == len(sources) or not isinstance(operation, Add):
                    steps[index] = count

    def _assign_what_inputs_pass(self) -> None:
        passed = {tensor.name for tensor in self._graph.inputs}
        for index, operation in enumerate(self._operations):
            is_free = self._parts.get(index, LayerPart.EMBEDDING) is LayerPart.EMBEDDING
            is_plain = isinstance(operation, (*_LOOKUPS, *_FOLLOWING))
            if is_free and is_plain and passed.issuperset(operation.activation_operands):
                self._parts[index] = LayerPart.EMBEDDING
                passed.add(operation.result.name)

    def _assign_head(self) -> None:
        """Go backwards from the outputs past norms to a residual connection."""
        heads: set[int] = set()
        for index, operation in reversed([*enumerate(self._operations)]):
            readers = self._readers.get(operation.result.name, [])
            if not heads.issuperset(readers) or not (readers or self._is_output(operation)):
                continue
            if index not in self._parts and isinstance(operation, _LAST):
                self._parts[index] = LayerPart.HEAD
                if not isinstance(operation, _ROWS):  # before it, rows are those of the layers
                    heads.add(index)
            elif isinstance(operation, _NORMS):
                heads.add(index)

    def _assign_rest(self) -> None:
        """Assign linear operations to the MLP, and the other operations to a part that they read.

        Among convolutions without attention, they are convolutions with one tap.
        """
        kinds = {*self._parts.values()}
        is_convolutional = LayerPart.CONVOLUTION in kinds and LayerPart.ATTENTION not in kinds
        linear = LayerPart.CONVOLUTION if is_convolutional else LayerPart.MLP
        for index, operation in enumerate(self._operations):
            if index in self._parts:
                continue
            if isinstance(operation, Linear | Experts):
                self._parts[index] = linear
                continue
            sources = [self._defined.get(name) for name in operation.activation_operands]
            before = {self._parts[source] for source in sources if source is not None}
            follows = isinstance(operation, _BETWEEN) and bool(before - {LayerPart.OTHER})
            self._parts[index] = linear if follows else LayerPart.OTHER

    def _is_output(self, operation: Operation) -> bool:
        return operation.result.name in self._graph.outputs
