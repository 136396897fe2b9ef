"""A lower bound on the memory of a group's feature maps, before a program is built.

In: the graph of a group's blocks, and the sides of a group. Out: bytes that every program needs. A
feature map in f16 lives from the operation that makes it to its last reader; an operation in place
counts its operand once. Sums of products in f32 have their own buffer, of the size of the largest.
Products change the axis that features lie along; where it is unknown, the longer axis is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import (
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Linear,
    MaxPool,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from onewafer.graph import Graph, Tensor

FEATURE_BYTES = 2
"""Bytes of an element of a feature map, in f16."""
_SUM_BYTES = 4
"""Bytes of an element of a product's sum, in f32."""
_PRODUCTS = (Convolution, Linear)
_APART = (*_PRODUCTS, DepthwiseConvolution, MaxPool, GlobalAveragePool)
"""Operations that do not work in place."""


@dataclass(frozen=True, slots=True)
class _Map:
    """A feature map of a group."""

    pixels: int
    features: int
    axis: int | None
    """The axis that features lie along, 0 or 1; None: unknown."""

    def elements(self, group: tuple[int, int], first: int) -> int:
        """Return the elements on one PE, if axis 0 lies along side `first` of the group."""
        side = max(group) if self.axis is None else group[self.axis ^ first]
        return self.pixels * -(-self.features // side)


@dataclass(frozen=True, slots=True)
class FeatureMapMemory:
    """The feature maps of a graph."""

    moments: tuple[tuple[_Map, ...], ...]
    """For each operation, the feature maps that live while it runs."""
    sums: tuple[_Map, ...]
    """The results of products."""

    @classmethod
    def of(cls, graph: Graph) -> FeatureMapMemory:
        """Return the feature maps of a graph whose operations are in the order of execution."""
        maps = _maps(graph)
        last = {
            name: at
            for at, operation in enumerate(graph.operations)
            for name in operation.activation_operands
        }
        last |= dict.fromkeys(graph.outputs, len(graph.operations))
        there = [tensor.name for tensor in graph.inputs]
        moments: list[tuple[_Map, ...]] = []
        for at, operation in enumerate(graph.operations):
            result = operation.result.name
            kept = [name for name in there if last.get(name, at) > at]
            is_apart = isinstance(operation, _APART) or len(kept) == len(there)
            moments.append(tuple(maps[name] for name in (*there, *([result] if is_apart else []))))
            there = [*kept, result]
        products = (op.result.name for op in graph.operations if isinstance(op, _PRODUCTS))
        return cls(tuple(moments), tuple(maps[name] for name in products))

    def least_bytes(self, group: tuple[int, int]) -> int:
        """Return the least bytes per PE of a group of (width, height)."""
        return min(self._bytes(group, first) for first in (0, 1))

    def _bytes(self, group: tuple[int, int], first: int) -> int:
        def elements(maps: Iterable[_Map]) -> Iterable[int]:
            return (one.elements(group, first) for one in maps)

        most = max((sum(elements(moment)) for moment in self.moments), default=0)
        return FEATURE_BYTES * most + _SUM_BYTES * max(elements(self.sums), default=0)


def _maps(graph: Graph) -> Mapping[str, _Map]:

    def map_of(tensor: Tensor, axis: int | None) -> _Map:
        pixels, features = tensor.shape
        return _Map(pixels, features, axis)

    maps = {tensor.name: map_of(tensor, 0) for tensor in graph.inputs}
    for operation in graph.operations:
        axes = {maps[name].axis for name in operation.activation_operands}
        axis = axes.pop() if len(axes) == 1 else None
        if isinstance(operation, _PRODUCTS) and axis is not None:
            axis = 1 - axis
        maps[operation.result.name] = map_of(operation.result, axis)
    return maps
