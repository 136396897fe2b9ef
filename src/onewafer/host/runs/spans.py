"""From the trace of a run to the spans of its recording.

In: a trace with causes. Out: the spans of every PE, at most `MOST_SPANS`. Where there are more, the
same cycles of all PEs are kept, so that PEs can still be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.recording import SPAN_KINDS, Spans, Words
from onewafer.trace.formats import build_timelines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from onewafer.trace.formats import PeTimeline, Slice, Trace

MOST_SPANS = 1_000_000
_WAIT = "wait: "
_NEVER = ("ends", "never")


class _Numbered:
    """Texts by number, in the order in which they come."""

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
    """Yield the spans of a PE by their start: the thread, the span, and its source line."""
    found = [
        (span.start, span.depth, thread, place, span, source)
        for thread, track in timeline.threads.items()
        for place, (span, source) in enumerate(_with_sources(track))
    ]
    for _, _, thread, _, span, source in sorted(found, key=lambda one: one[:4]):
        yield thread, span, source


def _with_sources(track: Sequence[Slice]) -> Iterator[tuple[Slice, str]]:
    """Yield the spans of a thread with their source lines.

    A wait has the line of the operation that it lies in, or that begins when it ends.
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


@dataclass(frozen=True, slots=True)
class KeptSpans:
    """The spans that a recording holds."""

    spans: Spans | None = None
    """None: the run was not traced."""
    until: int | None = None
    """The cycle from which on spans that begin are left out; None: all are kept."""
    num_left_out: int = 0


NO_SPANS = KeptSpans()


def keep_first(spans: Spans, most: int = MOST_SPANS) -> KeptSpans:
    """Return the spans that begin first; those that begin in one cycle stay together."""
    num_spans = len(spans.start_cycle)
    if num_spans <= most:
        return KeptSpans(spans)
    until = int(np.partition(spans.start_cycle, most)[most])
    kept = spans.start_cycle < until
    places = np.concatenate(([0], np.cumsum(kept)))
    chosen = Spans(
        first=places[spans.first],
        start_cycle=spans.start_cycle[kept],
        end_cycle=spans.end_cycle[kept],
        cycles=spans.cycles[kept],
        thread=spans.thread[kept],
        is_open=spans.is_open[kept],
        kind=Words(spans.kind.numbers[kept], spans.kind.texts),
        name=Words(spans.name.numbers[kept], spans.name.texts),
        source=Words(spans.source.numbers[kept], spans.source.texts),
    )
    return KeptSpans(chosen, until, num_spans - len(chosen.start_cycle))
