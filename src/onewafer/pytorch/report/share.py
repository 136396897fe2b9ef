"""The share of the wafer in words: never more than was counted, and 100% only for all of it.

It is that of products. Element-wise work that the host did stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.units import count_of, format_count

if TYPE_CHECKING:
    from onewafer.errors import SourceLine
    from onewafer.pytorch.report.values import FlopReport

_MOST_NAMES = 3
"""Uncounted operations, and modules with element-wise work, that are named in a line."""


def describe_share(flop: FlopReport) -> str:
    """Return the headline of a report: the wafer's share of the FLOP of all products.

    Where the host has run operations that nothing counts, it names them: the share is a bound.
    """
    if flop.share is None:
        return f"No matrix FLOP were counted{_without(flop)}."
    which = "the script's matrix FLOP"
    if not flop.is_whole:
        which = "the matrix FLOP since the first compilation"
    counted = f"{format_count(flop.on_wafer)} of {format_count(flop.total)}"
    share = format_share(flop.share)
    if flop.not_counted and flop.share == 1:
        share, which = "All", f"{which} that were counted"
    elif flop.not_counted and flop.share > 0:
        share = f"At most {share}"
    return f"{share} of {which} ran on the wafer ({counted}{_without(flop)})."


def format_share(share: float) -> str:
    """Return a share in percent, which is 0% or 100% only if it is nothing or all.

    Below 1% and above 99% it has a decimal.

    >>> [format_share(share) for share in (0.0, 0.0002, 0.0016, 0.6249, 0.9901, 0.9996, 1.0)]
    ['0%', '<0.1%', '0.2%', '62%', '99.0%', '99.9%', '100%']
    """
    thousandths = share * 1000
    if share in (0, 1):
        return f"{share:.0%}"
    if thousandths < 0.5:  # noqa: PLR2004  # rounded to 0
        return "<0.1%"
    if share < 0.00995:  # noqa: PLR2004  # rounded to 1.0%
        return f"{share:.1%}"
    return f"{int(thousandths) / 10:.1f}%" if share >= 0.99 else f"{share:.0%}"  # noqa: PLR2004  # as above


def _without(flop: FlopReport) -> str:
    """Return the words about work of the host that is not in the share; none if all is."""
    words, on_host = "", sum(work.results for work in flop.elements_on_host)
    if on_host:
        counted = f"{format_count(on_host)} of {format_count(on_host + flop.elements_on_wafer)}"
        names = [f"{work.module}{_at(work.place)}" for work in flop.elements_on_host]
        words = f"; element-wise results on the host: {counted}, {_first(names, 'module')}"
    if flop.not_counted:
        names = [f"{one.calls:,} × {one.name}{_at(one.place)}" for one in flop.not_counted]
        words += f"; not counted, on the host: {_first(names, 'operation')}"
    return words


def _first(names: list[str], noun: str) -> str:
    """Return the first of some names, and how many others there are."""
    more = len(names) - _MOST_NAMES
    return ", ".join(
        [*names[:_MOST_NAMES], *([count_of(more, f"other {noun}")] if more > 0 else [])]
    )


def _at(place: SourceLine | None) -> str:
    return "" if place is None else f" at {place.place}"
