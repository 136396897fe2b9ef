"""Cost cases of gradients of what is computed on feature maps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.mesh import feature_maps as mesh
from onewafer.mesh.blocks import Arena, Axis, Block
from onewafer.mesh.cost_case import NUM_PES, OF_SAMPLES, CostCase, Sizes, grid
from onewafer.mesh.feature_maps.cost_cases import (
    CONVOLUTION_GRID,
    CONVOLUTION_ROUNDS,
    POOL_GRID,
    POOL_ROUNDS,
    Maps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.mesh.operation import MeshOperation

_ROWS = OF_SAMPLES
"""Rows of programs with feature maps."""


_SEVERAL_TAPS = tuple(sizes for sizes in POOL_GRID if sizes.heads * sizes.share > 1)
"""There are then more pixels than places."""


def _add_products(maps: Maps) -> MeshOperation:
    sums = replace(maps.weight, arena=Arena.GRADIENTS)
    source, features = maps.input(maps.sizes.inner), NUM_PES * maps.sizes.inner
    return mesh.AddTapProducts(sums, source, maps.result, maps.window, Axis.X, features)


def _give_back(maps: Maps) -> MeshOperation:
    """Return the gradient of a convolution with `columns` in features and `inner` out features."""
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
