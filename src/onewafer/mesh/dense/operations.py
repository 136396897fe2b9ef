"""Linear layers: products with weights from one axis to the other, completed by an all-reduce."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import row_banks
from onewafer.mesh.blocks import Axis
from onewafer.mesh.kinds import ELEMENT, Kind, Module, along_axes
from onewafer.mesh.operation import NO_CONFLICTS, AlongAxis, Classes, Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


_MATMUL = Module("matmul", ELEMENT)
SPLIT = Module("split", ELEMENT)
_MULTIPLY_SEVERAL = """
// Multiply one operand by several weights, whose products lie beside each other in the rows of a
// block of `n` sums.
inline fn multiply_several(words: [*]u16, n: u16, rows: u16, after: u16) void {
  const columns = words[6];
  const inner = words[7];
  const operand = @ptrcast([*]element, &model.activations[words[2]]);
  var at = words[1];
  @fmovs(sums(at, n), 0.0);
  var part: u16 = 8;
  for (@range(u16, words[3])) |_| {
    const width = words[part + 1];
    matmul.add(sums(at, width), parameter(words[part], width), operand,
               rows, width, inner, words[part + 2], after, columns);
    at += width;
    part += 3;
  }
  entry += part - 8;
}
"""
STORE_SEVERAL = """
// Store products that lie beside each other, each as a block of its own: a pair of words from
// `first` on.
inline fn store_several(words: [*]u16, first: u16, rows: u16, columns: u16) void {
  var at = words[2];
  var part = first;
  for (@range(u16, words[3])) |_| {
    const width = words[part + 1];
    split.run(activation(words[part], width), sums(at, width), rows, width, columns);
    at += width;
    part += 2;
  }
  entry += part - 8;
}
"""


@dataclass(frozen=True, slots=True)
class Matmul(AlongAxis):
    """Multiply local blocks: `result[r, c] = Σₖ input[r, k] · weight[k, c]`, a partial sum.

    The sum starts at +0 and takes k in ascending order, one rounding a term: `@fmacs` in f32; in
    f16 the exact product of two f16 is added to an f32 sum (`@fmachs`). Columns that pad the last
    blocks are +0 and never computed, so that an infinity in a row cannot make them NaN.
    """

    kinds = along_axes(
        Kind(
            1,
            "matmul",
            """
            const operand = @ptrcast([*]element, &model.activations[left]);
            const after = model.last_$axis - place_$axis();
            matmul.run(sums(result, rows * columns), parameter(right, columns), operand,
                       rows, columns, inner, fixed, after);
            """,
            (_MATMUL,),
        ),
        2,
    )

    result: Block
    input: Block
    weight: Block
    axis: Axis
    """The axis along which blocks of the result's columns lie."""
    features: int
    """Columns of the result over all PEs, without padding."""

    def entry(self, program: ProgramShape) -> Entry:
        padding = program.size(self.axis) * self.result.columns - self.features
        blocks = self.result, self.input, self.weight
        return block_entry(program, self.kind, *blocks, n=padding, inner=self.weight.rows)

    def execute(self, memories: Memories) -> None:
        sums = _multiply(memories, self.input, self.weight, self.axis, self.features)
        memories.write(self.result, sums)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the operation's cost depends on.

        A PE whose columns are not all padding is `filled`; it is `cut` if some are, and `absent`
        says how many.
        """
        missing, _ = self._padding(program)
        is_filled = missing < self.result.columns
        absent = missing * is_filled
        by_class = {"filled": is_filled, "cut": absent > 0, "absent": absent}
        sizes: dict[str, Size] = {
            name: values.astype(np.int64)[np.newaxis, :, np.newaxis]
            for name, values in by_class.items()
        }
        return {**block_sizes(program, self.result, launch), "inner": self.weight.rows, **sizes}

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return classes of PEs along the axis that differ in padding."""
        del launch
        return self._padding(program)[1]

    def _padding(self, program: ProgramShape) -> tuple[NDArray[np.int64], Classes]:
        """Count the padding columns of the result block, by class of PE."""
        num_pes = program.size(self.axis)
        missing, classes = _padding(self.axis, num_pes, ((self.result.columns, self.features),))
        return missing[:, 0], classes

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds, one for every row of the result and of the weight.

        In f16, the two sources advance differently.
        """
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        sums = row_banks(self.result, program.num_rows(self.result, launch), program.dtype)
        weights = row_banks(self.weight, self.weight.rows, program.dtype)
        count = sum(count * weights[bank] for bank, count in sums.items())
        filled = self.sizes(program, launch)["filled"]
        return Conflicts(count * filled, "fmacs", self.result.columns)


def _multiply(
    memories: Memories, operand: Block, weight: Block, axis: Axis, features: int
) -> NDArray[np.float32]:
    """Return the partial sums of a product, `[height, width, rows, columns]`."""
    left = memories.matrix(operand).astype(np.float32)
    right = memories.matrix(weight).astype(np.float32)
    sums = np.zeros((*left.shape[:3], weight.columns), np.float32)
    for k in range(weight.rows):
        column, row = left[..., k, np.newaxis], right[..., np.newaxis, k, :]
        if memories.is_half:  # the product of two f16 is exact in f32
            sums = arithmetic.add(sums, arithmetic.multiply(column, row))
        else:
            sums = arithmetic.fused_multiply_add(sums, column, row)
    return memories.without_padding(sums, axis, features)


@dataclass(frozen=True, slots=True)
class Factor:
    """One of several weights that multiply the same operand."""

    weight: Block
    features: int
    """Columns of its product over all PEs, without padding."""


@dataclass(frozen=True, slots=True)
class Matmuls(AlongAxis):
    """Multiply one block by several weights as `Matmul` does, for one all-reduce of all products.

    They lie beside each other in the rows of the result.
    """

    kinds = along_axes(
        Kind(
            11,
            "matmuls",
            """
            const after = model.last_$axis - place_$axis();
            multiply_several(words, n, rows, after);
            """,
            (_MATMUL,),
            (_MULTIPLY_SEVERAL,),
        ),
        12,
    )

    result: Block
    """The block of all products; the elements after them become +0."""
    input: Block
    factors: tuple[Factor, ...]
    axis: Axis
    """The axis along which blocks of the products' columns lie."""

    def entry(self, program: ProgramShape) -> Entry:
        num_pes = program.size(self.axis)
        more = [
            word
            for factor in self.factors
            for word in (
                factor.weight,
                factor.weight.columns,
                num_pes * factor.weight.columns - factor.features,
            )
        ]
        inner = self.factors[0].weight.rows
        blocks = self.result, self.input
        entry = block_entry(program, self.kind, *blocks, inner=inner, more=tuple(more))
        return replace(entry, right=len(self.factors))

    def execute(self, memories: Memories) -> None:
        products = [
            _multiply(memories, self.input, factor.weight, self.axis, factor.features)
            for factor in self.factors
        ]
        width = self.result.columns - sum(product.shape[-1] for product in products)
        room = np.zeros((*products[0].shape[:-1], width), np.float32)
        memories.write(self.result, np.concatenate([*products, room], axis=-1))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the operation's cost depends on.

        Kinds of rows are weights here: each counts once in `parts`, has `columns` of its own, and
        is `filled` and `cut` as that of a `Matmul`.
        """
        missing, _ = self._padding(program)
        columns = self._columns[:, np.newaxis, np.newaxis]
        missing = missing.T[..., np.newaxis]
        is_filled = missing < columns
        absent = missing * is_filled
        return {
            **block_sizes(program, self.result, launch),
            "inner": self.factors[0].weight.rows,
            "parts": np.ones_like(columns),
            "columns": columns,
            "filled": is_filled.astype(np.int64),
            "cut": (absent > 0).astype(np.int64),
            "absent": absent,
        }

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return classes of PEs along the axis that differ in padding."""
        del launch
        return self._padding(program)[1]

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the multiply-adds of each weight, as `Matmul` does."""
        if program.dtype is DataType.F16:
            return NO_CONFLICTS
        sizes = self.sizes(program, launch)
        rows = program.num_rows(self.result, launch)
        first, counts = 0, list[int]()
        for factor in self.factors:
            sums = row_banks(
                replace(self.result, offset=self.result.offset + first), rows, program.dtype
            )
            weights = row_banks(factor.weight, factor.weight.rows, program.dtype)
            counts.append(sum(count * weights[bank] for bank, count in sums.items()))
            first += factor.weight.columns
        count = np.array(counts)[:, np.newaxis, np.newaxis] * sizes["filled"]
        return Conflicts(count, "fmacs", sizes["columns"])

    @property
    def _columns(self) -> NDArray[np.int64]:
        return np.array([factor.weight.columns for factor in self.factors])

    def _padding(self, program: ProgramShape) -> tuple[NDArray[np.int64], Classes]:
        """Count the padding columns of each product, `[class of PE, weight]`."""
        products = tuple((factor.weight.columns, factor.features) for factor in self.factors)
        return _padding(self.axis, program.size(self.axis), products)


@cache
def _padding(
    axis: Axis, num_pes: int, products: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.int64], Classes]:
    """Count the padding columns of each product, `[class of PE, product]`.

    Products are columns of a block, and columns over all PEs without padding.
    """
    columns, features = np.array(products).T
    ends = columns * np.arange(1, num_pes + 1)[:, np.newaxis]
    return Classes.of(axis, np.clip(ends - features, 0, columns))


@dataclass(frozen=True, slots=True)
class Split(MeshOperation):
    """Store sums that lie side by side as separate blocks, in the program's dtype."""

    kinds = (
        Kind(14, "split", "store_several(words, 8, rows, columns);", (SPLIT,), (STORE_SEVERAL,)),
    )

    results: tuple[Block, ...]
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        return self.store_entry(program)

    def store_entry(self, program: ProgramShape, numbers: tuple[int, ...] = ()) -> Entry:
        """Return the schedule words, with `numbers` before the words of the results' offsets."""
        blocks = (word for block in self.results for word in (block, block.columns))
        entry = block_entry(program, self.kind, self.input, self.input, more=(*numbers, *blocks))
        return replace(entry, result=0, right=len(self.results))

    def execute(self, memories: Memories) -> None:
        sums, first = memories.matrix(self.input), 0
        for block in self.results:
            memories.store(block, sums[..., first : first + block.columns])
            first += block.columns

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on; kinds of rows are results, `parts` counts."""
        columns = np.array([block.columns for block in self.results])[:, np.newaxis, np.newaxis]
        sizes = block_sizes(program, self.input, launch)
        return {**sizes, "columns": columns, "parts": np.ones_like(columns)}

    def classes(self, program: ProgramShape, launch: Launch) -> Classes:
        """Return one class for all PEs."""
        del launch
        return Classes(Axis.X, np.zeros(program.width, np.intp))
