"""The service: the only thing that the HTTP side knows of the rest of the server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.generation import Generation


class Health(StrEnum):
    """The present abilities of the server."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """It finishes what it has, and takes nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as clients see it."""

    id: str
    created: int
    """Seconds since 1970, when it was loaded."""
    owned_by: str
    context_length: int
    """Tokens of prompt and answer together."""
    system: str
    """Where it runs: `cs3`, `h100x8`."""
    is_synthetic: bool
    """True if answers are made up (`--values none`)."""
    fingerprint: str
    """A short text that is the same for the same model, version and options."""
    values: str = "host"
    """Where tokens come from: `host`, `fabric` or `none`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The state of queue and cache at one moment."""

    running: int
    waiting: int
    cache_fraction: float
    """Share of the room for keys and values that is in use, 0 to 1."""
    most_waiting: int
    """Requests that may wait; with more, new ones are refused."""


class Service(Protocol):
    """Answers requests; all its methods are called in the thread of the event loop."""

    @property
    def health(self) -> Health:
        """The present abilities."""
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
        """Return the tokens of the prompt, tools included.

        Raises RequestError if the prompt cannot be read, or the model is unknown.
        """
        ...

    def answer(self, generation: Generation) -> AsyncGenerator[Sequence[Event], None]:
        """Return the events of a request; closing the generator gives up the request.

        Each item is the events that are ready together, one or more: they are written at once.
        All items, one behind the other, have the order of `events.py`. The first `anext` raises
        RequestError if the request is refused: unknown model, too long, full queue, still loading;
        it returns as soon as the request is accepted, with `Started` at the head of its item.
        """
        ...

    def advance(self, seconds: float) -> float:
        """Move the clock of the served system on, in pace `virtual`; return the new time.

        Raises RequestError in another pace.
        """
        ...
