"""The interface between HTTP and the rest of the server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.generation import Generation


class Health(StrEnum):
    """The state of the server."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Open requests are finished, new ones are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A served model, as listed to clients."""

    id: str
    created: int
    """The Unix time at which it was loaded."""
    owned_by: str
    context_length: int
    """Tokens of prompt and answer together."""
    system: str
    """The served system: `cs3`, `h100x8`."""
    is_synthetic: bool
    """True if answers are synthetic (`--values none`)."""
    fingerprint: str
    """A hash of model, version and options."""
    values: str = "host"
    """The source of tokens: `host`, `fabric` or `none`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The present state of the queue and the cache."""

    running: int
    waiting: int
    cache_fraction: float
    """The used share of the KV cache, 0 to 1."""
    most_waiting: int
    """The most requests in the queue; beyond it, requests are refused."""


class Service(Protocol):
    """Answers requests; all methods are called in the event loop's thread."""

    @property
    def health(self) -> Health:
        """The state of the server."""
        ...

    @property
    def models(self) -> Sequence[ServedModel]:
        """The models that it serves."""
        ...

    @property
    def counters(self) -> Counters:
        """The state of queue and cache."""
        ...

    async def count_tokens(self, generation: Generation) -> int:
        """Return the number of tokens of the prompt, tools included.

        Raises RequestError if the prompt is invalid, or the model is unknown.
        """
        ...

    def answer(self, generation: Generation) -> AsyncGenerator[Sequence[Event], None]:
        """Return the events of a request; closing the generator cancels the request.

        Each item has one or more events, which are written together; all events have the order of
        `events.py`. The first `anext` raises RequestError if the request is refused (unknown model,
        too long, full queue, still loading). Otherwise it returns as soon as the request is
        accepted, with `Started` first.
        """
        ...

    def advance(self, seconds: float) -> float:
        """Advance the clock of the served system, and return the new time.

        Raises RequestError unless the pace is `virtual`.
        """
        ...
