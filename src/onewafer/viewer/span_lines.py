"""The spans of a row or a column of PEs, and the moves of wavelets, encoded for the page.

In: the spans of a recording. Out: bytes, little-endian, one column after the other:

    u32 a PE of the line     its number of spans, from west to east or north to south
    f64 a span               start; then all ends; then the cycles that count
    u32 a span               number of its name; then those of its source lines
    u8  a span               thread (8: the main one); then kinds; then 1: it had not ended

Moves have f64 cycles, u32 numbers of PEs, u8 colors, u8 sides; the earliest is the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.recording import SPAN_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.recording import Moves, Spans


def describe_spans(spans: Spans, width: int) -> dict[str, Any]:
    """Return the number of all spans, and the PE with the most."""
    counts = np.diff(spans.first)
    place = int(counts.argmax())
    return {"num": int(spans.first[-1]), "first_pe": [place % width, place // width]}


def texts_of(spans: Spans) -> dict[str, Any]:
    """Return the texts that numbers in spans refer to."""
    return {"names": spans.name.texts, "sources": spans.source.texts, "kinds": SPAN_KINDS}


def line_of(spans: Spans, pes: NDArray[np.intp]) -> bytes:
    """Return the encoded spans of some PEs, one PE after the other."""
    counts = np.diff(spans.first)[pes]
    before = np.cumsum(counts) - counts
    begins: NDArray[np.int64] = np.repeat(spans.first[pes] - before, counts)
    at = begins + np.arange(len(begins))
    kinds = np.array([SPAN_KINDS.index(text) for text in spans.kind.texts], np.uint8)
    times = (spans.start_cycle, spans.end_cycle, spans.cycles)
    columns = (
        counts.astype("<u4"),
        *(cycles[at].astype("<f8") for cycles in times),
        *(words.numbers[at].astype("<u4") for words in (spans.name, spans.source)),
        spans.thread[at].astype("u1"),
        kinds[spans.kind.numbers[at]],
        spans.is_open[at].astype("u1"),
    )
    return b"".join(column.tobytes() for column in columns)


def bytes_of_moves(moves: Moves) -> bytes:
    """Return the encoded moves of all PEs, ordered by cycle."""
    order = np.argsort(moves.cycle, kind="stable")
    pes = np.repeat(np.arange(len(moves.first) - 1), np.diff(moves.first))
    columns = (
        moves.cycle[order].astype("<f8"),
        pes[order].astype("<u4"),
        moves.color[order].astype("u1"),
        moves.side[order].astype("u1"),
    )
    return b"".join(column.tobytes() for column in columns)
