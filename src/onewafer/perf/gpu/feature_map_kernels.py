"""Fuse the operations of a graph on feature maps into kernels.

In: a graph. Out: kernels in the order of execution, each with its first operation and those fused
into it. An elementwise operation is fused into the kernel that writes its operand, if the caller
allows it and no other operation reads that operand; views take no kernel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import (
    Add,
    AddBias,
    Multiply,
    OfElement,
    Opaque,
    Scale,
    ScaleFeatures,
    ScalePixels,
    ShiftPixels,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.graph import Graph, Operation

_ELEMENTWISE = (
    Add,
    AddBias,
    Multiply,
    OfElement,
    Scale,
    ScaleFeatures,
    ScalePixels,
    ShiftPixels,
)


@dataclass(slots=True)
class MapKernel:
    """A kernel in the making."""

    operations: list[Operation]
    read: list[str]
    """The feature maps that it reads, views replaced by the tensors that they view."""
    result: str

    @property
    def first(self) -> Operation:
        """The operation that gives the kernel its shape."""
        return self.operations[0]


def form_kernels(
    graph: Graph,
    *,
    may_join: Callable[[MapKernel, Operation], bool],
    is_done_before: Callable[[list[str]], bool],
) -> tuple[list[MapKernel], dict[str, str]]:
    """Return the kernels of a graph, and the results that alias other tensors: result → tensor.

    `may_join` tells whether an operation may be fused into a kernel, `is_done_before` whether an
    operation on these tensors is fused into the kernel before the graph.
    """
    forming = _Forming(graph, may_join, is_done_before)
    for operation in graph.operations:
        forming.visit(operation)
    return forming.kernels, forming.same_as


def count_readers(graph: Graph) -> Counter[str]:
    """Return how many operations read each tensor; an output of the graph has one more reader."""
    operands = (operation.activation_operands for operation in graph.operations)
    readers = Counter(name for names in operands for name in {*names})
    readers.update(graph.outputs)
    return readers


class _Forming:
    def __init__(
        self,
        graph: Graph,
        may_join: Callable[[MapKernel, Operation], bool],
        is_done_before: Callable[[list[str]], bool],
    ) -> None:
        self._graph = graph
        self._num_readers = count_readers(graph)
        self._may_join, self._is_done_before = may_join, is_done_before
        self.same_as: dict[str, str] = {}
        self.kernels: list[MapKernel] = []

    def visit(self, operation: Operation) -> None:
        """Fuse the operation into a kernel, or add a kernel for it."""
        names = [self.same_as.get(name, name) for name in operation.activation_operands]
        result = operation.result.name
        if isinstance(operation, Opaque) and operation.is_view and names:
            self.same_as[result] = names[0]
            return
        if self._is_elementwise(operation):
            if self._joins(operation, names):
                return
            if self._is_done_before(names):
                self.same_as[result] = names[0]
                return
        self.kernels.append(MapKernel([operation], names, result))

    def _is_elementwise(self, operation: Operation) -> bool:
        """Tell whether an operation is elementwise, as opaque ones of unchanged shape may be."""
        if isinstance(operation, Opaque) and len(operation.inputs) == 1:
            shape = self._graph.tensor(operation.inputs[0]).shape
            return shape == operation.result.shape and not operation.parameters
        return isinstance(operation, _ELEMENTWISE)

    def _joins(self, operation: Operation, names: list[str]) -> bool:
        """Fuse the operation into the last kernel that writes an operand for it alone."""
        for kernel in reversed(self.kernels):
            is_alone = kernel.result in names and self._num_readers[kernel.result] == 1
            if is_alone and self._may_join(kernel, operation):
                kernel.read += [name for name in names if name != kernel.result]
                kernel.operations.append(operation)
                kernel.result = operation.result.name
                return True
        return False
