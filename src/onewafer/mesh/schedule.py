"""The schedule of a mesh program: an entry of eight words or more for each operation.

The state machine in `pe.csl` reads the words of an entry in the order of its fields. Repeated
layers are written once: a REPEAT entry jumps back over the entries before it, and moves the offsets
of parameters, their gradients and the state on; or back, in a backward pass, which begins with the
last layer. The numbers of dropouts count up or down, too.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.mesh.entry import MAX_WORD, Entry
from onewafer.mesh.kinds import CONTROL_KINDS, REPEAT, STOP, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.program import MeshProgram


_recent: deque[tuple[MeshProgram, Mapping[str, tuple[Entry, ...]]]] = deque(maxlen=4)
"""Recent programs, by identity, with their schedules: checks, footprint and cost all need them."""


def build_schedule(program: MeshProgram) -> tuple[Entry, ...]:
    """Return the schedule of a program: that of all entries, one after the other."""
    parts = schedule_parts(program).values()
    return next(iter(parts)) if len(parts) == 1 else tuple(itertools.chain.from_iterable(parts))


def schedule_parts(program: MeshProgram) -> Mapping[str, tuple[Entry, ...]]:
    """Return the schedule of each entry of a program, with repetitions folded and a STOP."""
    for known, parts in _recent:
        if known is program:
            return parts
    steps = [operation.entry(program) for operation in program.operations]
    parts = {
        name: (*_fold_repetitions(steps[program.stretch(name)]), Entry(STOP))
        for name in program.entries
    }
    _recent.append((program, parts))
    return parts


def first_words(program: MeshProgram) -> dict[str, int]:
    """Return the index of the first schedule word of each entry of a program."""
    firsts, words = dict[str, int](), 0
    for name, part in schedule_parts(program).items():
        firsts[name] = words
        words += sum(len(entry.words) for entry in part)
    return firsts


def operations_of(schedule: Iterable[Entry]) -> tuple[int | None, ...]:
    """Return the index of the operation of each schedule entry; None for REPEAT and STOP.

    A repeated entry has the operation of the first round.
    """
    indices: list[int | None] = []
    words: list[int] = []
    operation = 0
    for entry in schedule:
        words.append(len(entry.words))
        is_operation = entry.kind not in CONTROL_KINDS
        indices.append(operation if is_operation else None)
        if is_operation:
            operation += 1
        elif entry.kind is REPEAT:
            operation += entry.n * _num_repeated(words, entry.left)
    return tuple(indices)


def steps_of(schedule: Sequence[Entry]) -> tuple[int | None, ...]:
    """Return the index of the operation of each step of a launch, with repetitions unrolled.

    It is None for a REPEAT, at the end of each round, and for the STOP.
    """
    indices = operations_of(schedule)
    steps: list[int | None] = []
    at, rounds, ahead = 0, 0, 0
    while at < len(schedule):
        entry, index = schedule[at], indices[at]
        steps.append(None if index is None else index + ahead)
        at += 1
        if entry.kind is not REPEAT:
            continue
        if rounds < entry.n:
            length = _num_repeated([len(e.words) for e in schedule[:at]], entry.left)
            rounds, ahead, at = rounds + 1, ahead + length, at - 1 - length
        else:
            rounds, ahead = 0, 0
    return tuple(steps)


def first_rounds(schedule: Sequence[Entry]) -> tuple[int, ...]:
    """Return for each operation the one that it repeats in the first round, or itself."""
    indices = operations_of(schedule)
    firsts: list[int] = []
    for at, (entry, index) in enumerate(zip(schedule, indices, strict=True)):
        if index is not None:
            firsts.append(index)
        elif entry.kind is REPEAT:
            length = _num_repeated([len(e.words) for e in schedule[: at + 1]], entry.left)
            firsts += firsts[-length:] * entry.n
    return tuple(firsts)


def _num_repeated(words: Sequence[int], num_words: int) -> int:
    """Return the number of entries that a REPEAT, the last entry so far, jumps back over."""
    count, total = 0, words[-1]
    while total < num_words:
        count += 1
        total += words[-1 - count]
    return count


def kinds_of(schedule: Iterable[Entry]) -> frozenset[Kind]:
    """Return the kinds in the state machine of a schedule."""
    return frozenset(entry.kind for entry in schedule) | CONTROL_KINDS


@dataclass(frozen=True, slots=True)
class _Strides:
    """The distances between the operands of consecutive rounds, in elements of each arena."""

    parameters: int = 0
    state: int = 0
    count: int = 0
    """The increment of counters."""

    def times(self, factor: int) -> _Strides:
        return _Strides(self.parameters * factor, self.state * factor, self.count * factor)


@dataclass(frozen=True, slots=True)
class _Repetition:
    """A repetition of `length` entries from `start` on, `rounds` times after the first."""

    start: int
    length: int
    rounds: int
    strides: _Strides

    @property
    def saving(self) -> int:
        """The entries that folding removes, less the REPEAT that it adds."""
        return self.rounds * self.length - 1


def _fold_repetitions(entries: Sequence[Entry]) -> list[Entry]:
    """Fold repetitions from left to right, at each place the one that saves most.

    No repetition begins with an operation that follows a chain, since no REPEAT may come between
    them.
    """
    folded: list[Entry] = []
    shapes = _number_shapes(entries)
    start = 0
    while start < len(entries):
        follows = entries[start].kind.task is not Task.STEP
        best = None if follows else _best_repetition(entries, shapes, start)
        if best is None:
            folded.append(entries[start])
            start += 1
            continue
        body = entries[start : start + best.length]
        folded += [entry.counting_by(best.strides.count) for entry in body]
        folded.append(_repeat(best, entries))
        start += best.length * (best.rounds + 1)
    return folded


def _best_repetition(
    entries: Sequence[Entry], shapes: Sequence[int], start: int
) -> _Repetition | None:
    """Return the repetition from `start` on that saves most, the shortest among equals, or None."""
    best, most = None, 0
    num_left = len(entries) - start
    for length in range(1, num_left // 2 + 1):
        if num_left - length - 1 <= most:  # no longer body can save more
            break
        if shapes[start + length] == shapes[start]:
            found = _repetition(entries, shapes, start, length)
            if found.saving > most:
                best, most = found, found.saving
    return best


def _repeat(repetition: _Repetition, entries: Sequence[Entry]) -> Entry:
    strides = repetition.strides
    state, parameters = strides.state & MAX_WORD, strides.parameters & MAX_WORD
    repeat = Entry(REPEAT, result=state, right=parameters, n=repetition.rounds)
    body = entries[repetition.start : repetition.start + repetition.length]
    return dataclasses.replace(repeat, left=sum(len(entry.words) for entry in (*body, repeat)))


def _number_shapes(entries: Sequence[Entry]) -> list[int]:
    """Return a number for each entry, equal for entries with equal fixed words."""
    numbers: dict[tuple[int | None, ...], int] = {}
    return [numbers.setdefault(_fixed_words(entry), len(numbers)) for entry in entries]


def _repetition(
    entries: Sequence[Entry], shapes: Sequence[int], start: int, length: int
) -> _Repetition:
    """Return the longest repetition of the `length` entries from `start` on."""
    strides, rounds = _Strides(), 0
    while True:
        again = start + (rounds + 1) * length
        is_alike = shapes[start : start + length] == shapes[again : again + length]
        body = entries[start : start + length]
        step = _strides(body, entries[again : again + length]) if is_alike else None
        if step is None or (rounds > 0 and step != strides.times(rounds + 1)):
            return _Repetition(start, length, rounds, strides)
        strides = strides if rounds else step
        rounds += 1


def _strides(body: Sequence[Entry], again: Sequence[Entry]) -> _Strides | None:
    """Return the strides from the operands of `body` to those of `again`; None if they differ."""
    parameter_steps: set[int] = set()
    state_steps: set[int] = set()
    counts: set[int] = set()
    for first, second in zip(body, again, strict=True):
        parameter_steps |= _steps(first, second, first.parameter_words)
        state_steps |= _steps(first, second, first.state_words)
        counts |= _steps(first, second, first.counters)
    if max(len(parameter_steps), len(state_steps), len(counts)) > 1:
        return None
    return _Strides(sum(parameter_steps), sum(state_steps), sum(counts))


def _fixed_words(entry: Entry) -> tuple[int | None, ...]:
    """Return the words of an entry that a repetition must share; None for others."""
    moving = {*entry.parameter_words, *entry.state_words, *entry.counters}
    if not moving:
        return entry.words
    return tuple(None if index in moving else word for index, word in enumerate(entry.words))


def _steps(first: Entry, second: Entry, indices: tuple[int, ...]) -> set[int]:
    return {second.words[index] - first.words[index] for index in indices}
