"""The factors of a dropout, of single elements or of attention, as an input of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from onewafer.pytorch.lowering.drawn import DRAWN, DropoutFactors
from onewafer.pytorch.lowering.operands import External, Origin

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.layout import Layout
    from onewafer.pytorch.lowering.writer import GraphWriter


def draw_factors(
    writer: GraphWriter,
    name: str,
    layout: Layout,
    matrix: tuple[int, int],
    strides: tuple[int, ...],
    *,
    kept: float,
) -> str:
    """Declare the factors of a dropout as an input of the graph; return its name.

    The `layout` says which element of the `matrix` each of the tensor's is, the `strides` how that
    lies in PyTorch.
    """
    factors = DropoutFactors(name, layout.shape, strides, matrix, layout, kept)
    return writer.draw(factors, External(name, torch.ones(matrix), Origin.DATA), DRAWN).name
