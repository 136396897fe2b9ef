"""The rows of a sequence that a program remembers, to make its launches again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.mesh import Arena, Launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.mesh import MeshProgram


class SequenceRows:
    """The input rows of a sequence, one for each position."""

    def __init__(self, program: MeshProgram) -> None:
        self._remembers = program.arena_elements.get(Arena.STATE, 0) > 0
        self._launch_rows = program.sequence_rows or 0
        self._rows: list[dict[str, NDArray[Any]]] = []

    def note(self, inputs: Arrays, launch: Launch | None) -> None:
        """Note a launch: it overwrites the positions from its first one on."""
        if not self._remembers or launch is None:
            return
        del self._rows[launch.start :]
        self._rows += [
            {name: array[row] for name, array in inputs.items()} for row in range(launch.num_rows)
        ]

    def launches_before(self, start: int) -> Iterator[tuple[Arrays, Launch]]:
        """Yield launches, as large as can be, that give what is remembered before a position."""
        if not self._remembers:
            return
        for first in range(0, start, self._launch_rows):
            rows = self._rows[first : min(first + self._launch_rows, start)]
            padding = self._launch_rows - len(rows)
            inputs = {
                name: np.pad(np.stack([row[name] for row in rows]), ((0, padding), (0, 0)))
                for name in rows[0]
            }
            yield inputs, Launch.at(first, len(rows))
