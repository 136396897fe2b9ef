"""Numbers known at compile time, and the decisions that read them.

A `Scalar` may be *tainted*: it then stands for one number at the first PE of an instance and for a
function of the PE's params at all others. Reading it in a way that decides what the program is
(`force`) is written down in the instance's `Decisions`; PEs for which a decision would come out
differently get an instance of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from onewafer.csl.sema import types as t

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.diagnostics import Span

Number = int | float


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of the analysis that read params which differ between PEs."""

    evaluate: Callable[[Sequence[Number]], Number]
    value: Number
    params: tuple[str, ...]
    reason: str
    span: Span | None


@dataclass(slots=True)
class Decisions:
    """The decisions that made one instance, in order."""

    entries: list[Decision] = field(default_factory=list["Decision"])
    _seen: dict[tuple[int, str], Taint] = field(default_factory=dict[tuple[int, str], "Taint"])
    """(`id` of the taint, reason) of each decision, in order → the taint, kept for its id."""

    def add(self, taint: Taint, value: Number, reason: str, span: Span | None) -> None:
        """Note that `taint` has to have this `value` at every PE of the instance."""
        key = (id(taint), reason)
        if key not in self._seen:
            self._seen[key] = taint
            self.entries.append(Decision(taint.evaluate, value, taint.params, reason, span))

    @property
    def mark(self) -> tuple[int, int]:
        """The number of decisions so far, for `forget_since`."""
        return len(self.entries), len(self._seen)

    def forget_since(self, mark: tuple[int, int]) -> None:
        """Discard the decisions made since `mark`, even those that have been moved elsewhere."""
        num_entries, num_seen = mark
        del self.entries[num_entries:]
        while len(self._seen) > num_seen:
            self._seen.popitem()


@dataclass(frozen=True, slots=True, eq=False)
class Taint:
    """The function from the params of a PE to a scalar."""

    evaluate: Callable[[Sequence[Number]], Number]
    params: tuple[str, ...]
    decisions: Decisions


@dataclass(slots=True, eq=False)
class Scalar:
    """A number, truth value, id, direction or enum value. Never changed (not frozen: speed)."""

    type: t.Type
    value: Number
    taint: Taint | None = None


TRUE: Final = Scalar(t.BOOL, value=True)
FALSE: Final = Scalar(t.BOOL, value=False)


def boolean(value: object) -> Scalar:
    """Return the `bool` scalar of a truth value."""
    return TRUE if value else FALSE


def merge_taints(
    left: Scalar, right: Scalar, compute: Callable[[Any, Any], Number]
) -> Taint | None:
    """Return the taint of `compute(left, right)`."""
    first, second = left.taint, right.taint
    if first is None and second is None:
        return None
    if first is not None and second is not None:
        f, g = first.evaluate, second.evaluate
        params = tuple(dict.fromkeys((*first.params, *second.params)))
        return Taint(lambda row: compute(f(row), g(row)), params, first.decisions)
    if first is not None:
        f, constant = first.evaluate, right.value
        return Taint(lambda row: compute(f(row), constant), first.params, first.decisions)
    assert second is not None
    g, constant = second.evaluate, left.value
    return Taint(lambda row: compute(constant, g(row)), second.params, second.decisions)


def map_scalar(value: Scalar, type_: t.Type, compute: Callable[[Any], Number]) -> Scalar:
    """Return `compute(value)` as a scalar of `type_`, tainted as `value` is."""
    taint = value.taint
    if taint is not None:
        f = taint.evaluate
        taint = Taint(lambda row: compute(f(row)), taint.params, taint.decisions)
    return Scalar(type_, compute(value.value), taint)


def merge_scalars(
    left: Scalar, right: Scalar, type_: t.Type, compute: Callable[[Any, Any], Number]
) -> Scalar:
    """Return `compute(left, right)` as a scalar of `type_`, tainted as they are."""
    return Scalar(type_, compute(left.value, right.value), merge_taints(left, right, compute))


def force(value: Scalar, reason: str, span: Span | None) -> Number:
    """Return a scalar's number and record that it has to be the same on all PEs of the instance."""
    if value.taint is not None:
        value.taint.decisions.add(value.taint, value.value, reason, span)
    return value.value
