"""Which grids of groups the maps of some pieces may be dealt out to, those that look best first.

What looks best is told by a rough count of cycles of a group, from sizes alone; the mesh programs
of the few that look best say what they take. So no number of the count is in an answer: they were
chosen so that the best grid is among the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import Convolution, Linear
from onewafer.perf.wafer.map_blocks import WHOLE, can_be_cut, map_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.graph import Graph
    from onewafer.perf.wafer.map_blocks import Grid, Shape
    from onewafer.perf.wafer.measured import Rectangle

_MOST_TRIED = 6
"""Grids of a rectangle whose programs are built, until there are enough that fit."""
MOST_COMPARED = 2
"""Grids of a rectangle that fit."""
_BLOCKS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
"""Lengths of blocks of the largest map."""
_UNEQUAL = 2
"""Steps of these that the sides of blocks may be apart, unless maps are lines of places."""
_RATE = 1.5
"""Elements of a multiply-add in a cycle, about."""
_STEP = 1.0
"""Cycles of a multiply-add besides: of its step in a loop."""
_ROW = 30
"""Of a row of any operation besides: set-ups."""
_TAP = 15
"""Of a tap of a place besides."""
_HOP = 6
"""Of a PE on the way of a reduction and back."""
_MAP_BYTES = 2
"""Of an element of a map in f16."""
_RESULT_BYTES = 6
"""Of an element of a result in f16 and of its sum in f32."""
_CODE_BYTES = 1_500
"""Of a few kernels and their schedule, at least."""
_WAVELET = 2.5
"""Of an element that is reduced and broadcast."""


def group_of(rectangle: Rectangle, grid: Grid) -> Rectangle:
    """Return the sides of one group; what is left over of a rectangle is idle."""
    return rectangle[0] // grid[0], rectangle[1] // grid[1]


@dataclass(frozen=True, slots=True)
class _Product:
    """A product at every place of a map."""

    source: Shape
    """Of the map that is read."""
    shape: Shape
    """Of the result."""
    taps: int
    inputs: int
    outputs: int


class Grids:
    """The grids of a graph; one of a model without maps has none but the whole rectangle."""

    def __init__(self, graph: Graph, *, has_maps: bool = True) -> None:
        shapes = map_shapes(graph)
        tensors = {tensor.name: tensor for tensor in graph.tensors}
        self._can_be_cut = has_maps and can_be_cut(graph)
        self._rows = [shapes[operation.result.name] for operation in graph.operations]
        self._products = [
            _Product(
                shapes[operation.input],
                shapes[operation.result.name],
                operation.window.num_taps if isinstance(operation, Convolution) else 1,
                tensors[operation.weight].shape[-1],
                tensors[operation.weight].shape[-2],
            )
            for operation in graph.operations
            if isinstance(operation, Convolution | Linear)
        ]
        heights, widths = zip(*shapes.values(), strict=True)
        self._down, self._across = _counts(max(heights)), _counts(max(widths))

    def best(self, rectangle: Rectangle, room: Callable[[Rectangle], float]) -> Sequence[Grid]:
        """Return the grids that are worth a mesh program, the ones that look best first.

        `room` are the bytes of each PE of a group that are left for maps.
        """
        if not self._can_be_cut:
            return (WHOLE,) if room(rectangle) >= 0 else ()
        is_line = 1 in {len(self._across), len(self._down)}
        looks = {
            (across, down): self._rough_cycles((across, down), rectangle)
            for i, across in enumerate(self._across)
            for j, down in enumerate(self._down)
            if (is_line or abs(i - j) <= _UNEQUAL)
            and across <= rectangle[0]
            and down <= rectangle[1]
            and self._fits((across, down), rectangle, room)
        }
        return sorted(looks, key=lambda grid: looks[grid])[:_MOST_TRIED]

    def _fits(self, grid: Grid, rectangle: Rectangle, room: Callable[[Rectangle], float]) -> bool:
        """Tell whether the largest product may fit beside the weights: maps, sums and code."""
        group = group_of(rectangle, grid)
        side = max(group)
        maps = (
            _places(product.source, grid) * -(-product.inputs // side) * _MAP_BYTES
            + _places(product.shape, grid) * -(-product.outputs // side) * _RESULT_BYTES
            for product in self._products
        )
        return max(maps, default=0) + _CODE_BYTES <= room(group)

    def _rough_cycles(self, grid: Grid, rectangle: Rectangle) -> float:
        width, height = group_of(rectangle, grid)
        cycles = _ROW * sum(_places(shape, grid) for shape in self._rows)
        for product in self._products:
            places = _places(product.shape, grid)
            inputs, outputs = -(-product.inputs // width), -(-product.outputs // height)
            steps = product.taps * (_TAP + inputs * (_STEP + outputs / _RATE))
            cycles += places * (steps + outputs * _WAVELET) + _HOP * (width + height)
        return cycles


def _counts(size: int) -> list[int]:
    """Return numbers of blocks that a side of a map may be cut into, few first."""
    return sorted({-(-size // block) for block in (*_BLOCKS, size)})


def _places(shape: Shape, grid: Grid) -> float:
    """Return the places of a block of a map."""
    return -(-shape[0] // grid[1]) * -(-shape[1] // grid[0])
