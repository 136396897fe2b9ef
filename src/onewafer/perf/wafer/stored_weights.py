"""The weights that PEs store, as multiples of the blocks of a mesh program.

Sparse weights store less than a block; experts store more: also those that a row is not routed to.
Experts are concatenated along their hidden features, so that padding comes once, at the end: where
a weight's block has ⌈n / P⌉ of n hidden features, t times as many take ⌈t · n / P⌉.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh import Axis, Distribution, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from onewafer.graph import Tensor
    from onewafer.mesh import MeshProgram, Placement
    from onewafer.perf.wafer.stand_ins import Piece

_ALIGNMENT = 16
"""Bytes to which blocks of parameters are padded."""


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """A learned parameter of a mesh program."""

    segment: int
    block_bytes: int
    """Bytes of its block on every PE."""
    times: float
    """How many times a block is stored."""
    times_at_once: float
    """Blocks that must be present at a time under weight streaming: of experts, which follow one
    another, those that a row is routed to."""


def stored_weights(
    pieces: Sequence[tuple[int, Piece]],
    program: MeshProgram,
    stored: Callable[[Piece], Iterable[tuple[Tensor, float]]],
) -> Iterator[StoredWeight]:
    """Yield the learned parameters of the pieces of a program, with their segments.

    A shared parameter belongs to the first piece that has it.
    """
    owners: dict[str, tuple[int, float, int | None]] = {}
    for index, piece in pieces:
        for tensor, times in stored(piece):
            owners.setdefault(tensor.name, (index, times, piece.stacked.get(tensor.name)))
    for placement in program.with_role(Role.PARAMETER):
        if placement.name in owners:
            index, times, stacked = owners[placement.name]
            size = placement.num_elements * placement.dtype.num_bytes
            padded = -(-size // _ALIGNMENT) * _ALIGNMENT
            if stacked is None:
                yield StoredWeight(index, padded, times, times)
            else:
                times = _times_of_stack(placement, program, times, stacked)
                yield StoredWeight(index, padded, times, min(times, 1.0))


def _times_of_stack(
    placement: Placement, program: MeshProgram, times: float, dimension: int
) -> float:
    """Return how many times a block is stored if concatenated weights are padded at the end."""
    lies = (placement.columns, placement.rows)[dimension]  # weights are stored transposed
    num_pes = program.size(Axis.X if lies is Distribution.BLOCKED_X else Axis.Y)
    features = placement.shape[dimension]
    return math.ceil(times * features / num_pes) / -(-features // num_pes)


def stored_matrix(tensor: Tensor, times: float, stacked: int | None) -> tuple[float, float, float]:
    """Return rows, columns and bytes per element of the stored form of a weight."""
    *taps, rows, columns = map(float, tensor.shape)
    size = math.prod(taps) * tensor.dtype.num_bytes
    match stacked:
        case None:
            return rows, columns, size * times
        case 0:
            return rows * times, columns, size
        case _:
            return rows, columns * times, size
