"""Choose how the features of each tensor lie: along which axis.

A linear operation turns the axis, everything else keeps it, so the question is a two-colouring:
tensors joined by element-wise operations are alike, the sides of a linear operation differ. A graph
without a contradiction gets the colouring that needs no `Turn`. Each operation on two tensors that
contradicts the operations before it needs one, for its right operand: its result lies as the left
one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.mesh.lowering.catalog import lowering_of
from onewafer.mesh.program import Axis, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph


@dataclass(slots=True)
class Relations:
    """Union-find over tensors; each knows whether it is turned against its parent."""

    parent: dict[str, tuple[str, bool]] = field(default_factory=dict[str, tuple[str, bool]])

    def join(self, left: str, right: str) -> None:
        """Let two tensors lie alike."""
        self._relate(left, right, turned=False)

    def join_if_possible(self, left: str, right: str) -> None:
        """Let two tensors lie alike, unless that contradicts what was said before."""
        self._relate(left, right, turned=False)

    def turn(self, left: str, right: str) -> None:
        """Let two tensors lie along different axes."""
        self._relate(left, right, turned=True)

    def is_turned(self, name: str) -> bool:
        """Return whether a tensor lies along another axis than the first one related to it."""
        return self._find(name)[1]

    def _find(self, name: str) -> tuple[str, bool]:
        """Return the root of a tensor and whether the tensor is turned against it."""
        turned = False
        while name in self.parent:
            name, step = self.parent[name]
            turned ^= step
        return name, turned

    def _relate(self, left: str, right: str, *, turned: bool) -> None:
        """Relate two tensors, unless earlier relations have done so, alike or not."""
        left_root, left_turned = self._find(left)
        right_root, right_turned = self._find(right)
        if left_root != right_root:
            self.parent[right_root] = (left_root, left_turned ^ right_turned ^ turned)


def choose_axes(graph: Graph) -> Mapping[str, Axis]:
    """Return the axis of every input and result; inputs lie along x if nothing speaks against it.

    Only the right operand of an operation on two tensors may lie along another axis than the
    result.
    """
    relations = Relations()
    for operation in graph.operations:
        lowering_of(operation).relate(operation, relations)
    names = [tensor.name for tensor in graph.inputs]
    names += [operation.result.name for operation in graph.operations]
    return {name: Axis.Y if relations.is_turned(name) else Axis.X for name in names}


def choose_layouts(graph: Graph, width: int, height: int) -> Mapping[str, Layout]:
    """Return the layout of every input and result."""
    sizes = {Axis.X: width, Axis.Y: height}
    axes = choose_axes(graph)
    tensors = (*graph.inputs, *(operation.result for operation in graph.operations))
    return {
        tensor.name: Layout.cut(tensor.shape[-1], axes[tensor.name], sizes[axes[tensor.name]])
        for tensor in tensors
    }
