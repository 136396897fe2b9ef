"""The share of the wafer in words: never more than was counted, and 100% only for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.units import count_of, format_count

if TYPE_CHECKING:
    from onewafer.pytorch.report.values import FlopReport, NotCounted

_MOST_NAMES = 3
"""Uncounted operations that are named in a line."""


def describe_share(flop: FlopReport) -> str:
    """Return the headline of a report: the wafer's share of all FLOP.

    Where the host has run operations that nothing counts, it names them: the share is a bound.
    """
    if flop.share is None:
        return f"No FLOP were counted{_without(flop)}."
    which = "the script's FLOP" if flop.is_whole else "the FLOP since the first compilation"
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
    """Return the words about operations that were not counted; none if all were."""
    if not flop.not_counted:
        return ""
    return f"; not counted, on the host: {describe_not_counted(flop.not_counted)}"


def describe_not_counted(operations: tuple[NotCounted, ...]) -> str:
    """Return the operations that nothing counts, with calls and lines."""
    shown = [_describe(operation) for operation in operations[:_MOST_NAMES]]
    more = len(operations) - len(shown)
    return ", ".join([*shown, *([f"{count_of(more, 'other operation')}"] if more else [])])


def _describe(operation: NotCounted) -> str:
    line = "" if operation.place is None else f" at {operation.place.place}"
    return f"{operation.calls:,} × {operation.name}{line}"
