"""The uses of each tensor in a graph: an analysis that serves programs on any rectangle."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh.lowering.phases import Needs, choose_phases, find_owners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph, Operation
    from onewafer.mesh.blocks import Layout


class Uses:
    """The uses of the tensors of one graph."""

    def __init__(self, graph: Graph, needs: Mapping[str, Needs]) -> None:
        """Take a graph, and the needs of the operation that defines each result."""
        self.graph = graph
        self.scalars = _find_scalars(graph, needs)
        """Inputs and results that are one number, which every PE needs."""
        self.dtype = graph.dtype
        """The only floating type of the graph."""
        self.is_sequence = graph.is_sequence
        self._needs = needs
        self._phases: dict[frozenset[str], Mapping[str, int]] = {}
        """Phases by the set of results that have a redistributed operand."""

    @cached_property
    def readers(self) -> Mapping[str, tuple[Operation, ...]]:
        """The operations that read each input or result, in order."""
        readers: dict[str, list[Operation]] = {}
        for operation in self.graph.operations:
            for name in dict.fromkeys(operation.activation_operands):
                readers.setdefault(name, []).append(operation)
        return {name: tuple(operations) for name, operations in readers.items()}

    @cached_property
    def last(self) -> Mapping[str, int]:
        """The index of the last operation that reads each input or result."""
        uses = {tensor.name: -1 for tensor in self.graph.inputs}
        for index, operation in enumerate(self.graph.operations):
            uses[operation.result.name] = index  # an unread result is dead at once
            uses |= dict.fromkeys(operation.activation_operands, index)
        return uses | dict.fromkeys(self.graph.outputs, len(self.graph.operations))

    def redistributed(self, layouts: Mapping[str, Layout], *, num_pes: int) -> frozenset[str]:
        """Return the results that have an operand with another layout, which is redistributed.

        Only pairs of operands and operations in place count. On a single PE both axes are the same.
        """
        if num_pes == 1:
            return frozenset()
        return frozenset(
            operation.result.name
            for operation in self.graph.operations
            if any(
                layouts[name] != layouts[operation.result.name] for name in self._alike(operation)
            )
        )

    def _alike(self, operation: Operation) -> tuple[str, ...]:
        """Return the operands that need the layout of the result."""
        needs = self._needs[operation.result.name]
        operands = operation.activation_operands if needs.works_in_place else ()
        return needs.pair or tuple(name for name in operands if name not in needs.scalars)

    def phases(self, redistributed: frozenset[str]) -> Mapping[str, int]:
        """Return the offset of each activation block modulo `period`, in elements."""
        if redistributed not in self._phases:
            owners = find_owners(self.graph, self._needs, self.last, redistributed)
            self._phases[redistributed] = choose_phases(
                self.graph, self._needs, owners, redistributed
            )
        return self._phases[redistributed]


def _find_scalars(graph: Graph, needs: Mapping[str, Needs]) -> frozenset[str]:
    """Return the numbers that every PE needs, and those that they are computed from.

    Every PE has a loss, and so an element-wise function of it. Raises UnsupportedOperationError for
    another result: PEs other than the first have padding there.
    """
    found = {name for each in needs.values() for name in each.scalars}
    for operation in reversed(graph.operations):
        name = operation.result.name
        if name not in found or operation.joins_rows:
            continue
        if not needs[name].works_in_place:
            raise UnsupportedOperationError(
                "the gradient of a loss that is multiplied by a result of a layer is not supported"
            )
        found.update(operation.activation_operands)
    return frozenset(found)
