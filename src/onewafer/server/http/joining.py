"""Deltas that are ready together become one: a client reads one chunk instead of many.

Wafers write thousands of tokens a second, and an event loop wakes up a few hundred times.
"""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING

from onewafer.server.events import Delta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onewafer.server.events import Event


def joined(events: Sequence[Event]) -> Sequence[Event]:
    """Return events with neighbouring deltas of one answer as one.

    >>> one, two = (Delta(answer=0, text=text, tokens=(i,)) for i, text in enumerate("ab"))
    >>> [joined] = joined([one, two])
    >>> joined.text, joined.tokens
    ('ab', (0, 1))
    """
    return events if len(events) < 2 else list(_joined(events))  # noqa: PLR2004  # two neighbours


def _joined(events: Sequence[Event]) -> Iterator[Event]:
    for answer, group in groupby(events, _answer):
        if answer is None:
            yield from group
        else:
            yield _join(answer, [event for event in group if isinstance(event, Delta)])


def _answer(event: Event) -> int | None:
    return event.answer if isinstance(event, Delta) else None


def _join(answer: int, deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        answer=answer,
        text="".join(delta.text for delta in deltas),
        tokens=tuple(chain.from_iterable(delta.tokens for delta in deltas)),
        logprobs=tuple(chain.from_iterable(delta.logprobs for delta in deltas)),
    )
