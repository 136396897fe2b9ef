"""The part of the layer of each operation of a graph, derived from the graph alone.

Names of modules differ from model to model; the operations around attention do not:

* norms are norms everywhere, those of heads included;
* the embedding is lookups and what joins them before anything else, and what inputs pass before the
  first norm (the patches of a picture);
* element-wise operations after convolutions and pools belong to them;
* attention is the operation itself or a product of two activations, what leads only to it
  (projections, rotation), and what follows up to and including the residual connection;
* the head is what follows the last layer and leads only to outputs, the choice of one row included;
* the remaining linear layers and experts, with what is between them, are the MLP; in a graph with
  convolutions and without attention they are convolutions.

Without attention, only lookups are embedding; without convolutions either, there is no head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.graph.operations import Add, Linear
from onewafer.graph.operations.layer_part import LayerPart, Place

if TYPE_CHECKING:
    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


_HEAD = Place.IN_HEAD | Place.FIRST_IN_HEAD
_MOST_PROJECTIONS = 2
"""The most linear layers between attention and a residual connection."""


def layer_parts(graph: Graph) -> tuple[LayerPart, ...]:
    """Return the part of each operation of a graph, in order."""
    return _Assignment(graph).complete()


class _Assignment:
    """The parts of operations that are known so far."""

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
            if operation.part is not None:
                self._parts[index] = operation.part
            elif Place.WITH_OPERAND in operation.places:
                self._keep_part(index, operation)

    def _keep_part(self, index: int, operation: Operation) -> None:
        """Assign an element-wise operation on lookups or convolutions to their part."""
        sources = [self._defined.get(name, -1) for name in operation.activation_operands]
        before = {self._parts.get(source) for source in sources}
        if before == {LayerPart.CONVOLUTION}:
            self._parts[index] = LayerPart.CONVOLUTION
        elif before == {LayerPart.EMBEDDING} and Place.JOINING in operation.places:
            self._parts[index] = LayerPart.EMBEDDING

    def _assign_what_leads_to_attention(self) -> None:
        """Assign operations that lead only to attention, also through norms."""
        leads = {i for i, part in self._parts.items() if part is LayerPart.ATTENTION}
        for index, operation in reversed([*enumerate(self._operations)]):
            readers = self._readers.get(operation.result.name, [])
            if not readers or not leads.issuperset(readers) or self._is_output(operation):
                continue
            if index not in self._parts and Place.BEFORE_ATTENTION in operation.places:
                self._parts[index] = LayerPart.ATTENTION
                leads.add(index)
            elif operation.part is LayerPart.NORMS:
                leads.add(index)

    def _assign_what_follows_attention(self) -> None:
        """Assign operations up to the residual connection, also through a norm before it."""
        steps: dict[int, int] = {}
        """Operation → the linear layers and norms since attention."""
        for index, operation in enumerate(self._operations):
            if operation.part is LayerPart.ATTENTION:
                steps[index] = 0
                continue
            sources = [self._defined.get(name, -1) for name in operation.activation_operands]
            known = [steps[source] for source in sources if source in steps]
            if not known:
                continue
            if operation.part is LayerPart.NORMS:
                steps[index] = _MOST_PROJECTIONS
            elif Place.AFTER_ATTENTION in operation.places and index not in self._parts:
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
            is_lookup = operation.part is LayerPart.EMBEDDING
            is_plain = is_lookup or Place.AFTER_ATTENTION in operation.places
            if is_free and is_plain and passed.issuperset(operation.activation_operands):
                self._parts[index] = LayerPart.EMBEDDING
                passed.add(operation.result.name)

    def _assign_head(self) -> None:
        """Assign operations from the outputs back to a residual connection, also through norms."""
        heads: set[int] = set()
        for index, operation in reversed([*enumerate(self._operations)]):
            readers = self._readers.get(operation.result.name, [])
            if not heads.issuperset(readers) or not (readers or self._is_output(operation)):
                continue
            if index not in self._parts and operation.places & _HEAD:
                self._parts[index] = LayerPart.HEAD
                if Place.IN_HEAD in operation.places:
                    heads.add(index)
            elif operation.part is LayerPart.NORMS:
                heads.add(index)

    def _assign_rest(self) -> None:
        """Assign linear layers to the MLP, and other operations to the part of an operand.

        In a graph with convolutions and without attention, linear layers count as convolutions.
        """
        kinds = {*self._parts.values()}
        is_convolutional = LayerPart.CONVOLUTION in kinds and LayerPart.ATTENTION not in kinds
        linear = LayerPart.CONVOLUTION if is_convolutional else LayerPart.MLP
        for index, operation in enumerate(self._operations):
            if index in self._parts:
                continue
            if Place.IN_MLP in operation.places:
                self._parts[index] = linear
                continue
            sources = [self._defined.get(name) for name in operation.activation_operands]
            before = {self._parts[source] for source in sources if source is not None}
            is_with = Place.WITH_OPERAND in operation.places
            follows = is_with and bool(before - {LayerPart.OTHER})
            self._parts[index] = linear if follows else LayerPart.OTHER

    def _is_output(self, operation: Operation) -> bool:
        return operation.result.name in self._graph.outputs
