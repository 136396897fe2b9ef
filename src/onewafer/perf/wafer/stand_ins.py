"""Replace operations that have no form in the mesh program by others of about the same cost.

In: a segment of a captured model. Out: a graph of operations that have a form, the estimated ones
among them, and how many times their parameters are stored.

    experts    the products of those that a row meets, as one network that is so many times as
               wide; hidden features of all experts are dealt out over the whole region, so the
               weights of all are stored, and no row goes anywhere
    latent     attention that keeps one vector for all heads: `latent` says how
    windows    attention to all positions: those beyond the window are kept and looked at
    sinks      nothing: a score more
    opaque     a view is nothing; what keeps shapes is a pass over the elements; what changes
               features is a product without stored weights
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
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
)
from onewafer.perf.wafer.latent import USUAL_FORM, without_latent_attention

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.graph import Operation, Segment
    from onewafer.perf.wafer.latent import LatentForm

_GATED = 2.5
"""Least size of an expert with a gate, in matrices of features × hidden features."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The graph of one piece of a segment, and its place in the model."""

    graph: Graph
    shared: frozenset[str] = frozenset()
    """Parameters that are one tensor in all pieces."""
    constants: frozenset[str] = frozenset()
    """Parameters that were not learned."""
    estimated: frozenset[str] = frozenset()
    """Results of operations that replace others."""
    stored: Mapping[str, float] = field(default_factory=dict[str, float])
    """Parameter → stored bytes ÷ bytes of its shape; 1 if not named."""
    stacked: Mapping[str, int] = field(default_factory=dict[str, int])
    """Weight of experts → the dimension along which experts are concatenated."""
    head_products: Mapping[str, int] = field(default_factory=dict[str, int])
    """Block-diagonal weight → number of heads."""
    kept_share: float = 1.0
    """Share of the graph's keys and values that is cached for later tokens."""
    passing_share: float = 0.0
    """Share of keys and values that exists for one sequence at a time, while its prompt is read."""


def with_stand_ins(segment: Segment, form: LatentForm = USUAL_FORM) -> Piece:
    """Return a segment's piece, with operations that have no form on the mesh replaced.

    Raises UnsupportedOperationError for an operation without a replacement.
    """
    latent = without_latent_attention(_without_choice(segment.graph), form)
    graph = latent.graph
    stand_ins = _StandIns(graph)
    operations = [op for operation in graph.operations for op in stand_ins.of(operation)]
    used = {name for operation in operations for name in operation.parameter_operands}
    kept = [tensor for tensor in graph.parameters if tensor.name in used]
    return Piece(
        replace(
            graph,
            operations=tuple(operations),
            parameters=(*kept, *latent.parameters, *stand_ins.parameters),
            outputs=tuple(stand_ins.seen_as(name) for name in graph.outputs),
        ),
        segment.shared,
        segment.constants,
        frozenset(stand_ins.estimated | latent.estimated),
        stand_ins.stored | latent.stored,
        stand_ins.stacked,
        latent.head_products,
        latent.kept_share,
        latent.passing_share,
    )


class _StandIns:
    """Replaces operations one by one."""

    def __init__(self, graph: Graph) -> None:
        self._tensors = graph.by_name
        self._seen_as: dict[str, str] = {}
        """View → the tensor that it views."""
        self.parameters: list[Tensor] = []
        self.estimated: set[str] = set()
        self.stored: dict[str, float] = {}
        self.stacked: dict[str, int] = {}

    def seen_as(self, name: str) -> str:
        """Return the tensor that a view views; another tensor's own name."""
        return self._seen_as.get(name, name)

    @singledispatchmethod
    def of(self, operation: Operation) -> Iterator[Operation]:
        """Yield the replacement of an operation: itself, if it has a form."""
        yield operation.renamed(self._seen_as)

    @of.register(Attention)
    def _attention(self, operation: Attention) -> Iterator[Operation]:
        if operation.sinks is not None:
            self.estimated.add(operation.result.name)
        yield replace(operation, window=None, sinks=None).renamed(self._seen_as)

    @of.register(Experts)
    def _experts(self, operation: Experts) -> Iterator[Operation]:
        source, result = self._tensors[self.seen_as(operation.input)], operation.result
        features, inner = result.shape[-1], operation.experts_per_row * operation.hidden_features
        held = sum(self._tensors[name].num_elements for name in operation.weights)
        one = operation.num_experts * operation.hidden_features * features
        is_gated = held >= _GATED * one
        times = held / ((3 if is_gated else 2) * inner * features)

        def tensor(part: str, columns: int) -> Tensor:
            return Tensor(f"{result.name}.{part}", (*result.shape[:-1], columns), result.dtype)

        hidden = self._product(tensor("gate", inner), source, times, stacked=0)
        yield hidden
        active = Activation(tensor("active", inner), hidden.result.name, ActivationFunction.SILU)
        yield active
        last = active.result
        if is_gated:
            up = self._product(tensor("up", inner), source, times, stacked=0)
            yield up
            yield Multiply(tensor("gated", inner), last.name, up.result.name)
            last = tensor("gated", inner)
        yield self._product(result, last, times, stacked=1)
        self.estimated |= {active.result.name, last.name}

    @of.register(Opaque)
    def _opaque(self, operation: Opaque) -> Iterator[Operation]:
        result = operation.result
        source = self._tensors[self.seen_as(operation.inputs[0])] if operation.inputs else None
        if source is None or source.shape[:-1] != result.shape[:-1]:
            raise UnsupportedOperationError(
                operation.refusal or f"`{operation.function}` is not supported on the wafer"
            )
        if source.shape == result.shape and operation.is_view:
            self._seen_as[result.name] = source.name
            return
        self.estimated.add(result.name)
        if source.shape == result.shape:
            yield Scale(result, source.name, 1.0)
        else:
            yield self._product(result, source, 0.0)

    def _product(
        self, result: Tensor, source: Tensor, times: float, *, stacked: int | None = None
    ) -> Linear:
        """Return a product with a new weight, whose bytes are stored `times`."""
        weight = Tensor(
            f"{result.name}.weights", (result.shape[-1], source.shape[-1]), result.dtype
        )
        self.parameters.append(weight)
        self.stored[weight.name] = times
        if stacked is not None:
            self.stacked[weight.name] = stacked
        self.estimated.add(result.name)
        return Linear(result, source.name, weight.name)


def _without_choice(graph: Graph) -> Graph:
    """Return the graph without the routing of experts, as far as it has no form.

    Opaque operations stay if they keep shapes and an operation with a form reads them.
    """
    choosing = _leading_to_choice(graph)
    tensors = graph.by_name
    missing: set[str] = set()
    for operation in graph.operations:
        result, operands = operation.result, operation.activation_operands
        changes_shape = isinstance(operation, Opaque) and (
            not operands or tensors[operands[0]].shape != result.shape
        )
        if result.name in choosing and (changes_shape or not missing.isdisjoint(operands)):
            missing.add(result.name)
    alive = {*graph.outputs}
    kept: list[Operation] = []
    for operation in reversed(graph.operations):
        name = operation.result.name
        if name not in missing and (name in alive or not isinstance(operation, Opaque)):
            kept.append(operation)
            alive |= {*_computed_operands(operation)}
    return replace(graph, operations=tuple(reversed(kept)))


def _leading_to_choice(graph: Graph) -> set[str]:
    """Return the results that only the routing of experts reads."""
    alive = {*graph.outputs}
    for operation in reversed(graph.operations):
        if operation.result.name in alive:
            alive |= {*_computed_operands(operation)}
    return {operation.result.name for operation in graph.operations} - alive


def _computed_operands(operation: Operation) -> tuple[str, ...]:
    """Return the operands of an operation, without the routing of experts."""
    return (operation.input,) if isinstance(operation, Experts) else operation.activation_operands
