"""A dialect: a function that reads a body into `Asked`, whose writer writes the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.gathered import Gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The fields of an answer that do not depend on its text."""

    id: str
    """The id of the request, without the prefix of a dialect."""
    created: float
    """Seconds since 1970."""
    fingerprints: Mapping[str, str]
    """Served model → a hash of its version and options."""
    arrival_seconds: float | None = None
    """The arrival in wafer time, if the client states it."""

    def fingerprint(self, model: str) -> str:
        """Return the fingerprint of a model; '' if it is not served."""
        return self.fingerprints.get(model, "")


class Writer(ABC):
    """Writes the answer to one request, as a stream of server-sent events or as one body."""

    @abstractmethod
    def write(self, events: Sequence[Event]) -> str:
        """Return events as server-sent events, '' for none; those of `Completed` end the stream."""

    @abstractmethod
    def fail(self, failure: RequestError) -> str:
        """Return the server-sent event of an error, which ends the stream."""

    @abstractmethod
    def whole(self, gathered: Gathered) -> Mapping[str, Json]:
        """Return the body of an answer that is not streamed."""

    def ping(self) -> str:
        """Return a server-sent comment, which keeps a silent connection open."""
        return ": ping\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A parsed body."""

    generation: Generation
    is_streamed: bool
    writer: Writer


if TYPE_CHECKING:
    Dialect: TypeAlias = Callable[[Json, Envelope], Asked]
    """Reads a body; raises RequestError if it breaks a rule of the dialect."""
