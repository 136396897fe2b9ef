"""Which rows the next launch has: the policies of wafers and of inference engines on GPUs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from onewafer.perf import Rows

if TYPE_CHECKING:
    from onewafer.perf import ServedSystem
    from onewafer.server.scheduler.sequences import Sequence


class Part(NamedTuple):  # not a frozen dataclass: a launch is made in half the time
    """Some tokens of a prompt."""

    sequence: Sequence
    position: int
    """Position of the first of them."""
    rows: int
    is_last: bool
    """True if the prompt ends with them: a token of the answer comes out."""


class Entering(NamedTuple):
    """Rows that go in together."""

    tokens: tuple[Sequence, ...]
    """Sequences with one new token each."""
    parts: tuple[Part, ...]
    """Parts of prompts."""
    rows: Rows
    """The quantities that the time of their launch depends on."""
    yielding: tuple[Sequence, ...]
    """Sequences that get a token of it."""


class Launch(NamedTuple):
    """Rows that are on their way through the system."""

    replica: int
    yielding: tuple[Sequence, ...]
    """Sequences that get a token when it is done; their clients may have gone by then."""


def _together(tokens: tuple[Sequence, ...], parts: tuple[Part, ...]) -> Entering:
    """Return rows of both kinds."""
    rows = Rows(
        tokens=len(tokens),
        token_position=_mean([one.position for one in tokens]),
        prompts=len(parts),
        prompt_rows=sum(part.rows for part in parts),
        prompt_position=_mean([part.position for part in parts]),
    )
    ending = tuple(part.sequence for part in parts if part.is_last)
    return Entering(tokens, parts, rows, tokens + ending)


def _tokens_alone(tokens: tuple[Sequence, ...]) -> Entering:
    """Return rows of new tokens."""
    total = sum([one.position for one in tokens])
    return Entering(tokens, (), Rows(len(tokens), total // len(tokens)), tokens)


def _part_alone(part: Part) -> Entering:
    """Return the rows of a part of one prompt."""
    rows = Rows(0, 0, 1, part.rows, part.position)
    return Entering((), (part,), rows, (part.sequence,) if part.is_last else ())


def _read(sequence: Sequence, most: int) -> Part:
    """Take the next tokens of a prompt, at most `most`."""
    position = sequence.read
    left = len(sequence.arrival.prompt) - position
    rows = min(left, most)
    sequence.read = position + rows
    return Part(sequence, position, rows, rows == left)


def _mean(numbers: list[int]) -> int:
    return sum(numbers) // len(numbers) if numbers else 0


@dataclass(slots=True)
class Ready:
    """Sequences of one replica that can go in, the longest ready ones first."""

    replica: int
    tokens: deque[tuple[float, Sequence]] = field(default_factory=deque[tuple[float, "Sequence"]])
    prompts: deque[tuple[float, Sequence]] = field(default_factory=deque[tuple[float, "Sequence"]])

    has_read: bool = False
    """True if the last launch was a part of a prompt."""

    def __bool__(self) -> bool:
        """Tell whether a launch could have rows."""
        return bool(self.tokens or self.prompts)

    def forget(self, sequence: Sequence) -> None:
        """Take a sequence out of all lines."""
        for line in (self.tokens, self.prompts):
            kept = [entry for entry in line if entry[1] is not sequence]
            line.clear()
            line.extend(kept)

    def reader(self) -> Sequence | None:
        """Return the sequence whose prompt is read next, by a part that is not the last.

        None: the next launch has a token, or yields one.
        """
        if self.tokens or not self.prompts:
            return None
        sequence = self.prompts[0][1]
        return sequence if sequence.left_to_read > sequence.part_rows else None

    def note_part(self, now: float) -> None:
        """Take notice that a part of the first prompt, not its last, has gone in."""
        self.has_read = True
        self.prompts[0] = (now, self.prompts[0][1])

    @property
    def has_one_token(self) -> bool:
        """True if the next launch has one new token, where launches have rows of one kind."""
        return len(self.tokens) == 1 and (self.has_read or not self.prompts)

    def take_token(self) -> Sequence:
        """Take the first new token."""
        self.has_read = False
        return self.tokens.popleft()[1]

    def next_rows(self, system: ServedSystem, now: float) -> Entering:
        """Take the rows of the next launch; there are some."""
        return self._mixed(system) if system.is_mixed else self._of_one_kind(system, now)

    def _of_one_kind(self, system: ServedSystem, now: float) -> Entering:
        """Take new tokens together, or a part of one prompt.

        Behind each part of a prompt new tokens go in, so that they wait for one part at most. Else
        whoever has waited longest goes in; but a launch that is not full lets a part of a prompt go
        first, so that more tokens come together.
        """
        tokens, prompts = self.tokens, self.prompts
        is_full = len(tokens) >= system.most_tokens
        are_first = is_full and bool(prompts) and tokens[0][0] <= prompts[0][0]
        if tokens and (not prompts or self.has_read or are_first):
            self.has_read = False
            count = min(len(tokens), system.most_tokens)
            taken = tuple([tokens.popleft()[1] for _ in range(count)])
            return _tokens_alone(taken)
        self.has_read = True
        _, sequence = prompts[0]
        part = _read(sequence, sequence.part_rows)
        if part.is_last:
            prompts.popleft()
        else:
            prompts[0] = (now, sequence)
        return _part_alone(part)

    def _mixed(self, system: ServedSystem) -> Entering:
        """All tokens, and as much of the prompts as the budget allows, the first ones first."""
        tokens = tuple(sequence for _, sequence in self.tokens)
        self.tokens.clear()
        budget = max(1, system.most_prompt_rows - len(tokens))
        parts: list[Part] = []
        while self.prompts and budget > 0:
            part = _read(self.prompts[0][1], budget)
            budget -= part.rows
            parts.append(part)
            if part.is_last:
                self.prompts.popleft()
        return _together(tokens, tuple(parts))
