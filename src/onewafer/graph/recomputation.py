"""Let a backward pass compute layers again instead of reading what the forward pass has left.

In: a graph with its gradients. Out: the same, and the same bits, with fewer results that live from
one pass to the other. The forward pass is cut where exactly one result is read by what follows: the
residual stream, between its additions. That one is kept (`Keep`). Before the first operation of the
backward pass that reads a result between two cuts, the rows are recalled (`Recall`), and what leads
from them to the last such result is computed again. Inputs and outputs stay in memory anyway.
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
    """Return gradients that compute the model again, and how many operations are the model then.

    The model are the first `num_model` operations; what follows up to the gradients is its loss.
    What is computed again at a time is what lies between so many `cuts`: the more, the fewer rows
    are kept. With two, that is usually a layer. Gradients that read nothing between cuts stay as
    they are.
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
    """Operations of the forward pass that are done again, one after the other."""

    begin: int
    """The index of the first one."""
    source: str
    """The only result before them that they read."""
    operations: tuple[Operation, ...]

    @property
    def results(self) -> tuple[str, ...]:
        """The names of what there is once they are done, what they begin with included."""
        return (self.source, *(operation.result.name for operation in self.operations))

    def names(self, graph: Graph) -> dict[str, str]:
        """Return the other names that all of these have then."""
        return {name: fresh_name(graph, f"{name}.again") for name in self.results}

    def keep(self, graph: Graph) -> Operation:
        """Return the copy that stays."""
        tensor = graph.tensor(self.source)
        return Keep(replace(tensor, name=fresh_name(graph, f"{self.source}.kept")), self.source)

    def again(self, graph: Graph) -> list[Operation]:
        """Return the operations, under other names, behind the copy of what was kept."""
        names, kept = self.names(graph), self.keep(graph).result.name
        recalled = replace(graph.tensor(self.source), name=names[self.source])
        return [Recall(recalled, kept), *(one.computed_again(names) for one in self.operations)]


def _pieces(gradients: Gradients, num_model: int, cuts: int) -> list[_Piece]:
    """Return the pieces that are worth it: more rows are read of them than they begin with."""
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
    """Return the operations up to the last one with a result that is read.

    A norm is among them in any case: its gradient also needs what it finds of rows.
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
