"""The source of tokens, as the engine uses it: sequences begin, advance together, and end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from onewafer.server.contract.events import Simulated
    from onewafer.server.contract.generation import Sampling


class Constraint(Protocol):
    """The state of one answer's grammar after the tokens chosen so far."""

    def allowed(self) -> bytes | None:
        """Return the allowed tokens as one bit each, low bits first; None: all are allowed."""
        ...

    def take(self, token: int) -> None:
        """Advance by a token, which must be allowed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRequest:
    """One answer to compute."""

    id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    """Always with a seed: the engine draws one if the client gave none."""
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
    """All launches of the sequence so far; None: the values are not computed on a wafer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A sequence for which no token could be chosen: the engine must end it."""

    id: int
    error: Exception


class Values(ABC):
    """Computes tokens of several sequences at a time, in one thread.

    The tokens of a sequence depend only on its request, not on the sequences beside it.
    """

    def __init__(self, *, num_slots: int, context_length: int) -> None:
        self.num_slots = num_slots
        """Sequences that can run at a time."""
        self.context_length = context_length
        """The most tokens of a sequence, prompt and answer together."""

    @abstractmethod
    def begin(self, request: SequenceRequest) -> int:
        """Give a sequence a slot; return the tokens of its prompt found in the prefix cache."""

    @abstractmethod
    def step(self) -> Sequence[Produced | Failed]:
        """Read a part of a prompt, or compute one token of running sequences.

        Each of them gets a token after a few steps. An exception ends all running sequences.
        """

    @abstractmethod
    def end(self, sequence_id: int) -> None:
        """Free the slot of a sequence, at any time; its prefix may stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive tokens of one sequence that are read in one step."""

    slot: int
    start: int
    """The position of the first token, from 0."""
    tokens: Sequence[int]
    wants_logits: bool
    """True if a token is to be chosen after the last one."""


class Computation(ABC):
    """Computes next-token logits of the sequences in slots, for `HostValues`."""

    most_rows: int | None = None
    """The most tokens of one step; None: each prompt is read in one step."""
    simulated_cycles: int | None = None
    """Cycles of the last step on a simulated wafer; None: it was not computed on one."""

    @abstractmethod
    def begin(self, slot: int, prompt: Sequence[int]) -> int:
        """Begin a sequence; return how many tokens of its prompt are cached."""

    @abstractmethod
    def compute(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        """Return the logits after the last token of each chunk that wants them, a row each.

        The chunks of a sequence come in order, and each token once.
        """

    @abstractmethod
    def end(self, slot: int) -> None:
        """Forget the sequence of a slot."""
