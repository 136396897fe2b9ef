"""Samples of the kernels: operations of any size, with the products of sizes that they count by.

A helper of `kernel_costs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kernel_samples_of_attention import attention_samples, softmax_samples

from onewafer.graph import (
    ActivationFunction,
    Window,
)
from onewafer.mesh import Arena, Axis, Block, MeshOperation
from onewafer.mesh import operations as mesh
from onewafer.mesh.collectives import samples as collectives
from onewafer.mesh.dense import samples as dense
from onewafer.mesh.norms import samples as norms
from onewafer.mesh.operations.selection import Rows
from onewafer.mesh.sample import NUM_PES, TOTALS, Sample, Sizes, grid
from onewafer.mesh.sizes import CHUNK
from onewafer.mesh.tokens import samples as tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def samples(*, is_sequence: bool) -> Iterator[Sample]:
    """Yield one sample of every kind but those of the state machine itself."""
    yield from collectives.SAMPLES
    yield from dense.SAMPLES
    yield from _ELEMENTWISE
    yield from norms.SAMPLES
    yield from _ON_FEATURE_MAPS
    yield from tokens.SAMPLES
    yield from _SELECTIONS
    yield from _PRODUCTS
    if is_sequence:
        yield from attention_samples()
        yield from softmax_samples()


def _elementwise(build: Callable[[Sizes], MeshOperation]) -> Sample:
    return Sample(build, lengths=("elements",))


def _in_chunks(build: Callable[[Sizes], MeshOperation]) -> Sample:
    """Return a sample whose rows are whole chunks."""
    chunks = grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK))
    return Sample(build, rounds=("chunks",), lengths=("elements", "chunk"), grid=chunks)


def _activation(function: ActivationFunction) -> Sample:
    return _in_chunks(lambda sizes: mesh.Activation(sizes.block(), sizes.block(), function))


_ELEMENTWISE = (
    Sample(
        lambda sizes: mesh.AddBias(sizes.block(), sizes.block(), sizes.row()),
        rounds=("rows",),
        lengths=("columns",),
    ),
    Sample(
        lambda sizes: mesh.ScaleFeatures(sizes.block(), sizes.block(), sizes.row()),
        rounds=("rows",),
        lengths=("columns",),
    ),
    _elementwise(lambda sizes: mesh.Copy(sizes.block(), sizes.block())),
    _elementwise(lambda sizes: mesh.Relu(sizes.block(), sizes.block())),
    _elementwise(lambda sizes: mesh.Add(*[sizes.block()] * 3)),
    _elementwise(lambda sizes: mesh.Multiply(*[sizes.block()] * 3)),
    _in_chunks(lambda sizes: mesh.Scale(sizes.block(), sizes.block(), 0.5)),
    *(_activation(function) for function in ActivationFunction),
)


@dataclass(frozen=True, slots=True)
class _Maps:
    """Operands of an operation on `slots` maps.

    The result has `rows` lines of `group` pixels each, the kernel `heads` lines of `share` taps.
    """

    sizes: Sizes

    @property
    def window(self) -> Window:
        """A window that is no larger than the feature map, and may be moved over its edges."""
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
        """Rows of all maps."""
        rows = self.sizes.slots * self.window.num_result_pixels
        return Block(Arena.ACTIVATIONS, 0, rows, self.sizes.columns)

    def input(self, columns: int) -> Block:
        """Return the block that is read."""
        rows = self.sizes.slots * self.window.num_pixels
        return Block(Arena.ACTIVATIONS, 0, rows, columns)

    def convolve(self) -> MeshOperation:
        """Return a convolution."""
        sizes, window = self.sizes, self.window
        weight = Block(Arena.PARAMETERS, 0, window.num_taps * sizes.inner, sizes.columns)
        blocks = self.result, self.input(sizes.inner), weight
        return mesh.Convolve(*blocks, window, Axis.X, NUM_PES * sizes.columns)

    def weigh(self) -> MeshOperation:
        """Return a weighted sum of taps."""
        columns = self.sizes.columns
        weight = Block(Arena.PARAMETERS, 0, self.window.num_taps, columns)
        return mesh.ConvolveDepthwise(self.result, self.input(columns), weight, self.window)

    def max_pool(self) -> MeshOperation:
        """Return a maximum."""
        return mesh.MaxPool(self.result, self.input(self.sizes.columns), self.window)

    def global_average_pool(self) -> MeshOperation:
        """Return a mean of `group` rows of each of `rows` samples."""
        sizes = self.sizes
        source = Block(Arena.ACTIVATIONS, 0, sizes.rows * sizes.group, sizes.columns)
        return mesh.GlobalAveragePool(sizes.block(), source, sizes.block())

    def scale_feature_maps(self) -> MeshOperation:
        """Return a product of `group` rows of each of `rows` samples with a row each."""
        sizes = self.sizes
        maps = Block(Arena.ACTIVATIONS, 0, sizes.rows * sizes.group, sizes.columns)
        return mesh.ScaleFeatureMaps(maps, maps, sizes.block())


def _over_edges() -> tuple[Sizes, ...]:
    """Return sizes of pools over the upper edge of a feature map, the right one, and both.

    All taps that reach a place reach strips of one length.
    """
    sizes = {"rows": (2,), "columns": (2,), "heads": (2, 3), "group": (3,), "slots": (1, 2)}
    return (
        *grid(**sizes, share=(2,), above=(-1, 1, 2, 4)),
        *grid(**sizes, share=(1,), aside=(-4, -1, 1, 4)),
        *grid(**sizes, share=(2,), above=(1,), aside=(3,)),
    )


def _pool(build: Callable[[_Maps], MeshOperation]) -> Sample:
    return Sample(
        lambda sizes: build(_Maps(sizes)),
        rounds=(
            *("kernel_height", "before", "behind", "capped", "taps", "met", "reached"),
            *("passes", "lines", "lines*columns"),
        ),
        lengths=("elements", "strip"),
        strides=("step",),
        grid=(
            *grid(rows=(2, 3), columns=(2, 3), heads=(1, 2), group=(3,), share=(1,), slots=(1,)),
            *grid(rows=(2,), columns=(2,), heads=(1, 2), group=(3, 5), share=(2,), slots=(1, 2)),
            *_over_edges(),
        ),
    )


_ON_FEATURE_MAPS = (
    Sample(
        lambda sizes: _Maps(sizes).global_average_pool(),
        rounds=("samples", "rows"),
        lengths=("elements", "columns"),
        grid=grid(rows=(2, 3, 5), group=(3, 4)),
    ),
    Sample(
        lambda sizes: _Maps(sizes).scale_feature_maps(),
        rounds=("samples", "rows"),
        lengths=("columns",),
        grid=grid(rows=(2, 3, 5), group=(3, 4)),
    ),
    Sample(
        lambda sizes: _Maps(sizes).convolve(),
        rounds=(
            *("before", "behind", "capped", "begun"),
            *("samples", "height", "pixels", "lines", "steps"),
        ),
        lengths=("elements", "columns"),
        grid=(
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
            *grid(
                rows=(3,), inner=(1,), heads=(2,), group=(2,), share=(1,), slots=(1,), aside=(-4, 2)
            ),
            *grid(
                rows=(3,), inner=(1,), heads=(1,), group=(2,), share=(1,), slots=(1,), above=(-1,)
            ),
        ),
    ),
    _pool(lambda maps: maps.weigh()),
    _pool(lambda maps: maps.max_pool()),
)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Operands of the steps that find `heads` elements of each row."""

    sizes: Sizes

    @property
    def rows(self) -> Rows:
        """Rows of which no element has been found."""
        sizes = self.sizes
        indices = Block(Arena.INDICES, 0, sizes.rows, sizes.heads)
        features = NUM_PES * sizes.columns
        return Rows(sizes.block(), sizes.block(), indices, Axis.X, features)

    @property
    def words(self) -> Block:
        """A number a row."""
        return Block(Arena.ACTIVATIONS, 0, self.sizes.rows, 1)

    def find(self) -> MeshOperation:
        """Return the search on each PE, for elements that are not −∞: words that are left are 0."""
        return mesh.FindLargest(self.words, self.words, self.words, self.rows)

    def claim(self) -> MeshOperation:
        """Return the comparison with the largest of all, which is equal for all rows."""
        return mesh.Claim(self.words, self.words, self.words, self.rows)

    def take(self) -> MeshOperation:
        """Return the last step."""
        return mesh.TakeIndex(self.words, self.rows)

    def gather(self) -> MeshOperation:
        """Return the lookup of all indices, which are those for one PE."""
        rows = self.rows
        result = replace(rows.input, columns=self.sizes.heads)
        return mesh.Gather(result, rows.input, rows.indices, rows.axis, rows.features)

    def some_features_held(self) -> dict[str, tuple[int, ...]]:
        """Return indices; one in as many as there are PEs is in the block."""
        wanted = self.sizes.rows * self.sizes.heads
        held = -(-wanted // NUM_PES)
        return {"model.indices": (0, 0) * held + (1000, 0) * (wanted - held)}

    def some_held(self) -> dict[str, tuple[int, ...]]:
        """Return minus an index as the word of each row, in the block for one of as many as PEs."""
        held = -(-self.sizes.rows // NUM_PES)
        return {TOTALS: (0, 0) * held + _MINUS_THOUSAND * (self.sizes.rows - held)}


_MINUS_THOUSAND = (0x0000, 0xC47A)
"""In f32, low word first."""


_SELECTIONS = (
    Sample(
        lambda sizes: _Selection(sizes).find(),
        rounds=("rows", "rows*steps"),
        lengths=("columns", "half"),
        grid=grid(rows=(3, 5), columns=(2, 3)),  # of which all halves are one element
    ),
    Sample(lambda sizes: _Selection(sizes).claim(), rounds=("rows",)),
    Sample(
        lambda sizes: _Selection(sizes).take(),
        rounds=("rows", "more", "compared", "held"),
        grid=grid(rows=(3, 4, 8, 9), heads=(1, 2)),
        memory=lambda sizes: _Selection(sizes).some_held(),
    ),
    Sample(
        lambda sizes: _Selection(sizes).gather(),
        rounds=("rows", "wanted", "held"),
        lengths=("elements",),
        grid=grid(rows=(2, 3, 5), heads=(2, 3, 7)),
        memory=lambda sizes: _Selection(sizes).some_features_held(),
    ),
)


@dataclass(frozen=True, slots=True)
class _Product:
    """Operands of a product; the first PE has `heads` whole groups of `slots` samples."""

    sizes: Sizes

    def multiply(self, *, is_transposed: bool) -> MeshOperation:
        """Return the product of groups of `share` features to `group` columns."""
        sizes = self.sizes
        inner, columns = sizes.heads * sizes.share, sizes.heads * sizes.group
        shape = mesh.ProductShape(
            axis=Axis.X,
            samples=sizes.slots,
            rows=sizes.rows,
            right_rows=sizes.group if is_transposed else sizes.share,
            groups=NUM_PES * sizes.heads,
            left_size=sizes.share,
            result_size=sizes.group,
            is_transposed=is_transposed,
        )
        right = self._block(shape.right_rows, inner if is_transposed else columns)
        left, result = self._block(sizes.rows, inner), self._block(sizes.rows, columns)
        return mesh.MultiplyBlocks(result, left, right, Block(Arena.ACTIVATIONS, 0, 1, 1), shape)

    def _block(self, rows: int, columns: int) -> Block:
        return Block(Arena.ACTIVATIONS, 0, self.sizes.slots * rows, columns)


_PRODUCT_ROUNDS = ("parts", "parts*samples*rows", "samples*rows*depth")
_PRODUCT_SIZES = (
    *grid(rows=(2, 3), heads=(2, 3), share=(4,), slots=(1, 2), group=(6,)),
    *grid(rows=(2, 3), share=(5,), slots=(1, 2), group=(7,)),
)
"""Such that a block of the result has other lengths than its rows."""
_FAR_SIZES = (
    *grid(rows=(2,), share=(64, 65), slots=(1,), group=(6, 7)),
    *grid(rows=(2,), share=(64,), slots=(2,), group=(6,)),
)
"""Blocks of the left operand that are wider than a DSD reaches."""


_PRODUCTS = (
    Sample(
        lambda sizes: _Product(sizes).multiply(is_transposed=False),
        rounds=("parts*samples", "samples*depth", *_PRODUCT_ROUNDS),
        lengths=("elements", "width"),
        grid=_PRODUCT_SIZES,
    ),
    Sample(
        lambda sizes: _Product(sizes).multiply(is_transposed=True),
        rounds=(
            *("near*samples", "near*samples*depth"),
            *("far*samples", "far*samples*depth", "far*samples*depth*width"),
            *_PRODUCT_ROUNDS,
        ),
        lengths=("elements", "width", "1"),
        strides=("stride",),
        grid=(*_PRODUCT_SIZES, *_FAR_SIZES),
    ),
)
