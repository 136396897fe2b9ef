"""The rows of sequences that a program remembers, to make its launches again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import Slot
from onewafer.mesh import Arena, Launch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import MeshProgram

    Row = dict[str, NDArray[Any]]


def fill_launches(slots: Iterable[Slot], most_rows: int) -> Iterator[Launch]:
    """Yield launches that have the rows of some slots, one after the other, `most_rows` in each.

    >>> [len(launch.slots) for launch in fill_launches([Slot(0, 0, 3), Slot(1, 4, 6)], 4)]
    [2, 1, 1]
    """
    parts: list[Slot] = []
    room = most_rows
    for slot in slots:
        done = 0
        while done < slot.rows:
            rows = min(room, slot.rows - done)
            parts.append(Slot(slot.sequence, slot.position + done, rows))
            done, room = done + rows, room - rows
            if not room:
                yield Launch(tuple(parts))
                parts, room = [], most_rows
    if parts:
        yield Launch(tuple(parts))


class SequenceRows:
    """The input rows of the sequences of a program, one for each position."""

    def __init__(self, program: MeshProgram) -> None:
        self._remembers = program.arena_elements.get(Arena.STATE, 0) > 0
        self._launch_rows = program.sequence_rows or 0
        self._rows: defaultdict[int, list[Row]] = defaultdict(list)

    def note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Note a launch: it overwrites the positions from the first one of each slot on."""
        if not self._remembers or launch is None:
            return
        for first, part in launch.each_slot():
            (slot,) = part.slots
            rows = self._rows[slot.sequence]
            del rows[slot.position :]
            rows += [
                {name: array[first + row] for name, array in inputs.items()}
                for row in range(slot.rows)
            ]

    def launches_before(self, launch: Launch) -> Iterator[tuple[Arrays, Launch]]:
        """Yield launches, as large as can be, that give what is remembered before one."""
        if not self._remembers:
            return
        slots = [Slot(slot.sequence, 0, slot.position) for slot in launch.slots]
        for before in fill_launches(slots, self._launch_rows):
            yield self._inputs(before), before

    def _inputs(self, launch: Launch) -> Arrays:
        rows = [
            row
            for slot in launch.slots
            for row in self._rows[slot.sequence][slot.position : slot.position + slot.rows]
        ]
        padding = self._launch_rows - len(rows)
        return {
            name: np.pad(np.stack([row[name] for row in rows]), ((0, padding), (0, 0)))
            for name in rows[0]
        }
