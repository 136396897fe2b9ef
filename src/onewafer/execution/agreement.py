"""Values of simulated launches, compared with the NumPy reader's and with the host's.

The NumPy reader of the mesh program does the fabric's operations in the fabric's order, so bits are
equal. The host may sum in another order: where the arithmetic gives a bound (`mesh.error_bound`),
values are held against it; elsewhere the distance is a figure of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import UnsupportedOperationError
from onewafer.mesh import error_bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import MeshProgram


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparisons of some simulated launches."""

    launches: int = 0
    other_bits: int = 0
    """Launches whose bits differ from the NumPy reader's: a defect of onewafer."""
    distance: float | None = None
    """The largest distance from the host, as a share of its largest element; None: unknown."""
    beyond_bound: int = 0
    """Launches with an element farther from the host's than rounding explains: also a defect."""

    def __add__(self, other: Agreement) -> Agreement:
        """Return the comparisons of both."""
        distances = [d for d in (self.distance, other.distance) if d is not None]
        return Agreement(
            self.launches + other.launches,
            self.other_bits + other.other_bits,
            max(distances, default=None),
            self.beyond_bound + other.beyond_bound,
        )


def are_finite(outputs: Arrays, rows: Mapping[str, int]) -> bool:
    """Tell whether the rows of a launch are finite (`MeshProgram.output_rows`)."""
    return all(bool(np.isfinite(array[: rows.get(name)]).all()) for name, array in outputs.items())


def has_same_bits(fabric: Arrays, reader: Arrays, rows: Mapping[str, int]) -> bool:
    """Tell whether the rows of a launch have the same bits, except that any NaNs are equal."""
    return all(
        _is_same(array[: rows.get(name)], reader[name][: rows.get(name)])
        for name, array in fabric.items()
    )


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    is_nan = (one != one) & (other != other)  # noqa: PLR0124  # also of integers
    bits = np.dtype(f"u{one.itemsize}")
    return bool((is_nan | (one.view(bits) == other.view(bits))).all())


def distance_from_host(fabric: Arrays, host: Arrays) -> float | None:
    """Return the largest distance as a share of the largest element.

    The host's rows may be fewer than the launch's, with NaN for unknown elements. Integers are not
    compared: the distance between indices of two almost equal elements means nothing.
    """
    distances = [distance for distance, largest in _distances(fabric, host) if largest > 0]
    return max(distances, default=None)


def _distances(fabric: Arrays, host: Arrays) -> Iterator[tuple[float, float]]:
    for name, theirs in host.items():
        ours = fabric[name][: len(theirs)]
        if not np.issubdtype(ours.dtype, np.floating):
            continue
        one, other = ours.astype(np.float64), theirs.astype(np.float64)
        are_finite = np.isfinite(one) & np.isfinite(other)
        if are_finite.any():
            largest = float(np.abs(other[are_finite]).max())
            farthest = float(np.abs(one - other)[are_finite].max())
            yield farthest / largest if largest else 0.0, largest


def is_beyond_bound(
    program: MeshProgram, inputs: Arrays, parameters: Arrays, *, fabric: Arrays, host: Arrays
) -> bool:
    """Tell whether an element is farther from the host's than rounding explains.

    False also where no bound is known: where `error_bound` has no rule for an operation.
    """
    try:
        bounds = error_bound(program, inputs, parameters)
    except UnsupportedOperationError:
        return False
    for name, theirs in host.items():
        distance = np.abs(fabric[name][: len(theirs)].astype(np.float64) - theirs)
        if (distance > bounds[name][: len(theirs)]).any():  # false for NaN
            return True
    return False
