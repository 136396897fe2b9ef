"""Batched products of two activations: `product.csl`, whose results need an all-reduce."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank
from onewafer.mesh.blocks import Axis
from onewafer.mesh.kinds import ELEMENT, Beginning, Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Classes, Conflicts, MeshOperation
from onewafer.mesh.sizes import MOST_STRIDE, block_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[np.float32]
    Integers = NDArray[np.int64]

_PRODUCT = Module("product", ELEMENT)
_OF_PRODUCT = Beginning(
    "products of two activations",
    """
    product.samples = words[8];
    product.rows = words[9];
    product.columns = columns;
    product.inner = inner;
    product.right_rows = words[10];
    product.right_columns = words[11];
    product.groups = words[12];
    product.left_size = words[13];
    product.result_size = words[14];
    const axis = words[15];
    const piece = activation(words[16], 1);
    entry += 9;
    const operand = @ptrcast([*]element, &model.activations[left]);
    """,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A PE's part of a group: some features of the left operand, and some columns of the result."""

    group: int
    depth: int
    """Features of the left operand, over which products are summed."""
    width: int
    """Columns of the result."""
    first_depth: int
    """The first column of the left block that is in the group."""
    first_width: int
    """The first column of the result's block that is in the group."""
    first_term: int
    """The index in the group of the first feature of the left operand."""
    first_column: int
    """The index in the group of the first column of the result."""


@dataclass(frozen=True, slots=True)
class ProductShape:
    """The sizes of a batched product, and the axis of its left operand."""

    axis: Axis
    """The axis over which the left operand is blocked; the result is blocked over the other one."""
    samples: int
    rows: int
    """Rows of each sample, in the left operand and in the result."""
    right_rows: int
    """Rows of each sample in the right operand."""
    groups: int
    left_size: int
    """Features of each group of the left operand."""
    result_size: int
    """Columns of each group of the result."""
    is_transposed: bool

    def parts(self, left_at: int, result_at: int, inner: int, columns: int) -> Iterator[Part]:
        """Yield the parts of the PE with these blocks of the left operand and of the result.

        `inner` and `columns` are the columns of such blocks.
        """
        for group in range(self.groups):
            depth, skipped = _overlap(group, self.left_size, left_at * inner, inner)
            width, passed = _overlap(group, self.result_size, result_at * columns, columns)
            if depth and width:
                first = group * self.left_size + skipped - left_at * inner
                to = group * self.result_size + passed - result_at * columns
                yield Part(group, depth, width, first, to, skipped, passed)


def _overlap(group: int, size: int, first: int, width: int) -> tuple[int, int]:
    """Return how many elements of a group a block has, and how many precede them in the group.

    Groups of `size` elements follow one another; the block has `width` elements from `first` on.
    """
    start = group * size
    skipped = max(first - start, 0)
    return max(min(start + size, first + width) - start - skipped, 0), skipped


@dataclass(frozen=True, slots=True)
class MultiplyBlocks(MeshOperation):
    """Compute the partial sums of a batched product on each PE.

    A sum starts at +0 and adds its terms in ascending order, rounded after each term: with `@fmacs`
    in f32; in f16 the exact product of two f16 is added to an f32 sum (`@fmachs`). It is +0 in the
    padding, and on a PE without terms.
    """

    kinds = (
        Kind(
            66,
            "multiply_plain",
            """
            product.run(false, sums(result, 1), operand, activation(right, 1), piece,
                        place(axis), place(1 - axis));
            """,
            (_PRODUCT,),
            beginning=_OF_PRODUCT,
        ),
        Kind(
            67,
            "multiply_transposed",
            """
            product.run(true, sums(result, 1), operand, activation(right, 1), piece,
                        place(axis), place(1 - axis));
            """,
            (_PRODUCT,),
            beginning=_OF_PRODUCT,
        ),
    )

    result: Block
    left: Block
    right: Block
    piece: Block
    """Scratch for a PE's matrix of one group of the right operand."""
    shape: ProductShape

    @property
    def kind(self) -> Kind:
        return self.kinds[self.shape.is_transposed]

    def entry(self, program: ProgramShape) -> Entry:
        shape = self.shape
        rows = shape.samples, shape.rows, shape.right_rows, self.right.columns
        groups = shape.groups, shape.left_size, shape.result_size, shape.axis.number
        blocks, more = (self.result, self.left, self.right), (*rows, *groups, self.piece)
        entry = block_entry(program, self.kind, *blocks, inner=self.left.columns, more=more)
        return dataclasses.replace(entry, rows=1)  # `more` has the rows of a sample

    def execute(self, memories: Memories) -> None:
        shape, program = self.shape, memories.program
        left, right, result = (
            memories.view(block, shape.samples, block.rows // shape.samples, block.columns)
            for block in (self.left, self.right, self.result)
        )
        result[...] = 0
        for y, x in np.ndindex(program.height, program.width):
            at = (x, y) if shape.axis is Axis.X else (y, x)
            for part in shape.parts(*at, self.left.columns, self.result.columns):
                terms = slice(part.first_depth, part.first_depth + part.depth)
                columns = slice(part.first_width, part.first_width + part.width)
                matrix = self._matrix(right[y, x], part, terms, columns)
                result[y, x, ..., columns] = _sum_products(
                    left[y, x, ..., terms], matrix, is_half=memories.is_half
                )

    def _matrix(self, right: Array, part: Part, terms: slice, columns: slice) -> Array:
        """Return the matrix `[samples, terms, columns]` of a part."""
        if self.shape.is_transposed:
            rows = slice(part.first_column, part.first_column + part.width)
            return right[:, rows, terms].swapaxes(1, 2)
        return right[:, part.first_term : part.first_term + part.depth, columns]

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on.

        Kinds of rows are groups here: `parts` is 1 if a PE has a part of the group, with `depth`
        terms and `width` columns, which are copied with strides if `near`, else (`far`) element by
        element.
        """
        del launch
        shape = self.shape
        parts, depth, width = self._work(program)[0]
        is_near = not shape.is_transposed or self.right.columns <= MOST_STRIDE
        return {
            "samples": shape.samples,
            "rows": shape.rows,
            "elements": shape.samples * shape.rows * self.result.columns,
            "parts": parts,
            "depth": depth,
            "width": width,
            "near": parts * is_near,
            "far": parts * (not is_near),
            "stride": self.right.columns,
        }

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return the classes of PEs along the axis of the left operand, by their parts of it."""
        del launch
        return self._work(program)[1]

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds whose sources begin in the same bank, in f32.

        In f16 the two sources have different strides, and never conflict.
        """
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        sizes = self.sizes(program, launch)
        depth, width = np.asarray(sizes["depth"]), np.asarray(sizes["width"])
        sums = np.array(
            [
                bank(self.result.offset + row * self.result.columns, program.dtype)
                for row in range(self.shape.samples * self.shape.rows)
            ]
        )
        first = self._work(program)[2]
        count = np.zeros(np.broadcast_shapes(depth.shape, width.shape, first.shape), np.int64)
        for term in range(int(depth.max())):
            weights = bank(self.piece.offset + term * width, program.dtype)
            shifted = (sums + bank(first, program.dtype)[..., np.newaxis]) % 4
            meet = (shifted == weights[..., np.newaxis]).sum(axis=-1)
            count += meet * (term < depth)
        return Conflicts(count, "fmacs", width)

    def _work(self, program: ProgramShape) -> tuple[Integers, Classes, Integers]:
        """Return parts, depth and width `[3, groups, classes, places]`, classes, first columns."""
        axis = self.shape.axis
        sides = program.size(axis), program.size(axis.other)
        return _count_work(self.shape, *sides, self.left.columns, self.result.columns)


@cache
def _count_work(
    shape: ProductShape, num_left: int, num_result: int, inner: int, columns: int
) -> tuple[Integers, Classes, Integers]:
    table = np.zeros((4, shape.groups, num_left, num_result), np.int64)
    for left_at, result_at in np.ndindex(num_left, num_result):
        for part in shape.parts(left_at, result_at, inner, columns):
            numbers = 1, part.depth, part.width, part.first_width
            table[:, part.group, left_at, result_at] = numbers
    by_place = table.transpose(2, 0, 1, 3).reshape(num_left, -1)
    distinct, classes = Classes.of(shape.axis, by_place)
    whole = distinct.reshape(-1, 4, shape.groups, num_result).transpose(1, 2, 0, 3)
    return whole[:3], classes, whole[3]


def _sum_products(factors: Array, matrix: Array, *, is_half: bool) -> Array:
    """Return the f32 sums `[samples, rows, columns]` of `[samples, rows, terms]` times a matrix."""
    factors, matrix = factors.astype(np.float32), matrix.astype(np.float32)
    sums = np.zeros((*factors.shape[:2], matrix.shape[-1]), np.float32)
    for term in range(factors.shape[-1]):
        column, row = factors[..., term, np.newaxis], matrix[:, np.newaxis, term]
        if is_half:  # the product of two f16 is exact in f32
            sums = arithmetic.add(sums, arithmetic.multiply(column, row))
        else:
            sums = arithmetic.fused_multiply_add(sums, column, row)
    return sums
