"""Operations that the mesh program has no form of, as others that cost about as much.

In: a segment of a captured model. Out: its graph of operations that have a form, which of them
stand for others, and how many times their parameters are stored.

    experts    the products of those that a row meets, as one network that is so many times as
               wide; every expert lies over the whole region, so the weights of all are stored, and
               no row goes anywhere
    windows    attention to all positions: those beyond the window are kept and looked at
    sinks      nothing: a score more
    opaque     a view is nothing; what keeps shapes is a pass over the elements; what changes
               features is a product without stored weights
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    Attention,
    Experts,
    Graph,
    Linear,
    Multiply,
    Opaque,
    Scale,
    Tensor,
    activation_operands,
    parameter_operands,
    rename_operation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.graph import Operation, Segment

_GATED = 2.5
"""Matrices of an expert, from which on one of them is a gate: three, or two with one twice as wide
against two."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The graph of one piece of a segment, with what it says of the model."""

    graph: Graph
    shared: frozenset[str] = frozenset()
    """Parameters that are one tensor in all pieces."""
    constants: frozenset[str] = frozenset()
    """Parameters that nobody learned."""
    estimated: frozenset[str] = frozenset()
    """Results of operations that stand for others."""
    stored: Mapping[str, float] = field(default_factory=dict[str, float])
    """Parameter → how many times its bytes are stored; 1 for those that are not named."""


def with_stand_ins(segment: Segment) -> Piece:
    """Return a piece of a segment whose operations have a form on the mesh, as far as they can.

    Raises UnsupportedOperationError for one that nothing here can stand for.
    """
    graph = _without_dead(segment.graph)
    stand_ins = _StandIns(graph)
    operations = [op for operation in graph.operations for op in stand_ins.of(operation)]
    used = {name for operation in operations for name in parameter_operands(operation)}
    kept = [tensor for tensor in graph.parameters if tensor.name in used]
    return Piece(
        replace(
            graph,
            operations=tuple(operations),
            parameters=(*kept, *stand_ins.parameters),
            outputs=tuple(stand_ins.seen_as(name) for name in graph.outputs),
        ),
        segment.shared,
        segment.constants,
        frozenset(stand_ins.estimated),
        stand_ins.stored,
    )


class _StandIns:
    """Replaces operations one by one."""

    def __init__(self, graph: Graph) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.tensors}
        self._seen_as: dict[str, str] = {}
        """Views, by the tensors that they are."""
        self.parameters: list[Tensor] = []
        self.estimated: set[str] = set()
        self.stored: dict[str, float] = {}

    def seen_as(self, name: str) -> str:
        """Return the tensor that a view is of."""
        return self._seen_as.get(name, name)

    def of(self, operation: Operation) -> Iterator[Operation]:
        """Yield what stands for an operation: itself, if it has a form."""
        match operation:
            case Experts():
                yield from self._experts(operation)
            case Opaque():
                yield from self._opaque(operation)
            case Attention():
                if operation.sinks is not None:
                    self.estimated.add(operation.result.name)
                yield self._renamed(replace(operation, window=None, sinks=None))
            case _:
                yield self._renamed(operation)

    def _experts(self, operation: Experts) -> Iterator[Operation]:
        source, result = self._tensors[self.seen_as(operation.input)], operation.result
        features, inner = result.shape[-1], operation.experts_per_row * operation.hidden_features
        held = sum(self._tensors[name].num_elements for name in operation.weights)
        one = operation.num_experts * operation.hidden_features * features
        is_gated = held >= _GATED * one
        times = held / ((3 if is_gated else 2) * inner * features)

        def tensor(part: str, columns: int) -> Tensor:
            return Tensor(f"{result.name}.{part}", (*result.shape[:-1], columns), result.dtype)

        hidden = self._product(tensor("gate", inner), source, times)
        yield hidden
        active = Activation(tensor("active", inner), hidden.result.name, ActivationFunction.SILU)
        yield active
        last = active.result
        if is_gated:
            up = self._product(tensor("up", inner), source, times)
            yield up
            yield Multiply(tensor("gated", inner), last.name, up.result.name)
            last = tensor("gated", inner)
        yield self._product(result, last, times)
        self.estimated |= {active.result.name, last.name}

    def _opaque(self, operation: Opaque) -> Iterator[Operation]:
        result = operation.result
        source = self._tensors[self.seen_as(operation.inputs[0])] if operation.inputs else None
        if source is None or source.shape[:-1] != result.shape[:-1]:
            raise UnsupportedOperationError(
                f"{operation.function} that defines {result.name!r}: it makes other rows than it "
                "is given, and nothing on the wafer costs as much"
            )
        if source.shape == result.shape and operation.is_view:
            self._seen_as[result.name] = source.name
            return
        self.estimated.add(result.name)
        if source.shape == result.shape:
            yield Scale(result, source.name, 1.0)
        else:
            yield self._product(result, source, 0.0)

    def _product(self, result: Tensor, source: Tensor, times: float) -> Linear:
        """Return a product with a weight of its own, whose bytes are stored so many times."""
        weight = Tensor(
            f"{result.name}.weights", (result.shape[-1], source.shape[-1]), result.dtype
        )
        self.parameters.append(weight)
        self.stored[weight.name] = times
        self.estimated.add(result.name)
        return Linear(result, source.name, weight.name)

    def _renamed(self, operation: Operation) -> Operation:
        return rename_operation(operation, self._seen_as)


def _without_dead(graph: Graph) -> Graph:
    """Return the graph without what only leads to the choice of experts, but products."""
    alive = {*graph.outputs}
    kept: list[Operation] = []
    for operation in reversed(graph.operations):
        if operation.result.name not in alive and isinstance(operation, Opaque):
            continue
        kept.append(operation)
        operands = {*activation_operands(operation)}
        if isinstance(operation, Experts):
            operands = {operation.input}
        alive |= operands
    return replace(graph, operations=tuple(reversed(kept)))
