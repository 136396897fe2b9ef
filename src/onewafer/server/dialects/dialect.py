"""The interface of a dialect: it reads a body, and writes the answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.events import Event
    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.generation import Generation
    from onewafer.server.contract.json_values import Json
    from onewafer.server.dialects.gathered import Gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The envelope of an answer, the same whatever its text is."""

    id: str
    """The name of the request, without the prefix of a dialect."""
    created: float
    """Seconds since 1970."""
    fingerprints: Mapping[str, str]
    """Served model → version and options, as a short text."""
    arrival_seconds: float | None = None
    """When the request comes in wafer time, if the client says so."""

    def fingerprint(self, model: str) -> str:
        """Return the fingerprint of a model; '' if it is not served."""
        return self.fingerprints.get(model, "")


class Writer(ABC):
    """Writes the answer to one request, as events that are streamed or as a whole."""

    @abstractmethod
    def write(self, events: Sequence[Event]) -> str:
        """Return the server-sent events that say what happened; '' if there is nothing to say.

        Those of `Completed` end the stream.
        """

    @abstractmethod
    def fail(self, failure: RequestError) -> str:
        """Return the event that says why the stream breaks off."""

    @abstractmethod
    def whole(self, gathered: Gathered) -> Mapping[str, Json]:
        """Return the answer to a request that is not streamed."""

    def ping(self) -> str:
        """Return what keeps a silent connection open: a comment, which clients skip."""
        return ": ping\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A body that was read."""

    generation: Generation
    is_streamed: bool
    writer: Writer


class Dialect(ABC):
    """A kind of request that is answered with text."""

    @abstractmethod
    def read(self, value: Json, envelope: Envelope) -> Asked:
        """Return the generation that a request's body asks for.

        Raises RequestError if it breaks a rule of the dialect.
        """
