"""The rows of sequences that a program remembers, to make its launches again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import Slot
from onewafer.mesh import BACKWARD, LOSS, Arena, Launch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import MeshProgram


_GOING_ON = LOSS, BACKWARD
"""Entries that continue with the rows of the launch before them."""


def cut_runs(sequence: int, first: int, table_rows: Sequence[int]) -> list[Slot]:
    """Return slots for tokens of a sequence from position `first` on.

    `table_rows` are their rows of position tables, which are consecutive in a slot.

    >>> [(slot.position, slot.rows, slot.table_row) for slot in cut_runs(0, 3, [3, 4, 1, 2])]
    [(3, 2, None), (5, 2, 1)]
    """
    slots: list[Slot] = []
    begin = 0
    for end in range(1, len(table_rows) + 1):
        if end < len(table_rows) and table_rows[end] == table_rows[end - 1] + 1:
            continue
        position, row = first + begin, table_rows[begin]
        slots.append(Slot(sequence, position, end - begin, None if row == position else row))
        begin = end
    return slots


def fill_launches(sequences: Iterable[Sequence[Slot]], most_rows: int) -> Iterator[Launch]:
    """Yield launches with the slots of some sequences, at most `most_rows` rows in each.

    The slots of a sequence are in different launches, in order.

    >>> [len(launch.slots) for launch in fill_launches([[Slot(0, 0, 3)], [Slot(1, 4, 6)]], 4)]
    [2, 1, 1]
    """
    for slots in zip_longest(*sequences):
        yield from _fill((slot for slot in slots if slot is not None), most_rows)


def _fill(slots: Iterable[Slot], most_rows: int) -> Iterator[Launch]:
    parts: list[Slot] = []
    room = most_rows
    for slot in slots:
        done = 0
        while done < slot.rows:
            rows = min(room, slot.rows - done)
            parts.append(slot.part(done, rows))
            done, room = done + rows, room - rows
            if not room:
                yield Launch(tuple(parts))
                parts, room = [], most_rows
    if parts:
        yield Launch(tuple(parts))


@dataclass(frozen=True, slots=True)
class _Row:
    """The inputs of a token."""

    inputs: Arrays
    table_row: int


class SequenceRows:
    """The input rows of the sequences of a program, one for each position."""

    def __init__(self, program: MeshProgram) -> None:
        # A launch of a training program that has a whole sequence has none before it.
        self._remembers = program.arena_elements.get(Arena.STATE, 0) > 0 and (
            not program.trains or program.tiles > 1
        )
        self._entry, self._trains = program.entries[0], program.trains
        self._launch_rows = program.sequence_rows or 0
        self._of_tokens = frozenset(
            tensor.name for tensor in program.graph.inputs if tensor.shape[0] == self._launch_rows
        )
        """Inputs with a row for each token; another input may be, for instance, a token's index."""
        self._of_launch: Arrays = {}
        """The other inputs of the latest launch."""
        self._rows: defaultdict[int, list[_Row]] = defaultdict(list)

    def note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Note a launch, which replaces the rows from the first position of each slot on.

        In a program that trains, it replaces only its own: launches of later positions may not be
        noted, and any rows do for their cycles.
        """
        if not self._remembers or launch is None or launch.entry != self._entry:
            return
        of_tokens = {n: array for n, array in inputs.items() if n in self._of_tokens}
        self._of_launch = {n: array for n, array in inputs.items() if n not in of_tokens}
        for first, part in launch.each_slot():
            (slot,) = part.slots
            rows = self._rows[slot.sequence]
            end = slot.position + slot.rows if self._trains else None
            rows[slot.position : end] = [
                _Row(
                    {name: array[first + row] for name, array in of_tokens.items()},
                    slot.first_table_row + row,
                )
                for row in range(slot.rows)
            ]

    def launches_before(self, launch: Launch) -> Iterator[tuple[Arrays, Launch]]:
        """Yield launches, as large as possible, that restore the state before a launch."""
        if not self._remembers or launch.entry not in (self._entry, *_GOING_ON):
            return
        runs: list[list[Slot]] = []
        for slot in launch.slots:
            before = self._rows[slot.sequence][: slot.position]
            runs.append(cut_runs(slot.sequence, 0, [row.table_row for row in before]))
        for earlier in fill_launches(runs, self._launch_rows):
            yield self._inputs(earlier), replace(earlier, entry=self._entry)

    def launches_left(self, launch: Launch) -> Iterator[tuple[Arrays, Launch]]:
        """Yield the launch of the first entry whose rows a launch continues with, if it does."""
        if self._remembers and launch.entry in _GOING_ON:
            forward = replace(launch, entry=self._entry)
            yield self._inputs(forward), forward

    def _inputs(self, launch: Launch) -> Arrays:
        rows = [
            row.inputs
            for slot in launch.slots
            for row in self._rows[slot.sequence][slot.position : slot.position + slot.rows]
        ]
        padding = self._launch_rows - len(rows)
        of_tokens = {
            name: np.pad(np.stack([row[name] for row in rows]), ((0, padding), (0, 0)))
            for name in rows[0]
        }
        return {**self._of_launch, **of_tokens}
