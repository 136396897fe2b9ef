"""A sequence on its way: from arrival over the parts of its prompt to its tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.server.scheduler.happenings import SequenceTimes

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
