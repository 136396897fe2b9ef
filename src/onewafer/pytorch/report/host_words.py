"""Work of the host in words: how often, where, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.pytorch.host_work import Cause
from onewafer.pytorch.own_errors import A_BUG
from onewafer.pytorch.report.share import format_share
from onewafer.units import count_of, format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.process.worker_calls import WorkerCalls
    from onewafer.pytorch.report.values import HostCalls, HostCause

_MOST_NAMES = 4
"""Worker processes that are named in a line."""


def describe_host(causes: Sequence[HostCause], *, is_verbose: bool) -> Iterator[str]:
    """Yield the lines of all causes, errors of ours first.

    Causes that hold no FLOP back are one line unless verbose.
    """
    causes = sorted(causes, key=lambda cause: not cause.reason.startswith(A_BUG))
    idle = [] if is_verbose else [cause for cause in causes if _is_idle(cause)]
    for cause in causes:
        if cause not in idle:
            yield from _describe_cause(cause, is_verbose=is_verbose)
    if idle:
        calls = sum(cause.calls + cause.nested_calls for cause in idle)
        names = dict.fromkeys(part.module for cause in idle for part in cause.parts if part.module)
        yield f"{count_of(calls, 'call')} without FLOP ({', '.join(names)}); --verbose says why"


def _is_idle(cause: HostCause) -> bool:
    """Tell whether the host makes calls that have no FLOP, as those of a loss."""
    return (
        cause.cause in (Cause.REFUSAL, Cause.GRADIENT)
        and not cause.has_parameters
        and not cause.flop
        and cause.share is not None
        and not cause.reason.startswith(A_BUG)
    )


def _describe_cause(cause: HostCause, *, is_verbose: bool) -> Iterator[str]:
    """Yield the line of a cause; if verbose, then one for each place and module."""
    line = "" if cause.line is None else f"{cause.line}: "
    share = f", {format_share(cause.share)} of the FLOP" if cause.flop and cause.share else ""
    yield f"{_describe_calls(cause)}: {line}{cause.reason}{share}"
    if is_verbose and len(cause.parts) > 1:
        for part in cause.parts:
            yield f"    {_describe_part(part)}"


def _describe_calls(cause: HostCause) -> str:
    where = "" if cause.place is None else cause.place.place
    if cause.num_places > 1:
        where += f" and {count_of(cause.num_places - 1, 'other place')}"
    if cause.module is None:
        return where
    others = sum(
        part.calls
        for part in cause.parts
        if (part.whole is None) is bool(cause.calls) and part.module != cause.module
    )
    calls = f"{(cause.calls or cause.nested_calls) - others:,} × {cause.module}"
    if cause.calls and cause.nested_calls:
        calls += f" and {count_of(cause.nested_calls, 'part')} of it"
    if others:
        calls += f", {count_of(others, 'call')} of other modules"
    return f"{calls}, {where}" if where else calls


def describe_workers(calls: Sequence[WorkerCalls]) -> Iterator[str]:
    """Yield a line for each module class that worker processes called."""
    for module in dict.fromkeys(entry.module for entry in calls):
        entries = [entry for entry in calls if entry.module == module]
        names = sorted({entry.process for entry in entries}, key=lambda name: (len(name), name))
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        total = sum(entry.calls for entry in entries)
        where = f"{count_of(len(entries), 'worker process')} ({shown})"
        yield f"{total:,} × {module}, on the host, FLOP not counted, in {where}"


def _describe_part(part: HostCalls) -> str:
    words = [f"{part.calls:,} × {part.module}"] if part.module is not None else []
    words += [f"in {part.whole}"] if part.whole is not None else []
    words += [part.place.place] if part.place is not None else []
    words += [f"{format_count(part.flop)} FLOP"] if part.flop else []
    return ", ".join(words)
