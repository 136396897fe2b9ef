"""Cycles of products in training: tokens over the rows of PEs, features along them.

A wafer is cut into strips, one PE high and as wide as the wafer or a fraction of it. Each strip has
some tokens; its PEs share their features. Weights arrive in blocks of outputs, the same for all
strips; each PE multiplies its features of its tokens, and the strip sums over its PEs. Nothing else
is sent, and a weight that has arrived serves all tokens, as in weight streaming (Lie, "Cerebras
Architecture Deep Dive", IEEE Micro 2023).

The cost of a block is read from the mesh program of one product on a strip: local products, sum,
and bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, UnsupportedOperationError
from onewafer.graph import Graph, Linear, Tensor
from onewafer.mesh import Estimator, footprint, largest_rectangle, shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import Architecture
    from onewafer.graph import DataType

_NARROWEST = 16
"""Fewest PEs of a strip."""
_BLOCKS = (16, 32, 64, 128, 256)
"""Outputs whose weights are on the wafer at a time."""
_PRODUCT = "matmul"


@dataclass(frozen=True, slots=True)
class Strips:
    """The layout of tokens and features on a wafer."""

    width: int
    """PEs that share the features of a token."""
    count: int
    """Strips on the wafer, each with tokens of its own."""
    block: int
    """Outputs whose weights are on the wafer at a time."""

    @property
    def num_pes(self) -> int:
        """PEs in use."""
        return self.width * self.count

    def rows(self, tokens: int) -> int:
        """Return the tokens of the fullest strip."""
        return -(-tokens // self.count)


@dataclass(frozen=True, slots=True)
class ProductCost:
    """One product of all tokens of a wafer with a weight, forward."""

    product_cycles: int
    sum_cycles: int
    """Cycles of sums over the PEs of a strip, and of starting the operations."""
    num_bytes: int
    """Bytes per PE: code, operands, sums, the weights in use and those of the next block."""


def strips_of(architecture: Architecture) -> Iterator[Strips]:
    """Yield the ways to cut a wafer into strips, the widest first."""
    width, height = largest_rectangle(architecture)
    parts = 1
    while width // parts >= _NARROWEST:
        for block in _BLOCKS:
            yield Strips(width // parts, parts * height, block)
        parts *= 2


class Products:
    """Cached costs of products on strips of one machine."""

    def __init__(self, architecture: Architecture, dtype: DataType) -> None:
        self._architecture = architecture
        self._dtype = dtype
        self.cost = cache(self._cost)

    def _cost(self, inputs: int, outputs: int, *, strips: Strips, rows: int) -> ProductCost | None:
        """Return the cost of a product with the rows of a strip; None: no program can be built."""
        block = min(strips.block, outputs)
        try:
            one = self._block(inputs, block, strips.width, rows)
        except (ConfigurationError, UnsupportedOperationError):
            return None
        count = math.ceil(outputs / block)
        return ProductCost(count * one.product_cycles, count * one.sum_cycles, one.num_bytes)

    def _block(self, inputs: int, outputs: int, width: int, rows: int) -> ProductCost:
        graph = _product(inputs, outputs, rows, self._dtype)
        program = shard(graph, width=width, height=1, architecture=self._architecture)
        estimate = Estimator(program, self._architecture).estimate()
        products = sum(
            cost.cycles for cost in estimate.operations if cost.kind.name.startswith(_PRODUCT)
        )
        next_block = -(-inputs // width) * outputs * self._dtype.num_bytes
        return ProductCost(
            products,
            estimate.cycles - products,
            footprint(program, self._architecture).total + next_block,
        )


def _product(inputs: int, outputs: int, rows: int, dtype: DataType) -> Graph:
    return Graph(
        "product",
        (Tensor("x", (rows, inputs), dtype),),
        (Tensor("w", (outputs, inputs), dtype),),
        (Linear(Tensor("y", (rows, outputs), dtype), "x", "w"),),
        ("y",),
    )
