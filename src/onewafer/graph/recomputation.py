"""Recomputation: a backward pass that recomputes layers instead of keeping their results.

In: a graph with its gradients. Out: an equivalent graph, equal in every bit, with fewer results
that live from the forward to the backward pass. The forward pass is cut where later operations read
exactly one result: the residual stream, between its additions. The result at a cut is kept
(`Keep`). Before the first operation of the backward pass that reads a result between two cuts, the
kept rows are recalled (`Recall`), and the operations from them to the last such result are
repeated. Inputs and outputs stay in memory in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from onewafer.graph.gradients import fresh_name
from onewafer.graph.operations import Keep, LayerPart, Recall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from onewafer.graph.gradients import Gradients
    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation


def recompute(gradients: Gradients, num_model: int, *, cuts: int = 1) -> tuple[Gradients, int]:
    """Return gradients that recompute the model, and the new number of the model's operations.

    The model is the first `num_model` operations; the loss is what follows, up to the gradients.
    One recomputation covers `cuts` cuts: the more, the fewer rows are kept; with two it is usually
    a layer. Pieces whose results no gradient reads are not recomputed.
    """
    graph, number = gradients.graph, gradients.num_forward
    pieces = _pieces(gradients, num_model, cuts)
    operations: list[Operation] = []
    by_index = {piece.begin: piece for piece in pieces}
    for index, operation in enumerate(graph.operations[:number]):
        operations += [by_index[index].keep(graph)] if index in by_index else []
        operations.append(operation)
    waiting = {name: piece for piece in pieces for name in piece.results}
    instead: dict[str, str] = {}
    for operation in graph.operations[number:]:
        for name in operation.activation_operands:
            if name in waiting and name not in instead:
                operations += waiting[name].again(graph)
                instead |= waiting[name].names(graph)
        operations.append(operation.computed_again(instead))
    found = replace(
        gradients,
        graph=replace(graph, operations=(*operations,)),
        num_forward=number + len(pieces),
        originals={new: old for old, new in instead.items()},
    )
    return found, num_model + len(pieces)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive operations of the forward pass that are recomputed together."""

    begin: int
    """The index of the first operation."""
    source: str
    """The only earlier result that they read."""
    operations: tuple[Operation, ...]

    @property
    def results(self) -> tuple[str, ...]:
        """The names of their source and their results."""
        return (self.source, *(operation.result.name for operation in self.operations))

    def names(self, graph: Graph) -> dict[str, str]:
        """Return the names of source and results in the backward pass, by their old names."""
        return {name: fresh_name(graph, f"{name}.again") for name in self.results}

    def keep(self, graph: Graph) -> Operation:
        """Return the operation that keeps the source."""
        tensor = graph.tensor(self.source)
        return Keep(replace(tensor, name=fresh_name(graph, f"{self.source}.kept")), self.source)

    def again(self, graph: Graph) -> list[Operation]:
        """Return the recomputation: the recall of the source, and the operations with new names."""
        names, kept = self.names(graph), self.keep(graph).result.name
        recalled = replace(graph.tensor(self.source), name=names[self.source])
        return [Recall(recalled, kept), *(one.computed_again(names) for one in self.operations)]


def _pieces(gradients: Gradients, num_model: int, cuts: int) -> list[_Piece]:
    """Return the pieces whose recomputation frees more elements than their source needs."""
    graph = gradients.graph
    backward = graph.operations[gradients.num_forward :]
    read = {name for operation in backward for name in operation.activation_operands}
    read -= {*graph.outputs}
    found = [*_cut(graph, graph.operations[: gradients.num_forward], num_model)]

    def between(first: tuple[int, str], last: tuple[int, str]) -> _Piece | None:
        operations = graph.operations[first[0] : last[0]]
        piece = _Piece(*first, _leading_to(operations, read - {last[1]}))
        left = sum(graph.tensor(name).num_elements for name in read.intersection(piece.results[1:]))
        return piece if left > graph.tensor(first[1]).num_elements else None

    single = [between(*pair) for pair in pairwise(found)]
    begin = next((index for index, piece in enumerate(single) if piece is not None), len(single))
    places = range(begin, len(found) - 1, cuts)
    pieces = [between(found[at], found[min(at + cuts, len(found) - 1)]) for at in places]
    return [piece for piece in pieces if piece is not None]


def _leading_to(operations: Sequence[Operation], read: Collection[str]) -> tuple[Operation, ...]:
    """Return the operations up to the last one whose result is read.

    Norms are always included: their gradients also read statistics of rows.
    """
    ends = [
        index + 1
        for index, operation in enumerate(operations)
        if operation.result.name in read or operation.part is LayerPart.NORMS
    ]
    return tuple(operations[: max(ends, default=0)])


def _cut(graph: Graph, forward: Sequence[Operation], num_model: int) -> Iterator[tuple[int, str]]:
    """Yield the cuts of a model: the index behind each, and the result that passes it."""
    last = {
        name: i for i, operation in enumerate(forward) for name in operation.activation_operands
    }
    inner = {operation.result.name for operation in forward}.intersection(last) - {*graph.outputs}
    live: set[str] = set()
    passed = ""
    for index, operation in enumerate(forward[:num_model]):
        live = {name for name in live | {operation.result.name} & inner if last[name] > index}
        if len(live) == 1 and passed not in live:
            (passed,) = live
            yield index + 1, passed
