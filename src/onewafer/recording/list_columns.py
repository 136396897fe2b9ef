"""Spans and moves in a Parquet file: columns of lists, a list a PE, beside its counters.

In: spans, or moves. Out: Arrow arrays by the names of columns, and back. Readers may skip these
columns; one line gives a row a span:

    pandas.read_parquet(file, columns=["x", "y", *SPAN_COLUMNS]).explode(list(SPAN_COLUMNS))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from onewafer.recording.spans import Moves, Spans, Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Lists = TypeVar("Lists", Spans, Moves)


def _columns(kind: type[Spans | Moves]) -> tuple[str, ...]:
    return tuple(f"{kind.prefix}_{name}" for name in (*kind.numbers, *kind.texts))


SPAN_COLUMNS: Final = _columns(Spans)
MOVE_COLUMNS: Final = _columns(Moves)


def lists_of(lists: Spans | Moves, arrow: Any) -> dict[str, Any]:  # noqa: ANN401  # PyArrow has no types
    """Return Arrow columns of lists, by name."""
    numbers = (arrow.array(getattr(lists, name)) for name in lists.numbers)
    texts = (
        arrow.DictionaryArray.from_arrays(
            arrow.array(words.numbers), arrow.array(words.texts, arrow.string())
        )
        for words in (getattr(lists, name) for name in lists.texts)
    )
    first = arrow.array(lists.first.astype(np.int32))
    values = (arrow.ListArray.from_arrays(first, one) for one in (*numbers, *texts))
    return dict(zip(_columns(type(lists)), values, strict=True))


def lists_in(kind: type[Lists], read: Callable[[str], Any], num_pes: int) -> Lists:
    """Return the spans or moves of columns; `read` returns the lists of one.

    Raises:
        ValueError: they are not those of so many PEs.
    """
    lists = [read(name) for name in _columns(kind)]
    first = _offsets(lists[0])
    if any(
        one.null_count or one.values.null_count or not np.array_equal(_offsets(one), first)
        for one in lists
    ):
        raise ValueError(f"a {kind.prefix} is not whole")
    numbers = (
        one.values.to_numpy(zero_copy_only=False).astype(dtype)
        for one, dtype in zip(lists, kind.numbers.values(), strict=False)
    )
    words = (_words(one.values) for one in lists[len(kind.numbers) :])
    found = kind(first, *numbers, *words)
    found.check(num_pes)
    return found


def _offsets(lists: Any) -> NDArray[np.int64]:  # noqa: ANN401  # likewise
    return np.asarray(lists.offsets.to_numpy(zero_copy_only=False), np.int64)


def _words(values: Any) -> Words:  # noqa: ANN401  # likewise
    encoded = values.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Words(numbers, tuple(map(str, encoded.dictionary.to_pylist())))
