"""The source of tokens, as the engine sees it: sequences begin, advance together, and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import Simulated
    from onewafer.server.contract.generation import Sampling


class Constraint(Protocol):
    """The grammar of one answer, which knows what was chosen so far."""

    def allowed(self) -> bytes | None:
        """Return one bit a token of the vocabulary, little end first; None: every token."""
        ...

    def take(self, token: int) -> None:
        """Go on behind a token, which was allowed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRequest:
    """One answer to compute."""

    id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    """With a seed: the engine chooses one where the client named none."""
    constraint: Constraint | None = None
    top_logprobs: int | None = None


class Produced(NamedTuple):  # not a frozen dataclass: made in half the time
    """One new token of a sequence."""

    id: int
    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    """The most likely tokens with their log probabilities, the likeliest first."""
    simulated: Simulated | None = None
    """All launches of the sequence so far; None: no wafer computes the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A sequence for which no token could be chosen: it is to be ended."""

    id: int
    error: Exception


class Values(Protocol):
    """Computes tokens of several sequences at a time, in one thread.

    A token of a sequence depends on its request alone, whatever else runs beside it.
    """

    @property
    def num_slots(self) -> int:
        """Sequences that can run at a time."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens that a sequence can have, prompt and answer."""
        ...

    def begin(self, request: SequenceRequest) -> int:
        """Give a sequence a slot; return the tokens of its prompt that were in the prefix cache."""
        ...

    def step(self) -> Sequence[Produced | Failed]:
        """Advance: read a part of a prompt, or compute one token of running sequences.

        Each of them has its turn after a few steps.

        What it raises is the end of all running sequences.
        """
        ...

    def end(self, sequence_id: int) -> None:
        """Free the slot of a sequence, at any time; its prefix may stay in the cache."""
        ...
