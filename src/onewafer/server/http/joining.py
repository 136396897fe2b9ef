"""Deltas that are ready together become one: a client reads one chunk instead of many.

Wafers write thousands of tokens a second, and an event loop wakes up a few hundred times.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from onewafer.server.contract.events import Delta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import Event


def joined(events: Sequence[Event]) -> Sequence[Event]:
    """Return events with neighbouring deltas of one answer as one.

    >>> one, two = (Delta(answer=0, text=text, tokens=(i,)) for i, text in enumerate("ab"))
    >>> [joined] = joined([one, two])
    >>> joined.text, joined.tokens
    ('ab', (0, 1))
    """
    if len(events) < 2:  # noqa: PLR2004  # two neighbours
        return events
    result: list[Event] = []
    run: list[Delta] = []
    """Neighbours of one answer, which are not in the result yet."""
    for event in events:
        if isinstance(event, Delta):
            if run and run[-1].answer != event.answer:
                result.append(_join(run))
                run = []
            run.append(event)
        else:
            if run:
                result.append(_join(run))
                run = []
            result.append(event)
    return [*result, _join(run)] if run else result


def _join(deltas: Sequence[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        answer=deltas[0].answer,
        text="".join([delta.text for delta in deltas]),
        tokens=tuple(chain.from_iterable([delta.tokens for delta in deltas])),
        logprobs=tuple(chain.from_iterable([delta.logprobs for delta in deltas])),
    )
