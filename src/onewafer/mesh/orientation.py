"""Choose the axis over which the features of each tensor are blocked.

A linear operation turns the axis, everything else keeps it, so the question is a two-colouring:
tensors joined by element-wise operations are alike, the sides of a linear operation differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
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

    def join(self, left: str, right: str, *, turned: bool) -> bool:
        """Demand a relation of two tensors; return False if it contradicts earlier ones."""
        left_root, left_turned = self.find(left)
        right_root, right_turned = self.find(right)
        if left_root == right_root:
            return left_turned ^ right_turned == turned
        self.parent[right_root] = (left_root, left_turned ^ right_turned ^ turned)
        return True


def choose_axes(graph: Graph, *, width: int, height: int) -> Mapping[str, Axis]:
    """Return the axis of every input and result; inputs lie along x if nothing speaks against it.

    Raises UnsupportedOperationError for the first operation whose operands cannot lie alike. On a
    single PE both axes are the same, and everything fits.
    """
    turns = _Turns()
    for operation in graph.operations:
        result = operation.result.name
        match operation:
            case Linear():
                fits = turns.join(operation.input, result, turned=True)
            case AddBias() | Relu():
                fits = turns.join(operation.input, result, turned=False)
            case Add():
                turns.join(operation.left, result, turned=False)
                fits = turns.join(operation.right, result, turned=False)
        if not fits and (width, height) != (1, 1):
            raise UnsupportedOperationError(
                f"{type(operation).__name__} that defines {result!r}: its operands lie along "
                "different axes of the rectangle, because one has passed through an odd number of "
                "linear operations and the other through an even number. The mesh program has no "
                "operation that lays a tensor out anew; run on a rectangle of 1×1, or let the "
                "host do this operation"
            )
    names = [tensor.name for tensor in graph.inputs]
    names += [operation.result.name for operation in graph.operations]
    return {name: Axis.Y if turns.find(name)[1] else Axis.X for name in names}
