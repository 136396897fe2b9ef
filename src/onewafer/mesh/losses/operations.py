"""Cross entropy of rows whose targets are class indices: `cross_entropy.csl`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic, functions
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import NUM_PRESENT, Beginning, Kind, Module
from onewafer.mesh.operation import DataDependence, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, with_row_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Floats = NDArray[Any]  # of f32
    Words = tuple[int | Block, ...]
    Integers = NDArray[Any]

CROSS_ENTROPY = Module("cross_entropy", ".functions = functions", (FUNCTIONS,))
SUMS_OF_ROW = 2
"""Numbers for each row, as in cross_entropy.csl: the sum of exponentials, the target's logit."""
_OF_LOSS = Beginning(
    "steps of a cross entropy",
    """
    const targets = @ptrcast([*]i32, &model.indices[words[8]]);
    const ignored = @as(i32, @bitcast(i16, words[9]));
    const is_mean = words[10] != 0;
    const at = place(words[11]);
    const present = num_present(columns, inner, size(words[11]) - 1 - at);
    const first_class = @as(i32, at) * @as(i32, columns);
    const largest = totals(words[12]);
    """,
)


@dataclass(frozen=True, slots=True)
class Targets:
    """The logits and targets of a cross entropy."""

    logits: Block
    indices: Block
    """i32, one target for each row."""
    maxima: Block
    """f32, the largest logit of each row over all PEs."""
    axis: Axis
    """The axis over which the classes are blocked."""
    classes: int
    """The number of classes over all PEs, without padding."""
    ignored: int
    """The target value of rows that the loss ignores."""
    is_mean: bool
    """True if the loss is divided by the number of rows that are not ignored."""

    def first(self, memories: Memories) -> Integers:
        """Return the index of each PE's first class, `[height, width]`."""
        return memories.at(self.axis) * self.logits.columns

    def present(self, memories: Memories) -> Integers:
        """Return the number of classes on each PE, `[height, width]`."""
        left = self.classes - self.first(memories)
        return np.clip(left, 0, self.logits.columns)

    def counts(self, memories: Memories) -> NDArray[np.bool_]:
        """Return which rows are not ignored, `[height, width, rows]`."""
        return memories.read(self.indices) != self.ignored

    def classes_here(self, memories: Memories) -> NDArray[np.bool_]:
        """Return which columns are classes, not padding, `[height, width, 1, columns]`."""
        present = self.present(memories)[..., np.newaxis, np.newaxis]
        return np.arange(self.logits.columns) < present

    def here(self, memories: Memories) -> NDArray[np.bool_]:
        """Return which column is the row's target, `[height, width, rows, columns]`."""
        places = memories.read(self.indices) - self.first(memories)[..., np.newaxis]
        columns = np.arange(self.logits.columns)
        return (places[..., np.newaxis] == columns) & self.classes_here(memories)

    def exponentials(self, memories: Memories) -> Floats:
        """Return exp(logit − maximum of the row), 0 in the padding."""
        largest = memories.read(self.maxima)[..., np.newaxis]
        rest = arithmetic.subtract(memories.matrix(self.logits), largest)
        weights = functions.exponential(rest)
        return np.where(self.classes_here(memories), weights, np.float32(0))

    def words(self) -> Words:
        """Return the schedule words of the targets."""
        numbers = self.indices, self.ignored & 0xFFFF, int(self.is_mean), self.axis.number
        return (*numbers, self.maxima)

    def entry(
        self, program: ProgramShape, kind: Kind, blocks: Sequence[Block], words: Words
    ) -> Entry:
        """Return the schedule entry of a step that reads the logits."""
        logits = self.logits
        padding = program.size(self.axis) * logits.columns - self.classes
        entry = block_entry(program, kind, *blocks, inner=padding, more=words)
        rows = block_entry(program, kind, logits).rows
        return replace(entry, n=logits.num_elements, rows=rows, columns=logits.columns)

    def sizes(self, program: ProgramShape, launch: Launch) -> dict[str, int]:
        """Return the sizes of a step that reads the logits, for a PE without padding."""
        sizes = with_row_chunks(block_sizes(program, self.logits, launch))
        return {**sizes, "held": -(-sizes["rows"] // program.size(self.axis))}

    def divisor(self, memories: Memories) -> Floats:
        """Return the divisor of the loss, `[height, width]`."""
        count = self.counts(memories).sum(axis=-1).astype(np.float32)
        return count if self.is_mean else np.ones_like(count)


class _OfTargets(MeshOperation):
    """A step of a cross entropy."""

    __slots__ = ()

    depends_on = DataDependence.TARGETS

    targets: Targets

    def step_entry(
        self, program: ProgramShape, result: Block, left: Block, right: Block, *more: Block
    ) -> Entry:
        """Return the schedule entry of a step; all steps share the words about the targets."""
        words = (*self.targets.words(), *more)
        return self.targets.entry(program, self.kind, (result, left, right), words)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return self.targets.sizes(program, launch)


@dataclass(frozen=True, slots=True)
class AddUpTargets(_OfTargets):
    """Sum each row's exponentials on a PE, and find the target's logit; −0 if it is elsewhere."""

    kinds = (
        Kind(
            97,
            "add_up_targets",
            """
            entry += 5;
            cross_entropy.add_up(totals(result), totals(left), activation(right, 1), largest,
                                 targets, rows, columns, present, first_class);
            """,
            (CROSS_ENTROPY,),
            (NUM_PRESENT,),
            beginning=_OF_LOSS,
        ),
    )

    sums: Block
    """f32, with `SUMS_OF_ROW` columns."""
    room: Block
    """Scratch as long as a row of logits."""
    targets: Targets

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.sums, self.targets.logits, self.room)

    def execute(self, memories: Memories) -> None:
        weights = self.targets.exponentials(memories)
        logits, is_here = memories.matrix(self.targets.logits), self.targets.here(memories)
        found = np.where(is_here, logits, 0).sum(axis=-1, dtype=np.float32)
        found = np.where(is_here.any(axis=-1), found, np.float32(-0.0))
        memories.write(self.sums, np.stack([sum_in_order(weights), found], axis=-1))


@dataclass(frozen=True, slots=True)
class MeanOfTargets(_OfTargets):
    """Compute the sum or mean loss of all rows that are not ignored, on every PE."""

    kinds = (
        Kind(
            98,
            "mean_of_targets",
            """
            entry += 5;
            cross_entropy.mean(totals(result), totals(left), largest, targets, rows, ignored,
                               is_mean);
            """,
            (CROSS_ENTROPY,),
            (NUM_PRESENT,),
            beginning=_OF_LOSS,
        ),
    )

    loss: Block
    """A block of one f32 number."""
    sums: Block
    """The sums of each row, reduced over all PEs."""
    targets: Targets

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.loss, self.sums, self.sums)

    def execute(self, memories: Memories) -> None:
        sums, largest = memories.matrix(self.sums), memories.read(self.targets.maxima)
        counts = self.targets.counts(memories)
        with np.errstate(all="ignore"):
            losses = logarithm(sums[..., 0]) + largest - sums[..., 1]
            total = np.zeros(losses.shape[:2], np.float32)
            for row in range(losses.shape[-1]):
                total = total + np.where(counts[..., row], losses[..., row], np.float32(0))
            memories.write(self.loss, total / self.targets.divisor(memories))


@dataclass(frozen=True, slots=True)
class CountTargets(_OfTargets):
    """Count the rows that are not ignored, for a mean over several sample groups."""

    kinds = (
        Kind(
            129,
            "count_targets",
            """
            entry += 5;
            const targets = @ptrcast([*]i32, &model.indices[words[8]]);
            const ignored = @as(i32, @bitcast(i16, words[9]));
            totals(result)[0] = cross_entropy.divisor(targets, rows, ignored, true);
            """,
            (CROSS_ENTROPY,),
        ),
    )

    count: Block
    """A block of one f32 number."""
    targets: Targets

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.count, self.count, self.count)

    def execute(self, memories: Memories) -> None:
        memories.write(self.count, self.targets.counts(memories).sum(axis=-1).astype(np.float32))


@dataclass(frozen=True, slots=True)
class CrossEntropyBackward(_OfTargets):
    """Compute the gradient of the logits from the gradient of the loss."""

    kinds = (
        Kind(
            99,
            "back_from_targets",
            """
            entry += 6;
            const seed = totals(words[13]);
            cross_entropy.back(totals(result), activation(left, 1), totals(right), largest,
                               targets, seed[0], rows, columns, present, first_class, ignored,
                               is_mean);
            """,
            (CROSS_ENTROPY,),
            (NUM_PRESENT,),
            beginning=_OF_LOSS,
        ),
    )

    result: Block
    sums: Block
    """The sums of each row, reduced over all PEs."""
    seed: Block
    """The gradient of the loss, one f32 number that every PE has."""
    targets: Targets

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.result, self.targets.logits, self.sums, self.seed)

    def execute(self, memories: Memories) -> None:
        targets, sums = self.targets, memories.matrix(self.sums)[..., 0]
        with np.errstate(all="ignore"):
            share = memories.read(self.seed)[..., 0] / targets.divisor(memories)
            part = np.where(targets.counts(memories), share[..., np.newaxis], np.float32(0))
            factors = (part / sums)[..., np.newaxis]
            weights = arithmetic.multiply(targets.exponentials(memories), factors)
            less = np.where(targets.here(memories), part[..., np.newaxis], np.float32(0))
            back = np.where(targets.classes_here(memories), weights - less, np.float32(0))
        memories.write(self.result, back)


def sum_in_order(values: Floats) -> Floats:
    """Return the sum over the last dimension in ascending order from +0."""
    total = np.zeros(values.shape[:-1], np.float32)
    for column in range(values.shape[-1]):
        total = arithmetic.add(total, values[..., column])
    return total


def logarithm(x: Floats) -> Floats:
    """Return ln x for x of at least 1, as cross_entropy.csl does."""
    bits = np.ascontiguousarray(x).view(np.uint32) + np.uint32(0x3F800000 - 0x3F3504F3)
    k = ((bits >> np.uint32(23)).astype(np.int32) - 127).astype(np.float32)
    f = ((bits & np.uint32(0x7FFFFF)) + np.uint32(0x3F3504F3)).view(np.float32) - np.float32(1)
    s = f / (np.float32(2) + f)
    z = s * s
    series = np.float32(0.2857143) + z * np.float32(0.22222222)
    series = z * (np.float32(0.6666667) + z * (np.float32(0.4) + z * series))
    half = np.float32(0.5) * f * f
    tail = half - (s * (half + series) - k * np.float32(2.12194440e-4))
    return k * np.float32(0.693359375) + (f - tail) + (x - x)
