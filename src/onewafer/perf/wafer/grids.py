"""Grids of groups that feature maps can be distributed over, most promising first.

A rough estimate of a group's cycles, from sizes alone, orders the grids; the mesh programs of the
first few give the cycles of the answer. The constants of the estimate affect no answer directly:
they were chosen so that the best grid is among the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

from onewafer.graph import Convolution, DepthwiseConvolution, Linear, MaxPool
from onewafer.perf.wafer.feature_map_blocks import WHOLE, can_be_cut, cut, feature_map_shapes
from onewafer.perf.wafer.feature_map_memory import FEATURE_BYTES, FeatureMapMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onewafer.graph import Graph
    from onewafer.perf.wafer.feature_map_blocks import Grid, Shape
    from onewafer.perf.wafer.measured import Rectangle

_MOST_TRIED = 6
"""Most grids of a rectangle whose programs are built to find enough that fit."""
MOST_COMPARED = 2
"""Number of fitting grids of a rectangle that are compared."""
_BLOCKS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
"""Lengths of blocks of the largest feature map."""
_UNEQUAL = 2
"""Most positions in `_BLOCKS` by which the sides of a block may differ, unless feature maps are
lines of pixels."""
_LINES = 4
"""Most numbers of blocks along y that are tried for pools, which work along lines."""
_LINE = 28
"""Cycles to set up one line of pixels of a pool, per feature and tap."""
_PLACE = 5
"""Cycles per pixel of such a line."""
_RATE = 1.5
"""Elements of a multiply-add per cycle, about."""
_STEP = 1.0
"""Loop cycles per multiply-add."""
_ROW = 30
"""Set-up cycles per row of any operation."""
_TAP = 15
"""Additional cycles per tap of a pixel."""
_HOP = 6
"""Cycles per PE of a reduction and the broadcast of its result."""
_RESULT_BYTES = 6
"""Bytes per element of a result in f16 and its sum in f32."""
CODE_BYTES = 1_500
"""Least bytes of kernels and schedule."""
_WAVELET = 2.5
"""Cycles per element that is reduced and broadcast."""


def group_of(rectangle: Rectangle, grid: Grid) -> Rectangle:
    """Return the sides of one group; remaining PEs of the rectangle are idle."""
    return rectangle[0] // grid[0], rectangle[1] // grid[1]


@dataclass(frozen=True, slots=True)
class _Product:
    """A product at every pixel of a map."""

    source: Shape
    """Shape of the feature map that is read."""
    shape: Shape
    """Shape of the result."""
    taps: int
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class _Pool:
    """An operation with a window on each feature separately: a pool or depthwise convolution."""

    shape: Shape
    """Shape of the result."""
    taps: int
    features: int


class Grids:
    """The possible grids of a graph; without feature maps only the whole rectangle."""

    def __init__(self, graph: Graph, *, has_feature_maps: bool = True) -> None:
        shapes = feature_map_shapes(graph)
        tensors = graph.by_name
        self._can_be_cut = has_feature_maps and can_be_cut(graph)
        self._graph = graph
        self._memory: dict[Grid, FeatureMapMemory] = {}
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
        self._pools = [
            _Pool(
                shapes[operation.result.name],
                operation.window.num_taps,
                operation.result.shape[-1],
            )
            for operation in graph.operations
            if isinstance(operation, DepthwiseConvolution | MaxPool)
        ]
        heights, widths = zip(*shapes.values(), strict=True)
        self._down, self._across = _counts(max(heights)), _counts(max(widths))

    def best(self, rectangle: Rectangle, room: Callable[[Rectangle], float]) -> Sequence[Grid]:
        """Return the grids whose mesh programs are built, most promising first.

        `room` gives the bytes per PE of a group that are left for feature maps.
        """
        if not self._can_be_cut:
            return (WHOLE,) if room(rectangle) >= 0 else ()
        cycles = {
            grid: self._rough_cycles(grid, rectangle)
            for grid in self._shaped(rectangle)
            if self._fits(grid, rectangle, room)
        }
        in_order = sorted(cycles, key=lambda grid: cycles[grid])
        fitting = (grid for grid in in_order if self._fits_cut(grid, rectangle, room))
        return tuple(islice(fitting, _MOST_TRIED))

    def _shaped(self, rectangle: Rectangle) -> Iterator[Grid]:
        """Yield grids whose blocks are nearly square, or long where only pools work along lines."""
        is_line = 1 in {len(self._across), len(self._down)}
        across = [count for count in self._across if count <= rectangle[0]]
        down = [count for count in self._down if count <= rectangle[1]]
        if self._pools and not self._products:
            yield from product(across, down[-_LINES:])
            return
        for (i, one), (j, other) in product(enumerate(across), enumerate(down)):
            if is_line or abs(i - j) <= _UNEQUAL:
                yield one, other

    def _fits(self, grid: Grid, rectangle: Rectangle, room: Callable[[Rectangle], float]) -> bool:
        """Tell whether the operands, result and sum of the largest product and the code may fit."""
        group = group_of(rectangle, grid)
        side = max(group)
        maps = (
            _pixels(one.source, grid) * -(-one.inputs // side) * FEATURE_BYTES
            + _pixels(one.shape, grid) * -(-one.outputs // side) * _RESULT_BYTES
            for one in self._products
        )
        return max(maps, default=0) + CODE_BYTES <= room(group)

    def _fits_cut(
        self, grid: Grid, rectangle: Rectangle, room: Callable[[Rectangle], float]
    ) -> bool:
        """Tell whether the blocks with halos may fit, with all feature maps that live at a time."""
        if grid not in self._memory:
            self._memory[grid] = FeatureMapMemory.of(cut(self._graph, grid).graph)
        group = group_of(rectangle, grid)
        return self._memory[grid].least_bytes(group) + CODE_BYTES <= room(group)

    def _rough_cycles(self, grid: Grid, rectangle: Rectangle) -> float:
        width, height = group_of(rectangle, grid)
        cycles = _ROW * sum(_pixels(shape, grid) for shape in self._rows)
        for one in self._products:
            pixels = _pixels(one.shape, grid)
            inputs, outputs = -(-one.inputs // width), -(-one.outputs // height)
            steps = one.taps * (_TAP + inputs * (_STEP + outputs / _RATE))
            cycles += pixels * (steps + outputs * _WAVELET) + _HOP * (width + height)
        for pool in self._pools:
            lines, line = -(-pool.shape[0] // grid[1]), -(-pool.shape[1] // grid[0])
            features = -(-pool.features // max(width, height))
            cycles += features * pool.taps * lines * (_LINE + _PLACE * line)
        return cycles


def _counts(size: int) -> list[int]:
    """Return the numbers of blocks to try along a side of a feature map, ascending."""
    return sorted({-(-size // block) for block in (*_BLOCKS, size)})


def _pixels(shape: Shape, grid: Grid) -> float:
    """Return the pixels of a block of a map."""
    return -(-shape[0] // grid[1]) * -(-shape[1] // grid[0])
