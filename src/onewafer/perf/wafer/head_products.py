"""Products of heads in a mesh program: weights that are nonzero only between features of one head.

The program has them as dense products. Features are ordered so that every PE has some features of
each head, so that each column meets only 1 / heads of the operand's features.
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
    """Return a program that multiplies only the nonzero parts of weights.

    `heads` has, for each weight, the number of diagonal blocks.
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
