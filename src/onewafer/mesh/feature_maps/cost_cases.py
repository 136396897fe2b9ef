"""Cost cases of operations on feature maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.graph import Window
from onewafer.mesh import feature_maps as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import NUM_PES, OF_SAMPLES, CostCase, Sizes, grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation


@dataclass(frozen=True, slots=True)
class Maps:
    """Operands of an operation on `slots` feature maps.

    The result has `rows` lines of `group` pixels each, the kernel `heads` lines of `share` taps.
    """

    sizes: Sizes

    @property
    def window(self) -> Window:
        """A window no larger than the feature map, moved over its edges by `above` and `aside`."""
        sizes = self.sizes
        height, width = sizes.rows + sizes.heads - 1, sizes.group + sizes.share - 1
        return Window(
            height,
            width,
            sizes.heads,
            sizes.share,
            top=sizes.above,
            bottom=-sizes.above,
            left=-sizes.aside,
            right=sizes.aside,
        )

    @property
    def result(self) -> Block:
        """The result's rows of all feature maps."""
        rows = self.sizes.slots * self.window.num_result_pixels
        return Block(Arena.ACTIVATIONS, 0, rows, self.sizes.columns)

    def input(self, columns: int) -> Block:
        """Return the input block with so many columns."""
        rows = self.sizes.slots * self.window.num_pixels
        return Block(Arena.ACTIVATIONS, 0, rows, columns)

    @property
    def weight(self) -> Block:
        """The weights of all taps, from `inner` columns to the columns of the result."""
        sizes = self.sizes
        return Block(Arena.PARAMETERS, 0, self.window.num_taps * sizes.inner, sizes.columns)

    def convolve(self) -> MeshOperation:
        """Return a convolution."""
        sizes = self.sizes
        blocks = self.result, self.input(sizes.inner), self.weight
        return mesh.Convolve(*blocks, self.window, Axis.X, NUM_PES * sizes.columns)

    def weigh(self) -> MeshOperation:
        """Return a depthwise convolution."""
        columns = self.sizes.columns
        weight = Block(Arena.PARAMETERS, 0, self.window.num_taps, columns)
        return mesh.ConvolveDepthwise(self.result, self.input(columns), weight, self.window)

    def max_pool(self) -> MeshOperation:
        """Return a max pool."""
        return mesh.MaxPool(self.result, self.input(self.sizes.columns), self.window)

    def global_average_pool(self) -> MeshOperation:
        """Return the mean of `group` rows in each of `rows` samples."""
        sizes = self.sizes
        source = Block(Arena.ACTIVATIONS, 0, sizes.rows * sizes.group, sizes.columns)
        return mesh.GlobalAveragePool(sizes.block(), source, sizes.block())

    def scale_feature_maps(self) -> MeshOperation:
        """Return the product of `group` rows in each of `rows` samples with one row of factors."""
        sizes = self.sizes
        maps = Block(Arena.ACTIVATIONS, 0, sizes.rows * sizes.group, sizes.columns)
        return mesh.ScaleFeatureMaps(maps, maps, sizes.block())


POOL_ROUNDS = (
    *("kernel_height", "before", "behind", "capped", "taps", "met", "reached"),
    *("passes", "lines", "lines*columns"),
)
CONVOLUTION_ROUNDS = (
    *("before", "behind", "capped", "begun"),
    *("samples", "height", "pixels", "lines", "steps"),
)
CONVOLUTION_GRID = (
    *grid(rows=(2, 3), inner=(1, 2), heads=(1, 2), group=(2,), share=(1,), slots=(1,)),
    *grid(rows=(2,), inner=(1,), heads=(1, 2), group=(2, 3), share=(2,), slots=(1, 2)),
    *grid(
        rows=(3,),
        inner=(1,),
        heads=(2, 3),
        group=(2,),
        share=(1,),
        slots=(1, 2),
        above=(1,),
    ),
    *grid(rows=(3,), inner=(1,), heads=(2,), group=(2,), share=(1,), slots=(1,), aside=(-4, 2)),
    *grid(rows=(3,), inner=(1,), heads=(1,), group=(2,), share=(1,), slots=(1,), above=(-1,)),
)


def _over_edges() -> tuple[Sizes, ...]:
    """Return sizes of pools over the upper edge of a feature map, the right edge, and both.

    In each of them, all strips have one length.
    """
    sizes = {"rows": (2,), "columns": (2,), "heads": (2, 3), "group": (3,), "slots": (1, 2)}
    return (
        *grid(**sizes, share=(2,), above=(-1, 1, 2, 4)),
        *grid(**sizes, share=(1,), aside=(-4, -1, 1, 4)),
        *grid(**sizes, share=(2,), above=(1,), aside=(3,)),
    )


POOL_GRID = (
    *grid(rows=(2, 3), columns=(2, 3), heads=(1, 2), group=(3,), share=(1,), slots=(1,)),
    *grid(rows=(2,), columns=(2,), heads=(1, 2), group=(3, 5), share=(2,), slots=(1, 2)),
    *_over_edges(),
)


def _pool(build: Callable[[Maps], MeshOperation]) -> CostCase:
    return CostCase(
        lambda sizes: build(Maps(sizes)),
        rounds=POOL_ROUNDS,
        lengths=("elements", "strip"),
        strides=("step",),
        grid=POOL_GRID,
    )


_ROWS = OF_SAMPLES
"""Rows of programs with feature maps."""


_SEVERAL_TAPS = tuple(sizes for sizes in POOL_GRID if sizes.heads * sizes.share > 1)
"""Kernels of several taps, whose maps have more pixels than places."""


def _add_products(maps: Maps) -> MeshOperation:
    sums = replace(maps.weight, arena=Arena.GRADIENTS)
    source, features = maps.input(maps.sizes.inner), NUM_PES * maps.sizes.inner
    return mesh.AddTapProducts(sums, source, maps.result, maps.window, Axis.X, features)


def _give_back(maps: Maps) -> MeshOperation:
    """Return the input gradient of a convolution from `columns` to `inner` features."""
    sizes, window = maps.sizes, maps.window
    weight = Block(Arena.PARAMETERS, 0, window.num_taps * sizes.columns, sizes.inner)
    piece = Block(Arena.ACTIVATIONS, 0, sizes.inner, sizes.columns)
    gradient = replace(maps.result, columns=sizes.inner)
    blocks = maps.input(sizes.columns), gradient, weight, piece
    return mesh.ConvolutionInputGradient(*blocks, window, Axis.X, NUM_PES * sizes.columns)


def _weigh_back(maps: Maps) -> MeshOperation:
    columns = maps.sizes.columns
    weight = Block(Arena.PARAMETERS, 0, maps.window.num_taps, columns)
    return mesh.DepthwiseInputGradient(maps.input(columns), maps.result, weight, maps.window)


def _add_depthwise(maps: Maps) -> MeshOperation:
    columns = maps.sizes.columns
    sums = Block(Arena.GRADIENTS, 0, maps.window.num_taps, columns)
    return mesh.AddDepthwiseProducts(sums, maps.result, maps.input(columns), maps.window)


def _take_largest(maps: Maps) -> MeshOperation:
    pixels, places = maps.input(maps.sizes.columns), maps.result
    return mesh.MaxPoolGradient(pixels, places, pixels, places, places, maps.window)


def _repeat(sizes: Sizes) -> MeshOperation:
    maps = Block(Arena.ACTIVATIONS, 0, sizes.rows * sizes.group, sizes.columns)
    return mesh.RepeatRows(maps, sizes.block())


def _case(build: Callable[[Maps], MeshOperation], *lengths: str) -> CostCase:
    return CostCase(
        lambda sizes: build(Maps(sizes)),
        rounds=POOL_ROUNDS,
        lengths=(*lengths, "strip"),
        strides=("step", "columns"),
        grid=_SEVERAL_TAPS,
        is_of_singles=True,
        rows=_ROWS,
    )


COST_CASES = (
    CostCase(
        lambda sizes: Maps(sizes).global_average_pool(),
        rounds=("samples", "rows"),
        lengths=("elements", "columns"),
        grid=grid(rows=(2, 3, 5), group=(3, 4)),
    ),
    CostCase(
        lambda sizes: Maps(sizes).scale_feature_maps(),
        rounds=("samples", "rows"),
        lengths=("columns",),
        grid=grid(rows=(2, 3, 5), group=(3, 4)),
    ),
    CostCase(
        lambda sizes: Maps(sizes).convolve(),
        rounds=CONVOLUTION_ROUNDS,
        lengths=("elements", "columns"),
        grid=CONVOLUTION_GRID,
    ),
    _pool(lambda maps: maps.weigh()),
    _pool(lambda maps: maps.max_pool()),
    CostCase(
        lambda sizes: _add_products(Maps(sizes)),
        rounds=CONVOLUTION_ROUNDS,
        lengths=("columns",),
        grid=CONVOLUTION_GRID,
        is_of_singles=True,
        rows=_ROWS,
    ),
    CostCase(
        lambda sizes: _give_back(Maps(sizes)),
        rounds=(
            *("kernel_height", "before", "behind", "capped", "taps", "met", "passes", "lines"),
            *("near", "near*inner", "far", "far*inner", "far*inner*columns"),
            *("pixels", "steps"),
        ),
        lengths=("elements", "columns", "1"),
        strides=("stride",),
        grid=(
            *(replace(sizes, inner=inner) for sizes in POOL_GRID for inner in (2, 3)),
            *grid(
                rows=(2,),
                columns=(2, 3),
                inner=(130, 141),
                heads=(1, 2),
                group=(1,),
                share=(1,),
                slots=(1,),
            ),
        ),
        is_of_singles=True,
        rows=_ROWS,
    ),
    _case(_weigh_back, "elements"),
    _case(_take_largest, "elements", "places"),
    _case(_add_depthwise),
    CostCase(
        _repeat,
        rounds=("samples", "rows"),
        lengths=("columns",),
        grid=grid(rows=(2, 3, 5), group=(3, 4)),
        is_of_singles=True,
        rows=_ROWS,
    ),
)
