"""Cross entropy with weights or smoothing, and the negative log-likelihood.

`weighted_targets.csl` has the steps; `operations` has those of the plain cross entropy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import NUM_PRESENT, Beginning, Kind, Module
from onewafer.mesh.losses.operations import CROSS_ENTROPY, Targets, logarithm, sum_in_order
from onewafer.mesh.operation import DataDependence, MeshOperation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Floats = NDArray[Any]  # of f32

SUMS_OF_WEIGHTED_ROW = 4
"""Numbers for each row, as in weighted_targets.csl: the sums of exponentials, of factors, and of
factors times logits; the target's weight."""
ROWS_OF_ROOM = 3
"""Scratch rows as long as a row of logits: values, products, and ones in place of weights."""
_MEAN, _STORED, _LOGARITHM = 1, 2, 4
"""Bits of a word in the schedule."""
_MODULE = Module(
    "weighted_targets",
    ".functions = functions, .cross_entropy = cross_entropy",
    (FUNCTIONS, CROSS_ENTROPY),
)
_BEGINNING = Beginning(
    "steps of a cross entropy with weights",
    """
    const targets = @ptrcast([*]i32, &model.indices[words[8]]);
    const ignored = @as(i32, @bitcast(i16, words[9]));
    const flags = words[10];
    const is_mean = (flags & 1) != 0;
    const at = place(words[11]);
    const present = num_present(columns, inner, size(words[11]) - 1 - at);
    const first_class = @as(i32, at) * @as(i32, columns);
    const largest = totals(words[12]);
    const shared = number(words, 13);
    const own = number(words, 15);
    const room = words[17];
    const ones = totals(room + 2 * columns);
    if ((flags & 2) == 0) @fmovs(activation(room + 2 * columns, columns), functions.one);
    const stored = @ptrcast([*]f32, &model.parameters[round_offset + words[18]]);
    const weights = if ((flags & 2) == 0) ones else stored;
    const is_smoothed = shared != 0.0;
    const is_logarithm = (flags & 4) != 0;
    """,
)


@dataclass(frozen=True, slots=True)
class Weighted:
    """A cross entropy with weights, smoothing or logarithms as input."""

    targets: Targets
    room: Block
    """Scratch of `ROWS_OF_ROOM` rows as long as a row of logits."""
    weights: Block | None
    """A stored row of class weights; None: all are 1."""
    shared: float
    """The factor of every class because of smoothing, before its weight."""
    own: float
    """The factor of the target, before its weight."""
    is_logarithm: bool
    """True if the logits are log-probabilities."""

    @property
    def factors(self) -> tuple[np.float32, np.float32]:
        """`shared` and `own` in f32."""
        return np.float32(self.shared), np.float32(self.own)

    def words(self) -> tuple[int | Block, ...]:
        """Return the schedule words of the loss."""
        targets = self.targets
        flags = _MEAN * targets.is_mean + _STORED * (self.weights is not None)
        flags += _LOGARITHM * self.is_logarithm
        numbers = targets.indices, targets.ignored & 0xFFFF, flags, targets.axis.number
        factors = *float_words(self.shared), *float_words(self.own)
        return (*numbers, targets.maxima, *factors, self.room, self.weights or 0)

    def stored(self, memories: Memories) -> Floats:
        """Return the class weights of each PE, `[height, width, columns]`."""
        if self.weights is None:
            columns = self.targets.logits.columns
            return np.ones((*memories.at(self.targets.axis).shape, columns), np.float32)
        return memories.matrix(self.weights)[:, :, 0]

    def of_targets(self, memories: Memories) -> Floats:
        """Return the weight of each row's target, `[height, width, rows]`; 0 on other PEs."""
        here = self.targets.here(memories)
        weights = self.stored(memories)[:, :, np.newaxis]
        return np.where(here, weights, 0).sum(axis=-1, dtype=np.float32)

    def values(self, memories: Memories) -> Floats:
        """Return logits less their maxima, or logarithms, `[height, width, rows, columns]`."""
        logits = memories.matrix(self.targets.logits)
        if self.is_logarithm:
            return logits
        return arithmetic.subtract(logits, memories.read(self.targets.maxima)[..., np.newaxis])

    def divisor(self, memories: Memories, sums: Block) -> Floats:
        """Return the divisor of the loss, `[height, width]`."""
        weights, counts = memories.matrix(sums)[..., 3], self.targets.counts(memories)
        total = np.zeros(weights.shape[:2], np.float32)
        for row in range(weights.shape[-1]):
            total = total + np.where(counts[..., row], weights[..., row], np.float32(0))
        return total if self.targets.is_mean else np.ones_like(total)


class _OfWeighted(MeshOperation):
    """A step of a weighted cross entropy."""

    __slots__ = ()

    depends_on = DataDependence.TARGETS

    weighted: Weighted

    def step_entry(
        self, program: ProgramShape, result: Block, left: Block, right: Block, *more: Block
    ) -> Entry:
        """Return the schedule entry of a step; all steps share the words about the loss."""
        words = (*self.weighted.words(), *more)
        return self.weighted.targets.entry(program, self.kind, (result, left, right), words)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for a PE without padding.

        Three are 0 or 1: `smoothed` if all classes have a factor, `shares` if exponentials are
        computed, `plain` if there are no weights.
        """
        weighted = self.weighted
        sizes = weighted.targets.sizes(program, launch)
        return {
            **sizes,
            "sums": SUMS_OF_WEIGHTED_ROW * sizes["rows"],
            "smoothed": int(weighted.shared != 0),
            "shares": int(not weighted.is_logarithm),
            "plain": int(weighted.weights is None),
        }


@dataclass(frozen=True, slots=True)
class AddUpWeighted(_OfWeighted):
    """Sum exponentials, factors, and factors times logits of each row on a PE."""

    kinds = (
        Kind(
            216,
            "add_up_weighted_targets",
            """
            entry += 11;
            weighted_targets.add_up(totals(result), activation(left, 1), totals(room),
                                    totals(room + columns), weights, largest, targets, shared, own,
                                    rows, columns, present, first_class, is_smoothed, is_logarithm);
            """,
            (_MODULE,),
            (NUM_PRESENT,),
            beginning=_BEGINNING,
        ),
    )

    sums: Block
    """f32, with `SUMS_OF_WEIGHTED_ROW` columns."""
    weighted: Weighted

    def entry(self, program: ProgramShape) -> Entry:
        logits = self.weighted.targets.logits
        return self.step_entry(program, self.sums, logits, logits)

    def execute(self, memories: Memories) -> None:
        weighted, targets = self.weighted, self.weighted.targets
        memories.write(self.sums, np.zeros_like(memories.matrix(self.sums)))
        shared, own = weighted.factors
        here, is_class = targets.here(memories), targets.classes_here(memories)
        is_here, values = here.any(axis=-1), weighted.values(memories)
        weights = np.where(is_class[:, :, 0], weighted.stored(memories), np.float32(0))
        total = products = np.zeros(values.shape[:3], np.float32)
        with np.errstate(all="ignore"):
            if weighted.shared:
                all_weights = sum_in_order(weights)[..., np.newaxis]
                total = np.broadcast_to(shared * all_weights, total.shape)
                terms = np.where(is_class, values * weights[:, :, np.newaxis], np.float32(0))
                products = sum_in_order(terms) * shared
            factor = own * weighted.of_targets(memories)
            value = np.where(here, values, 0).sum(axis=-1, dtype=np.float32)
            products = np.where(is_here, products + factor * value, products)
            total = np.where(is_here, total + factor, total)
        found = is_here.astype(np.float32)
        if not weighted.is_logarithm:
            found = sum_in_order(targets.exponentials(memories))
        sums = np.stack([found, total, products, weighted.of_targets(memories)], axis=-1)
        has_classes = targets.present(memories)[..., np.newaxis, np.newaxis] > 0
        memories.write(self.sums, np.where(has_classes, sums, np.float32(0)))


@dataclass(frozen=True, slots=True)
class MeanOfWeighted(_OfWeighted):
    """Compute the sum or mean loss of all rows that are not ignored, on every PE."""

    kinds = (
        Kind(
            217,
            "mean_of_weighted_targets",
            """
            entry += 11;
            weighted_targets.mean(totals(result), totals(left), targets, rows, ignored, is_mean);
            """,
            (_MODULE,),
            (NUM_PRESENT,),
            beginning=_BEGINNING,
        ),
    )

    loss: Block
    """A block of one f32 number."""
    sums: Block
    """The sums of each row, reduced over all PEs."""
    weighted: Weighted

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.loss, self.sums, self.sums)

    def execute(self, memories: Memories) -> None:
        sums, counts = memories.matrix(self.sums), self.weighted.targets.counts(memories)
        with np.errstate(all="ignore"):
            losses = sums[..., 1] * logarithm(sums[..., 0]) - sums[..., 2]
            total = np.zeros(losses.shape[:2], np.float32)
            for row in range(losses.shape[-1]):
                total = total + np.where(counts[..., row], losses[..., row], np.float32(0))
            memories.write(self.loss, total / self.weighted.divisor(memories, self.sums))


@dataclass(frozen=True, slots=True)
class AddUpWeights(_OfWeighted):
    """Add up the targets' weights of rows that are not ignored: the divisor of a mean."""

    kinds = (
        Kind(
            130,
            "add_up_weights",
            """
            entry += 11;
            const targets = @ptrcast([*]i32, &model.indices[words[8]]);
            const ignored = @as(i32, @bitcast(i16, words[9]));
            totals(result)[0] = weighted_targets.divisor(totals(left), targets, rows, ignored,
                                                         true);
            """,
            (_MODULE,),
        ),
    )

    count: Block
    """A block of one f32 number."""
    sums: Block
    """The sums of each row, reduced over all PEs."""
    weighted: Weighted

    def entry(self, program: ProgramShape) -> Entry:
        return self.step_entry(program, self.count, self.sums, self.sums)

    def execute(self, memories: Memories) -> None:
        weighted = self.weighted
        asked = replace(weighted, targets=replace(weighted.targets, is_mean=True))
        memories.write(self.count, asked.divisor(memories, self.sums))


@dataclass(frozen=True, slots=True)
class WeightedLossBackward(_OfWeighted):
    """Compute the gradient of the logits from the gradient of the loss."""

    kinds = (
        Kind(
            218,
            "back_from_weighted_targets",
            """
            entry += 12;
            const seed = totals(words[19]);
            weighted_targets.back(totals(result), activation(left, 1), totals(room), weights,
                                  totals(right), largest, targets, shared, own, seed[0],
                                  rows, columns, present, first_class, ignored, is_mean,
                                  is_smoothed, is_logarithm);
            """,
            (_MODULE,),
            (NUM_PRESENT,),
            beginning=_BEGINNING,
        ),
    )

    result: Block
    sums: Block
    """The sums of each row, reduced over all PEs."""
    seed: Block
    """The gradient of the loss, one f32 number that every PE has."""
    weighted: Weighted

    def entry(self, program: ProgramShape) -> Entry:
        logits = self.weighted.targets.logits
        return self.step_entry(program, self.result, logits, self.sums, self.seed)

    def execute(self, memories: Memories) -> None:
        weighted, targets = self.weighted, self.weighted.targets
        sums, (shared, own) = memories.matrix(self.sums), weighted.factors
        weights, here = weighted.stored(memories), targets.here(memories)
        with np.errstate(all="ignore"):
            share = memories.read(self.seed)[..., 0] / weighted.divisor(memories, self.sums)
            part = np.where(targets.counts(memories), share[..., np.newaxis], np.float32(0))
            back = np.zeros(here.shape, np.float32)
            if not weighted.is_logarithm:
                factors = (part * sums[..., 1] / sums[..., 0])[..., np.newaxis]
                back = targets.exponentials(memories) * factors
            if weighted.shared:
                factors = (part * shared)[..., np.newaxis]
                back = back - weights[:, :, np.newaxis] * factors
            factors = part[..., np.newaxis] * (own * weights)[:, :, np.newaxis]
            back = np.where(here, back - factors, back)
        memories.write(self.result, np.where(targets.classes_here(memories), back, np.float32(0)))
