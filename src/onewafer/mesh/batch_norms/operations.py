"""Norms of each feature by itself over all rows of a launch: `batch_norm.csl`, in f32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh.banks import bank
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import rsqrt
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, DataDependence, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Array = NDArray[Any]

_MODULE = (Module("batch_norm"),)
_READ_ROW = """
// The first of f32 numbers that each feature has one of.
inline fn row_at(offset: u16) [*]f32 {
  return @ptrcast([*]f32, &model.activations[offset]);
}
"""


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The statistics of the features of a batch, a row each, and what is added to the second."""

    mean: Block
    variance: Block
    epsilon: float

    def scale(self, memories: Memories) -> Array:
        """Return one over the root of the variance, `[height, width, 1, columns]`."""
        with np.errstate(all="ignore"):
            return rsqrt(memories.matrix(self.variance) + np.float32(self.epsilon))

    def centred(self, memories: Memories, block: Block) -> Array:
        """Return the rows of a block less their mean."""
        with np.errstate(all="ignore"):
            return memories.matrix(block) - memories.matrix(self.mean)


class _OverBatch(MeshOperation):
    """An operation on columns of all rows."""

    __slots__ = ()

    input: Block

    @property
    def share(self) -> np.float32:
        """One over the rows, rounded."""
        return np.float32(1 / self.input.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(program, self.input, launch)

    def _entry(
        self, program: ProgramShape, result: Block, right: Block, *more: int | Block
    ) -> Entry:
        """Return its words: rows and columns are those of the input."""
        entry = block_entry(program, self.kind, result, self.input, right, more=more)
        return replace(entry, n=self.input.rows, columns=self.input.columns)


@dataclass(frozen=True, slots=True)
class BatchVariance(_OverBatch):
    """Take the variance of each feature: the mean of squared differences from the mean.

    A sum starts at +0 and takes rows in ascending order; every operation is rounded once.
    """

    kinds = (
        Kind(
            240,
            "batch_variance",
            """
            batch_norm.spread(row_at(result), row_at(right), activation(left, 1),
                              activation(words[8], fixed), fixed, columns, number(words, 9));
            entry += 3;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """A row."""
    input: Block
    mean: Block
    room: Block
    """An element for each row."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        share = float_words(1 / self.input.rows)
        return self._entry(program, self.result, self.mean, self.room, *share)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        with np.errstate(all="ignore"):
            centred = memories.matrix(self.input) - memories.matrix(self.mean)
            memories.write(self.result, _sum_rows(centred * centred) * self.share)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the squares, whose sources are one vector."""
        del program, launch
        return Conflicts(self.input.columns, "fmuls", self.input.rows)


@dataclass(frozen=True, slots=True)
class NormalizeBatch(_OverBatch):
    """Scale and shift each feature by its statistics; every operation is rounded once."""

    depends_on = DataDependence.SPECIAL_VALUES
    kinds = (
        Kind(
            241,
            "normalize_batch",
            """
            batch_norm.normalize(activation(result, 1), activation(left, 1), row_at(right),
                                 row_at(words[8]),
                                 @ptrcast([*]f32, &model.parameters[round_offset + words[9]]),
                                 @ptrcast([*]f32, &model.parameters[round_offset + words[10]]),
                                 fixed, columns, number(words, 11));
            entry += 5;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    input: Block
    statistics: BatchStatistics
    weight: Block
    bias: Block

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        found = self.statistics
        more = found.variance, self.weight, self.bias, *float_words(found.epsilon)
        return self._entry(program, self.result, found.mean, *more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        found = self.statistics
        with np.errstate(all="ignore"):
            factors = found.scale(memories) * memories.matrix(self.weight)
            rows = found.centred(memories, self.input) * factors
            memories.write(self.result, rows + memories.matrix(self.bias))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return none: each operation has one source in memory."""
        del program, launch
        return NO_CONFLICTS


@dataclass(frozen=True, slots=True)
class SumBatchProducts(_OverBatch):
    """Add up the products of a gradient with the normalised rows, from +0 in ascending order."""

    depends_on = DataDependence.SPECIAL_VALUES
    kinds = (
        Kind(
            242,
            "sum_batch_products",
            """
            batch_norm.sum_products(row_at(result), activation(right, 1), activation(left, 1),
                                    row_at(words[8]), row_at(words[9]),
                                    activation(words[10], fixed), fixed, columns,
                                    number(words, 11));
            entry += 5;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """A row."""
    gradient: Block
    input: Block
    statistics: BatchStatistics
    room: Block
    """An element for each row."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        found = self.statistics
        more = found.mean, found.variance, self.room, *float_words(found.epsilon)
        return self._entry(program, self.result, self.gradient, *more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        found = self.statistics
        with np.errstate(all="ignore"):
            products = found.centred(memories, self.input) * memories.matrix(self.gradient)
            memories.write(self.result, _sum_rows(products) * found.scale(memories))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the products, if both sources advance alike: where there is one column."""
        del launch
        begins = {bank(block.offset, program.dtype) for block in (self.room, self.gradient)}
        is_shared = self.input.columns == 1 and len(begins) == 1
        return Conflicts(int(is_shared), "fmuls", self.input.rows)


@dataclass(frozen=True, slots=True)
class BackFromBatchNorm(_OverBatch):
    """Give the gradient of the input of a norm; every operation is rounded once."""

    depends_on = DataDependence.SPECIAL_VALUES
    kinds = (
        Kind(
            243,
            "back_from_batch_norm",
            """
            batch_norm.back(activation(result, 1), activation(right, 1), activation(left, 1),
                            row_at(words[8]), row_at(words[9]),
                            @ptrcast([*]f32, &model.parameters[round_offset + words[10]]),
                            row_at(words[11]), row_at(words[12]),
                            fixed, columns, number(words, 13), number(words, 15));
            entry += 9;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """Another one than the gradient, and than the input."""
    gradient: Block
    input: Block
    statistics: BatchStatistics
    weight: Block
    products: Block
    """Sums over all rows of the gradient times the normalised input."""
    slopes: Block
    """Means over all rows of the gradient."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        found, numbers = self.statistics, (self.statistics.epsilon, 1 / self.input.rows)
        words = (word for number in numbers for word in float_words(number))
        more = found.mean, found.variance, self.weight, self.products, self.slopes, *words
        return self._entry(program, self.result, self.gradient, *more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        found = self.statistics
        with np.errstate(all="ignore"):
            scale = found.scale(memories)
            factors = -(scale * memories.matrix(self.products) * self.share)
            rows = found.centred(memories, self.input) * factors
            rows = rows + memories.matrix(self.gradient) - memories.matrix(self.slopes)
            memories.write(self.result, rows * (scale * memories.matrix(self.weight)))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the columns that begin in the same banks in the result and in the gradient."""
        del launch
        begins = {bank(block.offset, program.dtype) for block in (self.result, self.gradient)}
        count = self.input.columns * (len(begins) == 1)
        return Conflicts(count, "fadds", self.input.rows)


def _sum_rows(values: Array) -> Array:
    """Add up rows in ascending order from +0, one rounding a row: `[height, width, columns]`."""
    begin = np.zeros_like(values[:, :, :1])
    return np.add.accumulate(np.concatenate([begin, values], axis=2), axis=2)[:, :, -1:]
