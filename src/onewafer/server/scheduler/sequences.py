"""The state of a sequence on the served system, and its events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence as Several

    from onewafer.server.scheduler.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """The request for one answer."""

    id: int
    seconds: float
    """The time of its arrival."""
    prompt: Several[int]
    """Tokens, at least one; a prompt with the same prefix can reuse a slot's cache."""
    most_tokens: int
    """The most tokens of the answer, at least 1."""

    @property
    def reserved_tokens(self) -> int:
        """Tokens that are reserved in the KV cache."""
        return len(self.prompt) + self.most_tokens


@dataclass(slots=True)
class Sequence:
    """The state of one answer."""

    arrival: Arrival
    slot: Slot | None = None
    read: int = 0
    """Tokens of the prompt that were cached or launched."""
    part_rows: int = 1
    """Tokens of a prompt chunk, on systems whose launches have one prompt at most."""
    cached: int = 0
    produced: int = 0
    """Tokens of the answer that have left the system."""
    computed: list[int] = field(default_factory=list[int])
    """The known tokens of the answer, so far."""
    is_known: bool = False
    """True if `computed` is the whole answer."""
    has_come: bool = False
    """True if it has arrived at the system."""
    is_given_up: bool = False
    launches: int = 0
    joules: float = 0.0
    first_launch: float | None = None
    first_token: float = 0.0

    @property
    def position(self) -> int:
        """The position of its next row."""
        return len(self.arrival.prompt) + self.produced - 1

    @property
    def left_to_read(self) -> int:
        """Tokens of the prompt that are not launched yet."""
        return len(self.arrival.prompt) - self.read

    def enter(self, now: float, joules: float) -> None:
        """Count a launch with a chunk of the prompt."""
        self.launches += 1
        self.joules += joules
        if self.first_launch is None:
            self.first_launch = now

    def times(self, now: float) -> SequenceTimes:
        """Return its times, if its last token leaves now."""
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
    """Tokens of the prompt that were in the slot's cache."""
    answer_tokens: int
    launches: int
    """Launches with rows of it."""
    joules: float
    """Its share of each launch's energy, by rows, and an equal share of the idle power with all
    other sequences on the system."""

    @property
    def ttft_seconds(self) -> float:
        """The time from arrival to the first token."""
        return self.first_token_seconds - self.arrival_seconds

    @property
    def tpot_seconds(self) -> float | None:
        """The mean time between its tokens; None: it has only one."""
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
    """The index of the token in its answer, from 0."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The last token of a sequence left the system."""

    id: int
    times: SequenceTimes


Happening: TypeAlias = Began | Token | Finished
