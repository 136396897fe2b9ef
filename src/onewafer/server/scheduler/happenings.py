"""Happenings that a timeline tells as its clock goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTimes:
    """Times of one answer, in seconds on the clock of the served system."""

    arrival_seconds: float
    first_launch_seconds: float
    first_token_seconds: float
    last_token_seconds: float
    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt whose keys and values were in the slot already."""
    answer_tokens: int
    launches: int
    """Launches that had rows of it."""
    joules: float
    """Its share of each launch's energy, by rows, and of the idle power while it was there, which
    all sequences that are there share equally."""

    @property
    def ttft_seconds(self) -> float:
        """The time from arrival to the first token."""
        return self.first_token_seconds - self.arrival_seconds

    @property
    def tpot_seconds(self) -> float | None:
        """The mean time between its tokens; None: it has one."""
        if self.answer_tokens == 1:
            return None
        return (self.last_token_seconds - self.first_token_seconds) / (self.answer_tokens - 1)


@dataclass(frozen=True, slots=True)
class Began:
    """A sequence got a slot."""

    id: int
    seconds: float
    cached_tokens: int


class Token(NamedTuple):  # not a frozen dataclass: made in half the time
    """A token left the system."""

    id: int
    number: int
    """From 0, in its answer."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The last token of a sequence left the system."""

    id: int
    times: SequenceTimes


Happening: TypeAlias = Began | Token | Finished
