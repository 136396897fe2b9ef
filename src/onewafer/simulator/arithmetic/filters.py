"""The arithmetic of counter filters, and their registers (M101, M102).

A filter holds its counter; its limit; `passing`, the number of counts from 0 on that pass; and
`then`, the phase after the limit: another round, a last round with another limit, or no filtering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import CounterFilter
from onewafer.simulator.arithmetic.compiled import jitable
from onewafer.simulator.arithmetic.registers import (
    COUNTER_REGISTER,
    LIMIT_REGISTER,
    MAXIMUM_REGISTER,
)

if TYPE_CHECKING:
    from onewafer.image import RangeFilter

REPEATS, ENDS = -1, -2
"""The phase after the limit; any other number is the limit of the last round."""
ALL_PASS = 1 << 16
"""The value of `passing` of a filter that passes all wavelets."""
_HALF = 0xFFFF


def filter_at_load(filter_: RangeFilter | CounterFilter | None) -> tuple[int, int, int, int]:
    """Return counter, limit, passing and then of a filter; zeros if it does not count."""
    if not isinstance(filter_, CounterFilter):
        return 0, 0, 0, 0
    counter, limit, passing = filter_.initial, filter_.limit, filter_.maximum + 1
    if not filter_.is_sparse:
        return counter, limit, passing, REPEATS
    second = filter_.second_limit
    return counter, limit, passing, ENDS if second is None else second


@jitable
def next_count(counter: int, limit: int) -> int:
    """Return the counter after a counted wavelet."""
    return 0 if counter == limit else counter + 1 & _HALF


@jitable
def next_limit(counter: int, limit: int, then: int) -> int:
    """Return the limit after a counted wavelet; the second one counts from the last round on."""
    return then if counter == limit and then >= 0 else limit


@jitable
def next_passing(counter: int, limit: int, passing: int, then: int) -> int:
    """Return `passing` after a counted wavelet."""
    return ALL_PASS if counter == limit and then == ENDS else passing


@jitable
def next_then(counter: int, limit: int, then: int) -> int:
    """Return `then` after a counted wavelet."""
    if counter != limit or then == REPEATS:
        return then
    return ENDS if then >= 0 else REPEATS


@jitable
def passes_count(counter: int, passing: int, is_control: bool) -> bool:  # noqa: FBT001
    """Tell whether a wavelet passes; a filtered control wavelet only does with the last count."""
    return counter + 1 == passing if is_control else counter < passing


@jitable
def filter_word(kind: int, counter: int, limit: int, passing: int) -> int:
    """Return a register of a counter filter."""
    if kind == COUNTER_REGISTER:
        return counter
    if kind == LIMIT_REGISTER:
        return limit
    return (passing - 1 if kind == MAXIMUM_REGISTER else min(passing, _HALF)) & _HALF


@jitable
def written_passing(kind: int, word: int) -> int:
    """Return `passing` after a write to the register of the maximum or of the passing counts."""
    return word + 1 if kind == MAXIMUM_REGISTER else word
