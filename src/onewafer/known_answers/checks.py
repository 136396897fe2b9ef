"""How results are compared with NumPy: bit for bit in the fabric's order, and against exact sums.

A sum of f32 terms depends on its order. NumPy adds in the same order and must give the same bits.
Against an error that both share, the second comparison is with a sum in doubles, in any order, up
to the worst case of rounding (Higham, *Accuracy and Stability*, 2002, lemma 3.1): n additions of
terms tᵢ are off by at most γₙ · Σ|tᵢ|, where γₙ = n·u / (1 − n·u) and u = 2⁻²⁴.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import InternalError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

UNIT_ROUNDOFF = 2.0**-24
"""Unit roundoff of f32, to nearest."""


class WrongResultError(InternalError):
    """A program ran to its end and its values are not those that NumPy computes."""


def check_bits(
    name: str, found: NDArray[Any], expected: NDArray[Any], *, corner: tuple[int, int] = (0, 0)
) -> None:
    """Raise `WrongResultError` unless two arrays `[height, width, num_elements]` are equal.

    `corner` is the PE, x and y, of the first elements.
    """
    bits = np.dtype(f"u{found.itemsize}")
    wrong = found.view(bits) != np.ascontiguousarray(expected, found.dtype).view(bits)
    if wrong.any():
        y, x, element = (int(i) for i in np.argwhere(wrong)[0])
        raise WrongResultError(
            f"'{name}'[{element}] of PE ({corner[0] + x}, {corner[1] + y}) is "
            f"{found[y, x, element]}, NumPy computes {expected[y, x, element]} "
            f"({int(wrong.sum()):,} of {found.size:,} values differ)"
        )


def check_bound(
    name: str,
    found: NDArray[np.float32],
    exact: NDArray[np.float64],
    *,
    magnitude: NDArray[np.float64],
    num_additions: int,
) -> None:
    """Raise `WrongResultError` if sums are farther from exact ones than rounding explains.

    `magnitude` is Σ|tᵢ| of each sum. The arrays have one shape.
    """
    scaled = num_additions * UNIT_ROUNDOFF
    error = np.abs(found.astype(np.float64) - exact)
    allowed = scaled / (1 - scaled) * magnitude
    wrong = ~(error <= allowed)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise WrongResultError(
            f"'{name}'{list(place)} is {found[place]!r}, exact is {exact[place]!r}: off by "
            f"{error[place]:.3g}, and {num_additions:,} roundings explain {allowed[place]:.3g}"
        )
