"""Exact values of a graph's tensors, and the largest error of an evaluation.

Notation: u is the unit roundoff (f32 2⁻²⁴, f16 2⁻¹¹), γₙ = n·u / (1 − n·u). Each tensor carries a
bound e on its distance from exact arithmetic and a bound m = |exact| + e on its magnitude. Products
and sums below the normal range add at most the smallest subnormal each. Functions have the errors
that docs/explanation/numerics.md states. The bounds hold while nothing overflows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import DataType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.graph import Slot

    Float64 = NDArray[np.float64]

_ROUNDOFF = {DataType.F16: 2.0**-11, DataType.F32: 2.0**-24}
_SUBNORMAL = {DataType.F16: 2.0**-24, DataType.F32: 2.0**-149}


@dataclass(frozen=True, slots=True)
class Bounded:
    """A tensor in exact arithmetic, and an error bound for each of its elements."""

    exact: Float64
    error: Float64

    @property
    def magnitude(self) -> Float64:
        """The largest possible magnitude of each element of an evaluation."""
        return np.abs(self.exact) + self.error

    def reshape(self, *shape: int) -> Bounded:
        """Return the same elements in another shape."""
        return Bounded(self.exact.reshape(shape), self.error.reshape(shape))

    def __getitem__(self, rows: slice) -> Bounded:
        """Return some of the rows."""
        return Bounded(self.exact[rows], self.error[rows])

    def followed_by(self, other: Bounded) -> Bounded:
        """Return the rows of this tensor followed by those of another one."""
        pairs = ((self.exact, other.exact), (self.error, other.error))
        exact, error = (np.concatenate(pair) for pair in pairs)
        return Bounded(exact, error)


@dataclass(frozen=True, slots=True)
class Distances:
    """The known tensors of a graph, with their error bounds."""

    dtype: DataType
    """The dtype in which results are stored."""
    num_pes: int
    """The largest number of PEs that add parts of one sum."""
    exact: Mapping[str, Float64]
    """All tensors of the launch in exact arithmetic."""
    slots: Sequence[Slot]
    """The slots of the launch's rows, if rows are tokens of sequences."""
    kept: dict[tuple[int, str], Bounded]
    """Tensors kept from earlier launches of sequences, by name."""
    seeds: NDArray[Any] | None = None
    """The seeds of the launch's random draws, if there are any."""
    known: dict[str, Bounded] = field(default_factory=dict[str, Bounded])

    def of(self, name: str) -> Bounded:
        """Return a known tensor."""
        return self.known[name]

    def each_slot(self) -> Iterator[tuple[Slot, slice]]:
        """Yield each slot of the launch and the slice of its rows."""
        first = 0
        for slot in self.slots:
            yield slot, slice(first, first + slot.rows)
            first += slot.rows

    def keep(self, name: str, slot: Slot, rows: Bounded) -> Bounded:
        """Append rows to those kept for a sequence; return all of them."""
        found = rows
        if slot.position:
            found = self.kept[slot.sequence, name][: slot.position].followed_by(rows)
        self.kept[slot.sequence, name] = found
        return found

    @staticmethod
    def gamma(roundings: int) -> float:
        """Return γₙ in f32, in which sums are."""
        share = roundings * _ROUNDOFF[DataType.F32]
        return share / (1 - share)

    def rounded(self, one: Bounded) -> Bounded:
        """Add one rounding to the dtype of results."""
        error = one.error + _ROUNDOFF[self.dtype] * one.magnitude + _SUBNORMAL[self.dtype]
        return Bounded(one.exact, error)

    def product(self, values: Bounded, weight: NDArray[Any]) -> Bounded:
        """Return `values` · `weight`ᵀ, stored.

        A sum of n products takes part in at most n + p roundings, whatever the order (n
        multiply-adds or n products and n − 1 additions; p − 1 additions of the chain over p PEs),
        so e = |W|·eₓ + γₙ₊ₚ₊₁ · |W|·mₓ in f32, and one rounding more where it is stored in f16.
        """
        magnitudes = np.abs(weight).T
        roundings = magnitudes.shape[0] + self.num_pes + 1
        gamma = self.gamma(roundings)
        error = values.error @ magnitudes + gamma * (values.magnitude @ magnitudes)
        error += roundings * _SUBNORMAL[DataType.F32]
        sums = Bounded(values.exact @ weight.T, error)
        return sums if self.dtype is DataType.F32 else self.rounded(sums)
