"""Products of heads in a mesh program: a weight that is zero but between features of one head.

The program has them as products of everything by everything. Features lie in such an order that
every PE has some of all heads that meet there, so that of the features of its operand a part meets
each column: one in as many as there are heads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.graph import Linear
from onewafer.mesh import Matmul

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh import MeshProgram


def with_head_products(program: MeshProgram, heads: Mapping[str, int]) -> MeshProgram:
    """Return a program that multiplies what is not zero of weights.

    `heads` says of weights how many parts they are cut into, of which each has rows and columns of
    its own.
    """
    if not heads:
        return program
    operations = program.graph.operations
    multiplied = (
        _less(operation, heads.get(source.weight, 1))
        if isinstance(operation, Matmul) and isinstance(source := operations[at], Linear)
        else operation
        for operation, at in zip(program.operations, program.sources, strict=True)
    )
    return replace(program, operations=tuple(multiplied))


def _less(product: Matmul, heads: int) -> Matmul:
    rows = -(-product.weight.rows // heads)
    return replace(product, weight=replace(product.weight, rows=rows))
