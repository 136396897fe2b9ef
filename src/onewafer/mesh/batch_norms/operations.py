"""Norms of features over the rows of each sample: `batch_norm.csl`, in f32.

For a norm over the batch, all rows of a launch count as one sample.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import rsqrt
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, DataDependence, MeshOperation
from onewafer.mesh.sizes import block_entry

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
    """Means and variances of each sample's features, a row each, and the variance's epsilon."""

    mean: Block
    variance: Block
    epsilon: float

    def scale(self, memories: Memories) -> Array:
        """Return 1 ÷ √(variance + ε), `[height, width, samples, 1, columns]`."""
        with np.errstate(all="ignore"):
            return rsqrt(row_of_samples(memories, self.variance) + np.float32(self.epsilon))

    def centred(self, memories: Memories, block: Block) -> Array:
        """Return the rows of a block minus their mean, shaped as by `rows_of_samples`."""
        with np.errstate(all="ignore"):
            rows = rows_of_samples(memories, block, self.mean.rows)
            return rows - row_of_samples(memories, self.mean)


def rows_of_samples(memories: Memories, block: Block, samples: int) -> Array:
    """Return a block as `[height, width, samples, rows, columns]`."""
    return memories.view(block, samples, block.rows // samples, block.columns)


def row_of_samples(memories: Memories, block: Block) -> Array:
    """Return a block with one row a sample as `[height, width, samples, 1, columns]`."""
    return rows_of_samples(memories, block, block.rows)


class _OverBatch(MeshOperation):
    """An operation over the columns of all rows of each sample."""

    __slots__ = ()

    input: Block

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of samples that have their own statistics."""

    @property
    def rows(self) -> int:
        """Rows of each sample."""
        return self.input.rows // self.samples

    @property
    def share(self) -> np.float32:
        """One over the number of rows, rounded."""
        return np.float32(1 / self.rows)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        del program, launch
        return {"samples": self.samples, "rows": self.rows, "columns": self.input.columns}

    def _entry(
        self, program: ProgramShape, result: Block, right: Block, *more: int | Block
    ) -> Entry:
        """Return the schedule words, with a sample's rows and the input's columns."""
        inner = self.samples
        entry = block_entry(program, self.kind, result, self.input, right, inner=inner, more=more)
        return replace(entry, n=self.rows, columns=self.input.columns)


class _OfStatistics(_OverBatch):
    """An operation that uses the statistics of each sample."""

    __slots__ = ()

    statistics: BatchStatistics

    @property
    def samples(self) -> int:
        return self.statistics.mean.rows


@dataclass(frozen=True, slots=True)
class BatchVariance(_OverBatch):
    """Compute the variance of each feature: the mean of squared differences from the mean.

    A sum starts at +0 and takes rows in ascending order; every operation is rounded once.
    """

    kinds = (
        Kind(
            240,
            "batch_variance",
            """
            batch_norm.spread(row_at(result), row_at(right), activation(left, 1),
                              activation(words[8], fixed), inner, fixed, columns,
                              number(words, 9));
            entry += 3;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """A block with a row for each sample."""
    input: Block
    mean: Block
    room: Block
    """A block with an element for each row of a sample."""

    @property
    def samples(self) -> int:
        return self.mean.rows

    def entry(self, program: ProgramShape) -> Entry:
        share = float_words(1 / self.rows)
        return self._entry(program, self.result, self.mean, self.room, *share)

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            rows = rows_of_samples(memories, self.input, self.samples)
            centred = rows - row_of_samples(memories, self.mean)
            memories.write(self.result, _sum_rows(centred * centred) * self.share)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the squares: both sources of a square are the same vector."""
        del program, launch
        return Conflicts(self.samples * self.input.columns, "fmuls", self.rows)


@dataclass(frozen=True, slots=True)
class NormalizeBatch(_OfStatistics):
    """Normalise and scale each feature by its statistics; every operation is rounded once."""

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
                                 inner, fixed, columns, number(words, 11));
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
        found = self.statistics
        more = found.variance, self.weight, self.bias, *float_words(found.epsilon)
        return self._entry(program, self.result, found.mean, *more)

    def execute(self, memories: Memories) -> None:
        found = self.statistics
        with np.errstate(all="ignore"):
            factors = found.scale(memories) * row_of_samples(memories, self.weight)
            rows = found.centred(memories, self.input) * factors
            memories.write(self.result, rows + row_of_samples(memories, self.bias))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return none: each operation has one source in memory."""
        del program, launch
        return NO_CONFLICTS


@dataclass(frozen=True, slots=True)
class SumBatchProducts(_OfStatistics):
    """Sum the products of gradient and normalised rows, from +0 in ascending order."""

    depends_on = DataDependence.SPECIAL_VALUES
    kinds = (
        Kind(
            242,
            "sum_batch_products",
            """
            batch_norm.sum_products(row_at(result), activation(right, 1), activation(left, 1),
                                    row_at(words[8]), row_at(words[9]),
                                    activation(words[10], fixed), inner, fixed, columns,
                                    number(words, 11));
            entry += 5;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """A block with a row for each sample."""
    gradient: Block
    input: Block
    statistics: BatchStatistics
    room: Block
    """A block with an element for each row of a sample."""

    def entry(self, program: ProgramShape) -> Entry:
        found = self.statistics
        more = found.mean, found.variance, self.room, *float_words(found.epsilon)
        return self._entry(program, self.result, self.gradient, *more)

    def execute(self, memories: Memories) -> None:
        found = self.statistics
        with np.errstate(all="ignore"):
            gradient = rows_of_samples(memories, self.gradient, self.samples)
            products = found.centred(memories, self.input) * gradient
            memories.write(self.result, _sum_rows(products) * found.scale(memories))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the products if both sources advance alike, which takes blocks of one column."""
        del launch
        begins = {bank(block.offset, program.dtype) for block in (self.room, self.gradient)}
        is_shared = self.input.columns == 1 and len(begins) == 1
        return Conflicts(self.samples * is_shared, "fmuls", self.rows)


class _NormBackward(_OfStatistics):
    """A norm backward pass: the gradient of the input from sums computed before."""

    __slots__ = ()

    slowed = "fadds"
    """The DSD operation that waits where result and gradient begin in the same bank."""

    result: Block
    """A block other than those of the gradient and the input."""
    gradient: Block
    weight: Block
    products: Block
    slopes: Block

    def entry(self, program: ProgramShape) -> Entry:
        found, numbers = self.statistics, (self.statistics.epsilon, 1 / self.rows)
        words = (word for number in numbers for word in float_words(number))
        more = found.mean, found.variance, self.weight, self.products, self.slopes, *words
        return self._entry(program, self.result, self.gradient, *more)

    def _without_products(self, memories: Memories) -> tuple[Array, Array]:
        """Return the norm's scale, and minus the input's part of the product sums."""
        found = self.statistics
        scale = found.scale(memories)
        factors = -(scale * row_of_samples(memories, self.products) * self.share)
        return scale, found.centred(memories, self.input) * factors

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the columns that begin in the same banks in the result and in the gradient."""
        del launch
        begins = {bank(block.offset, program.dtype) for block in (self.result, self.gradient)}
        count = self.samples * self.input.columns * (len(begins) == 1)
        return Conflicts(count, self.slowed, self.rows)


@dataclass(frozen=True, slots=True)
class BatchNormBackward(_NormBackward):
    """Compute the input gradient of a batch norm; every operation is rounded once."""

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
    """A block other than those of the gradient and the input."""
    gradient: Block
    input: Block
    statistics: BatchStatistics
    weight: Block
    products: Block
    """Sums over all rows of the gradient times the normalised input."""
    slopes: Block
    """Means over all rows of the gradient."""

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            scale, rows = self._without_products(memories)
            rows = rows + rows_of_samples(memories, self.gradient, 1)
            rows = rows - row_of_samples(memories, self.slopes)
            memories.write(self.result, rows * (scale * row_of_samples(memories, self.weight)))


@dataclass(frozen=True, slots=True)
class GroupNormBackward(_NormBackward):
    """Compute the input gradient of a group norm; every operation is rounded once.

    The product of the gradient with the weight is added in one rounding.
    """

    slowed = "fmacs"
    depends_on = DataDependence.SPECIAL_VALUES
    kinds = (
        Kind(
            244,
            "back_from_groups",
            """
            batch_norm.back_from_groups(activation(result, 1), activation(right, 1),
                                        activation(left, 1), row_at(words[8]), row_at(words[9]),
                                        @ptrcast([*]f32,
                                                 &model.parameters[round_offset + words[10]]),
                                        row_at(words[11]), row_at(words[12]), inner, fixed, columns,
                                        number(words, 13), number(words, 15));
            entry += 9;
            """,
            _MODULE,
            (_READ_ROW,),
        ),
    )

    result: Block
    """A block other than those of the gradient and the input."""
    gradient: Block
    input: Block
    statistics: BatchStatistics
    """Statistics for each feature, equal within a group; padding has a variance of +0."""
    weight: Block
    products: Block
    """Group means of the sums over all rows of weight · gradient · normalised input."""
    slopes: Block
    """Group means of the sums over all rows of weight · gradient."""

    def execute(self, memories: Memories) -> None:
        with np.errstate(all="ignore"):
            scale, rows = self._without_products(memories)
            gradient = rows_of_samples(memories, self.gradient, self.samples)
            weight = row_of_samples(memories, self.weight)
            rows = arithmetic.fused_multiply_add(rows, gradient, weight)
            rows = rows - row_of_samples(memories, self.slopes)
            memories.write(self.result, rows * scale)


def _sum_rows(values: Array) -> Array:
    """Sum the rows of each sample in ascending order from +0, one rounding a row."""
    begin = np.zeros_like(values[:, :, :, :1])
    return np.add.accumulate(np.concatenate([begin, values], axis=3), axis=3)[:, :, :, -1:]
