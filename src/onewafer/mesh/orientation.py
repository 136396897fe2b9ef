"""Choose the axis over which the features of each tensor are blocked.

A linear operation turns the axis, everything else keeps it, so the question is a two-colouring:
tensors joined by element-wise operations are alike, the sides of a linear operation differ. A graph
without a contradiction gets the colouring that needs no `Turn`. Each `Add` that contradicts the
operations before it needs one, for its right operand: its result lies as the left one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.graph import Add, AddBias, Linear, Relu
from onewafer.mesh.program import Axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph


@dataclass(slots=True)
class _Turns:
    """Union-find over tensors; each knows whether it is turned against its parent."""

    parent: dict[str, tuple[str, bool]] = field(default_factory=dict[str, tuple[str, bool]])

    def find(self, name: str) -> tuple[str, bool]:
        """Return the root of a tensor and whether the tensor is turned against it."""
        turned = False
        while name in self.parent:
            name, step = self.parent[name]
            turned ^= step
        return name, turned

    def join(self, left: str, right: str, *, turned: bool) -> None:
        """Relate two tensors, unless earlier relations have done so, alike or not."""
        left_root, left_turned = self.find(left)
        right_root, right_turned = self.find(right)
        if left_root != right_root:
            self.parent[right_root] = (left_root, left_turned ^ right_turned ^ turned)


def choose_axes(graph: Graph) -> Mapping[str, Axis]:
    """Return the axis of every input and result; inputs lie along x if nothing speaks against it.

    Only the right operand of an `Add` may lie along another axis than the result.
    """
    turns = _Turns()
    for operation in graph.operations:
        result = operation.result.name
        match operation:
            case Linear():
                turns.join(operation.input, result, turned=True)
            case AddBias() | Relu():
                turns.join(operation.input, result, turned=False)
            case Add():
                turns.join(operation.left, result, turned=False)
                turns.join(operation.right, result, turned=False)
            case _:
                pass  # `shard` refuses it
    names = [tensor.name for tensor in graph.inputs]
    names += [operation.result.name for operation in graph.operations]
    return {name: Axis.Y if turns.find(name)[1] else Axis.X for name in names}
