"""A sequence on its way, and its events: from arrival over its prompt to its tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence as Several

    from onewafer.server.scheduler.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One answer that is asked for."""

    id: int
    seconds: float
    """When it arrives."""
    prompt: Several[int]
    """Tokens, at least one; equal beginnings are what a slot can keep."""
    most_tokens: int
    """Tokens that the answer may have, at least 1: room is kept for all."""

    @property
    def reserved_tokens(self) -> int:
        """Tokens that room is kept for."""
        return len(self.prompt) + self.most_tokens


@dataclass(slots=True)
class Sequence:
    """The state of one answer."""

    arrival: Arrival
    slot: Slot | None = None
    read: int = 0
    """Tokens of the prompt that are in the slot or in a launch."""
    part_rows: int = 1
    """Tokens of its prompt that a launch has, where it has those of no other prompt."""
    cached: int = 0
    produced: int = 0
    """Tokens that have left the system."""
    computed: list[int] = field(default_factory=list[int])
    """Tokens that are known: the answer may be longer."""
    is_known: bool = False
    """True if `computed` is the whole answer."""
    has_come: bool = False
    """True if it has reached the system."""
    is_given_up: bool = False
    launches: int = 0
    joules: float = 0.0
    first_launch: float | None = None
    first_token: float = 0.0

    @property
    def position(self) -> int:
        """Position of its next token."""
        return len(self.arrival.prompt) + self.produced - 1

    @property
    def left_to_read(self) -> int:
        """Tokens of the prompt that no launch has had."""
        return len(self.arrival.prompt) - self.read

    def enter(self, now: float, joules: float) -> None:
        """Go into a launch with a part of the prompt."""
        self.launches += 1
        self.joules += joules
        if self.first_launch is None:
            self.first_launch = now

    def times(self, now: float) -> SequenceTimes:
        """Return what it took, if its last token leaves now."""
        assert self.first_launch is not None, "a token comes out of a launch"
        return SequenceTimes(
            arrival_seconds=self.arrival.seconds,
            first_launch_seconds=self.first_launch,
            first_token_seconds=self.first_token,
            last_token_seconds=now,
            prompt_tokens=len(self.arrival.prompt),
            cached_tokens=self.cached,
            answer_tokens=self.produced,
            launches=self.launches,
            joules=self.joules,
        )


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
