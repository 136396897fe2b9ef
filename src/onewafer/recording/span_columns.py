"""Spans in a Parquet file: columns of lists, a list a PE, beside its counters.

In: spans. Out: Arrow arrays by the names of columns, and back. A reader that wants no spans does
not read these columns; one that does has a row a span in one line:

    pandas.read_parquet(file, columns=["x", "y", *SPAN_COLUMNS]).explode(list(SPAN_COLUMNS))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onewafer.recording.spans import Spans, Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_NUMBERS: Final = ("start_cycle", "end_cycle", "cycles", "thread", "is_open")
_TEXTS: Final = ("kind", "name", "source")
SPAN_COLUMNS: Final = tuple(f"span_{name}" for name in (*_NUMBERS, *_TEXTS))
_DTYPES: Final = (np.int64, np.int64, np.int64, np.int8, np.bool_)


def lists_of(spans: Spans, arrow: Any) -> dict[str, Any]:  # noqa: ANN401  # PyArrow has no types
    """Return columns of lists."""
    numbers = (getattr(spans, name) for name in _NUMBERS)
    texts = (
        arrow.DictionaryArray.from_arrays(
            arrow.array(words.numbers), arrow.array(words.texts, arrow.string())
        )
        for words in spans.words
    )
    first = arrow.array(spans.first.astype(np.int32))
    values = (*map(arrow.array, numbers), *texts)
    lists = (arrow.ListArray.from_arrays(first, one) for one in values)
    return dict(zip(SPAN_COLUMNS, lists, strict=True))


def spans_in(read: Callable[[str], Any], num_pes: int) -> Spans:
    """Return the spans of columns; `read` returns the lists of one.

    Raises:
        ValueError: they are not the spans of so many PEs.
    """
    lists = [read(name) for name in SPAN_COLUMNS]
    if any(one.null_count or one.values.null_count for one in lists):
        raise ValueError("a span is not whole")
    first = _offsets(lists[0])
    if not all(np.array_equal(_offsets(one), first) for one in lists):
        raise ValueError("a span is not whole")
    numbers = (
        one.values.to_numpy(zero_copy_only=False).astype(dtype)
        for one, dtype in zip(lists, _DTYPES, strict=False)
    )
    words = (_words(one.values) for one in lists[len(_NUMBERS) :])
    spans = Spans(first, *numbers, *words)
    spans.check(num_pes)
    return spans


def _offsets(lists: Any) -> NDArray[np.int64]:  # noqa: ANN401  # likewise
    return np.asarray(lists.offsets.to_numpy(zero_copy_only=False), np.int64)


def _words(values: Any) -> Words:  # noqa: ANN401  # likewise
    encoded = values.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Words(numbers, tuple(map(str, encoded.dictionary.to_pylist())))
