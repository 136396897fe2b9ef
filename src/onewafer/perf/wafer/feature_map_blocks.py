"""Feature maps cut into blocks of pixels, each on a group of PEs that has all weights.

In: the graph of a piece whose rows are pixels of feature maps, and a grid of groups. Out: the graph
that one group computes, and the messages between groups.

A feature map of h × w pixels on a grid of gx × gy groups is cut into blocks of ⌈h / gy⌉ × ⌈w / gx⌉
pixels. The graph is that of an inner group, which has no margins and the most work; its PEs share
the features as the mesh program does for whole maps. Where a window reaches beyond a block, an
`Exchange` comes first. The block with its halo is a tensor of its own: a pool of that size stands
for it, so that the mesh program reserves memory. Means over all pixels are `Gathering`s of the sums
of groups.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from onewafer.graph import (
    Add,
    AddBias,
    Convolution,
    DepthwiseConvolution,
    GlobalAveragePool,
    Graph,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    OfElement,
    RmsNorm,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    Softmax,
    Tensor,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.graph import Operation

Grid = tuple[int, int]
"""Groups along x and along y."""
Shape = tuple[int, int]
"""Height and width of a feature map in pixels."""

WHOLE: Grid = (1, 1)
"""All PEs of a region are one group."""
_BY_PIXEL = (
    Add,
    AddBias,
    LayerNorm,
    Linear,
    Multiply,
    OfElement,
    RmsNorm,
    Scale,
    ScaleFeatures,
    Softmax,
)
"""Operations on each pixel separately."""
_WINDOWED = (Convolution, DepthwiseConvolution, MaxPool)


@dataclass(frozen=True, slots=True)
class Halo:
    """The halo of blocks along one axis: pixels that they need from each other."""

    own: int
    """Pixels of a block."""
    needed: int
    """Pixels of the block with its halo."""
    before: int = 0
    """Most pixels that a block receives from blocks before it."""
    after: int = 0

    def from_each(self, count: int) -> tuple[int, ...]:
        """Return how many of `count` pixels each block sends, the nearest block first.

        >>> Halo(own=2, needed=7, before=3, after=2).from_each(3)
        (2, 1)
        """
        blocks = -(-count // self.own)
        return tuple(min(self.own, count - block * self.own) for block in range(blocks))


@dataclass(frozen=True, slots=True)
class Exchange:
    """A halo exchange: groups send their neighbours the pixels at the edges of their blocks."""

    y: Halo
    x: Halo


@dataclass(frozen=True, slots=True)
class Gathering:
    """A sum of one row of features over all groups."""


Message = Exchange | Gathering


@dataclass(frozen=True, slots=True)
class Blocks:
    """The work of one group, and its messages to other groups."""

    graph: Graph
    messages: Mapping[str, Message] = field(default_factory=dict[str, "Message"])
    """Result of an operation → message: an exchange replaces the operation, a gathering follows
    it."""


def can_be_cut(graph: Graph) -> bool:
    """Tell whether pixels may be divided among groups: no operation needs all of them at once."""
    known = (*_BY_PIXEL, *_WINDOWED, GlobalAveragePool, ScaleFeatureMaps)
    return all(isinstance(operation, known) for operation in graph.operations)


def cut(graph: Graph, grid: Grid) -> Blocks:
    """Return the blocks of one group of a grid; the graph is of one sample and can be cut."""
    return Blocks(graph) if grid == WHOLE else _Cutter(graph, grid).blocks()


def feature_map_shapes(graph: Graph) -> Mapping[str, Shape]:
    """Return the height and width of every feature map; without a window, of a single column."""
    shapes: dict[str, Shape] = {}
    for operation in graph.operations:
        if isinstance(operation, _WINDOWED):
            window = operation.window
            if not _is_of_all_pixels(window):
                shapes[operation.input] = (window.height, window.width)
            shapes.setdefault(operation.input, (window.height, window.width))
            shapes[operation.result.name] = (window.result_height, window.result_width)
    while sum(_spread(operation, shapes) for operation in graph.operations) > 0:
        pass  # repeat until no operation learns a shape
    tensors = (*graph.inputs, *(operation.result for operation in graph.operations))
    return {tensor.name: shapes.get(tensor.name, (tensor.shape[0], 1)) for tensor in tensors}


def _is_of_all_pixels(window: Window) -> bool:
    """Tell whether the window covers all pixels and has one result."""
    return window.num_taps == window.num_pixels and window.num_result_pixels == 1


def _spread(operation: Operation, shapes: dict[str, Shape]) -> bool:
    """Propagate a shape to operands and result of a pixelwise operation; tell if any was new."""
    if not isinstance(operation, (*_BY_PIXEL, ScaleFeatureMaps)):
        return False
    operands = operation.activation_operands
    alike = operands[:1] if isinstance(operation, ScaleFeatureMaps) else operands
    names = (operation.result.name, *alike)
    known = next((shapes[name] for name in names if name in shapes), None)
    unknown = [name for name in names if name not in shapes]
    if known is not None:
        shapes.update(dict.fromkeys(unknown, known))
    return known is not None and bool(unknown)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A window along one axis of a feature map that is cut into blocks."""

    size: int
    """Pixels of the map."""
    kernel: int
    stride: int
    dilation: int
    before: int
    """Padding before and after the map."""
    after: int
    blocks: int

    @property
    def reach(self) -> int:
        """Pixels from the first tap of a window to its last one."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def results(self) -> int:
        return (self.size + self.before + self.after - self.reach) // self.stride + 1

    def halo(self) -> Halo:
        """Return the halo that is large enough for every block."""
        own, results = -(-self.size // self.blocks), -(-self.results // self.blocks)
        if self.blocks == 1:
            return Halo(own, own)
        before = after = 0
        for block in range(-(-self.results // results)):
            first = block * results * self.stride - self.before
            last = min((block + 1) * results, self.results) - 1
            end = last * self.stride - self.before + self.reach
            if first >= self.size or end <= 0:
                continue  # all taps in the padding
            before = max(before, block * own - max(first, 0))
            after = max(after, min(end, self.size) - (block + 1) * own)
        return Halo(own, (results - 1) * self.stride + self.reach, before, after)

    def is_local(self, halo: Halo) -> bool:
        """Tell whether a block needs no halo: it has exactly the pixels of its results."""
        if self.blocks == 1:
            return True
        made = (halo.own - self.reach) // self.stride + 1
        return not (halo.before or halo.after) and made == -(-self.results // self.blocks)


class _Cutter:
    """Cuts the operations of a graph one by one."""

    def __init__(self, graph: Graph, grid: Grid) -> None:
        self._graph = graph
        self._across, self._down = grid
        self._shapes = feature_map_shapes(graph)
        self._tensors = graph.by_name
        self._messages: dict[str, Message] = {}

    def blocks(self) -> Blocks:
        graph = self._graph
        operations = tuple(op for operation in graph.operations for op in self._cut(operation))
        inputs = tuple(map(self._block, graph.inputs))
        return Blocks(replace(graph, inputs=inputs, operations=operations), self._messages)

    @singledispatchmethod
    def _cut(self, operation: Operation) -> Iterator[Operation]:
        """Yield the operations of one group that an operation becomes."""
        yield replace(operation, result=self._block(operation.result))

    @_cut.register(GlobalAveragePool)
    def _(self, operation: GlobalAveragePool) -> Iterator[Operation]:
        result = self._block(operation.result)
        self._messages[result.name] = Gathering()
        rows = self._block(self._tensors[operation.input]).shape[0]
        yield replace(operation, result=result, rows=rows)

    @_cut.register(ScaleFeatureMaps)
    def _(self, operation: ScaleFeatureMaps) -> Iterator[Operation]:
        result = self._block(operation.result)
        yield replace(operation, result=result, rows=result.shape[0])

    @_cut.register(Convolution | DepthwiseConvolution | MaxPool)
    def _(self, operation: Convolution | DepthwiseConvolution | MaxPool) -> Iterator[Operation]:
        result = self._block(operation.result)
        if _is_of_all_pixels(operation.window):
            height, width = self._shapes[operation.input]
            operation = replace(operation, window=Window(height, width, height, width))
        axes = _axes(operation.window, (self._across, self._down))
        y, x = (axis.halo() for axis in axes)
        if all(axis.is_local(halo) for axis, halo in zip(axes, (y, x), strict=True)):
            inner = self._without_margins(operation.window, (y.own, x.own))
            yield replace(operation, result=result, window=inner)
            return
        source = self._tensors[operation.input]
        name = f"{operation.result.name}.with_halo"
        whole = Tensor(name, (y.needed * x.needed, source.shape[-1]), source.dtype)
        self._messages[name] = Exchange(y, x)
        yield MaxPool(whole, operation.input, _stretch(y, x))
        inner = self._without_margins(operation.window, (y.needed, x.needed))
        yield replace(operation, result=result, window=inner, input=name)

    def _without_margins(self, window: Window, shape: Shape) -> Window:
        """Return the window over a block, without padding along the axes that are cut."""
        window = replace(window, height=shape[0], width=shape[1])
        if self._down > 1:
            window = replace(window, top=0, bottom=0)
        if self._across > 1:
            window = replace(window, left=0, right=0)
        return window

    def _block(self, tensor: Tensor) -> Tensor:
        height, width = self._shapes[tensor.name]
        rows = -(-height // self._down) * -(-width // self._across)
        return replace(tensor, shape=(rows, *tensor.shape[1:]))


def _axes(window: Window, grid: Grid) -> tuple[_Axis, _Axis]:
    """Return a window's parts along y and along x."""
    across, down = grid
    along_y = _Axis(
        size=window.height,
        kernel=window.kernel_height,
        stride=window.stride_y,
        dilation=window.dilation_y,
        before=window.top,
        after=window.bottom,
        blocks=down,
    )
    along_x = _Axis(
        size=window.width,
        kernel=window.kernel_width,
        stride=window.stride_x,
        dilation=window.dilation_x,
        before=window.left,
        after=window.right,
        blocks=across,
    )
    return along_y, along_x


def _stretch(y: Halo, x: Halo) -> Window:
    """Return the window of the pool that stands for a block with its halo."""
    (kernel_y, margin_y), (kernel_x, margin_x) = _kernel(y), _kernel(x)
    return Window(
        y.own,
        x.own,
        kernel_y,
        kernel_x,
        top=margin_y,
        bottom=margin_y,
        left=margin_x,
        right=margin_x,
    )


def _kernel(halo: Halo) -> tuple[int, int]:
    """Return taps and padding of that pool along an axis."""
    more = halo.needed - halo.own
    return abs(more) + 1, max(0, more)
