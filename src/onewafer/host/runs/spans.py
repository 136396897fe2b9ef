"""The spans and moves of a recording, taken from the trace of its run.

Spans are tasks, operations and waits of every PE; moves are the wavelets that left its router. At
most `MOST_SPANS` of each are kept: those of the same first cycles on all PEs, so that PEs can be
compared.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from onewafer.geometry import Direction
from onewafer.recording import SPAN_KINDS, Moves, Spans, Words
from onewafer.trace import EventKind
from onewafer.trace.formats import build_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.trace.formats import PeTimeline, Slice, Trace

    Lists = TypeVar("Lists", Spans, Moves)

MOST_SPANS = 1_000_000
_WAIT = "wait: "
_NEVER = ("ends", "never")


class _Numbered:
    """Numbers texts in the order of their first use."""

    def __init__(self, *texts: str) -> None:
        self._numbers = {text: number for number, text in enumerate(texts)}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def words(self, numbers: NDArray[np.int64]) -> Words:
        return Words(numbers.astype(np.int32), tuple(self._numbers))


def spans_of(trace: Trace) -> Spans:
    """Return the spans of a trace."""
    kinds, names, sources = _Numbered(*SPAN_KINDS), _Numbered(), _Numbered("")
    width, height = trace.header.width, trace.header.height
    counts = np.zeros(width * height, np.int64)
    blocks = [np.zeros((0, 8), np.int64)]
    for timeline in build_timelines(trace):
        rows = [
            (
                span.start,
                span.end,
                span.cycles if span.category == "wait" else span.end - span.start,
                thread,
                _NEVER in span.arguments,
                kinds.number(span.category),
                names.number(span.name.removeprefix(_WAIT)),
                sources.number(source),
            )
            for thread, span, source in _in_order(timeline)
        ]
        counts[timeline.y * width + timeline.x] = len(rows)
        blocks.append(np.array(rows, np.int64).reshape(-1, 8))
    columns = np.concatenate(blocks).T
    return Spans(
        first=np.concatenate(([0], np.cumsum(counts))),
        start_cycle=columns[0],
        end_cycle=columns[1],
        cycles=columns[2],
        thread=columns[3].astype(np.int8),
        is_open=columns[4].astype(np.bool_),
        kind=kinds.words(columns[5]),
        name=names.words(columns[6]),
        source=sources.words(columns[7]),
    )


def _in_order(timeline: PeTimeline) -> Iterator[tuple[int, Slice, str]]:
    """Yield (thread, span, source line) of a PE's spans, ordered by their start."""
    found = [
        (span.start, span.depth, thread, place, span, source)
        for thread, track in timeline.threads.items()
        for place, (span, source) in enumerate(_with_sources(track))
    ]
    for _, _, thread, _, span, source in sorted(found, key=lambda one: one[:4]):
        yield thread, span, source


def _with_sources(track: Sequence[Slice]) -> Iterator[tuple[Slice, str]]:
    """Yield the spans of a thread with their source lines.

    A wait gets the line of the operation around it, or of the one that begins when it ends.
    """
    operations = [span for span in track if span.category == "operation"]
    ends = [span.end for span in operations]
    for span in track:
        source = _source_of(span)
        if span.category == "wait":
            at = bisect_right(ends, span.start)
            if at < len(ends) and operations[at].start <= span.end:
                source = _source_of(operations[at])
        yield span, source


def _source_of(span: Slice) -> str:
    return next((str(value) for name, value in span.arguments if name == "source"), "")


def moves_of(trace: Trace) -> Moves:
    """Return the wavelets that left routers, one for each port that they left by."""
    rows = trace.rows[trace.rows[:, 3] == EventKind.MOVE]
    pes, sides = rows[:, 1] * trace.header.width + rows[:, 2], rows[:, 4] >> 16
    gone = [np.flatnonzero(sides >> side & 1) for side in Direction]
    at = np.concatenate(gone)
    side = np.repeat(np.array(Direction), [len(places) for places in gone])
    order = np.lexsort((rows[at, 0], pes[at]))
    at, side = at[order], side[order]
    num_pes = trace.header.width * trace.header.height
    return Moves(
        first=np.searchsorted(pes[at], np.arange(num_pes + 1)),
        cycle=rows[at, 0],
        color=(rows[at, 4] & 0xFF).astype(np.int8),
        side=side.astype(np.int8),
    )


@dataclass(frozen=True, slots=True)
class Traced:
    """The part of a trace that goes into a recording."""

    lists: tuple[Spans | Moves, ...] = ()
    """Empty: the run was not traced."""
    until: int | None = None
    """The cycle from which spans and moves are left out; None: all are kept."""
    num_left_out: int = 0
    """The number of spans that are left out."""


NO_TRACE = Traced()


def take_trace(trace: Trace, most: int = MOST_SPANS) -> Traced:
    """Return at most `most` spans and moves, the earliest; a cycle is kept as a whole or not."""
    spans, moves = spans_of(trace), moves_of(trace)
    ends = [
        int(np.partition(cycles, most)[most])
        for cycles in (spans.start_cycle, moves.cycle)
        if len(cycles) > most
    ]
    if not ends:
        return Traced((spans, moves))
    until = min(ends)
    kept = _begun_before(spans, spans.start_cycle, until)
    num_left_out = len(spans.start_cycle) - len(kept.start_cycle)
    return Traced((kept, _begun_before(moves, moves.cycle, until)), until, num_left_out)


def _begun_before(lists: Lists, cycles: NDArray[np.int64], until: int) -> Lists:
    """Return the entries that begin before a cycle."""
    is_kept = cycles < until
    first = np.concatenate(([0], np.cumsum(is_kept)))[lists.first]
    numbers = {name: getattr(lists, name)[is_kept] for name in lists.numbers}
    words = {
        name: replace(known, numbers=known.numbers[is_kept])
        for name, known in ((name, getattr(lists, name)) for name in lists.texts)
    }
    return replace(lists, first=first, **numbers, **words)
