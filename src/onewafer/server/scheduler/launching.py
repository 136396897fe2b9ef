"""The rows of the next launch: the policies of wafers and of inference engines on GPUs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from onewafer.perf import Rows

if TYPE_CHECKING:
    from onewafer.perf import ServedSystem
    from onewafer.server.scheduler.sequences import Sequence


class Part(NamedTuple):  # not a frozen dataclass: a launch is made in half the time
    """A chunk of a prompt."""

    sequence: Sequence
    position: int
    """The position of its first token."""
    rows: int
    is_last: bool
    """True if the prompt ends with it: the launch yields the first token of the answer."""


class Entering(NamedTuple):
    """The rows of a launch."""

    tokens: tuple[Sequence, ...]
    """Sequences in decode, with one row each."""
    parts: tuple[Part, ...]
    """Chunks of prompts."""
    rows: Rows
    """The numbers that determine the launch's time."""
    yielding: tuple[Sequence, ...]
    """Sequences that get a token from the launch."""


class Launch(NamedTuple):
    """A launch that the system executes."""

    replica: int
    yielding: tuple[Sequence, ...]
    """Sequences that get a token at its end, unless they are cancelled before."""


def _together(tokens: tuple[Sequence, ...], parts: tuple[Part, ...]) -> Entering:
    """Return a launch of decode rows and prompt chunks."""
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
    """Return a launch of decode rows only."""
    total = sum([one.position for one in tokens])
    return Entering(tokens, (), Rows(len(tokens), total // len(tokens)), tokens)


def _part_alone(part: Part) -> Entering:
    """Return a launch of one prompt chunk."""
    rows = Rows(0, 0, 1, part.rows, part.position)
    return Entering((), (part,), rows, (part.sequence,) if part.is_last else ())


def _read(sequence: Sequence, most: int) -> Part:
    """Take the next chunk of a prompt, of at most `most` tokens."""
    position = sequence.read
    left = len(sequence.arrival.prompt) - position
    rows = min(left, most)
    sequence.read = position + rows
    return Part(sequence, position, rows, rows == left)


def _mean(numbers: list[int]) -> int:
    return sum(numbers) // len(numbers) if numbers else 0


@dataclass(slots=True)
class Ready:
    """The queues of one replica: sequences that are ready for a launch, the oldest first."""

    replica: int
    tokens: deque[tuple[float, Sequence]] = field(default_factory=deque[tuple[float, "Sequence"]])
    prompts: deque[tuple[float, Sequence]] = field(default_factory=deque[tuple[float, "Sequence"]])

    has_read: bool = False
    """True if the last launch was a prompt chunk."""

    def __bool__(self) -> bool:
        """Tell whether any sequence is ready."""
        return bool(self.tokens or self.prompts)

    def forget(self, sequence: Sequence) -> None:
        """Remove a sequence from the queues."""
        for line in (self.tokens, self.prompts):
            kept = [entry for entry in line if entry[1] is not sequence]
            line.clear()
            line.extend(kept)

    def reader(self) -> Sequence | None:
        """Return the sequence whose prompt is next, if its chunk is not the last one.

        None: the next launch has a decode row, or yields a token.
        """
        if self.tokens or not self.prompts:
            return None
        sequence = self.prompts[0][1]
        return sequence if sequence.left_to_read > sequence.part_rows else None

    def note_part(self, now: float) -> None:
        """Note that a chunk of the first prompt, not its last one, was launched."""
        self.has_read = True
        self.prompts[0] = (now, self.prompts[0][1])

    @property
    def has_one_token(self) -> bool:
        """True if the next launch is one decode row, on systems with launches of one kind."""
        return len(self.tokens) == 1 and (self.has_read or not self.prompts)

    def take_token(self) -> Sequence:
        """Take the first sequence in decode."""
        self.has_read = False
        return self.tokens.popleft()[1]

    def next_rows(self, system: ServedSystem, now: float) -> Entering:
        """Take the rows of the next launch; a sequence must be ready."""
        return self._mixed(system) if system.is_mixed else self._of_one_kind(system, now)

    def _of_one_kind(self, system: ServedSystem, now: float) -> Entering:
        """Take decode rows, or a chunk of one prompt.

        After each prompt chunk decode rows are launched, so that they wait for one chunk at most.
        Otherwise a full launch of decode rows goes first if it has waited for longer than the
        prompt, and a prompt chunk else, so that more decode rows gather.
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
        """Take all decode rows, and prompt chunks up to the budget, in order."""
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
