"""Choose the middle of each axis: where its chains end, and from where it broadcasts.

From both ends to a middle, wavelets stop at half the PEs, but the middle takes the words of one
chain after those of the other. So the fewer words, the nearer to the middle of the axis; where
there are many, PE 0 takes one chain from all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.program import Arena, Axis, Launch

if TYPE_CHECKING:
    from onewafer.mesh.program import MeshProgram

_STAGE, _HOP, _SECOND = 7, 2, 30
"""About how many cycles a chain takes a PE, a broadcast takes a PE, and the middle takes until it
adds a second chain. The choice never depends on the timing of a machine, as the order of additions
does on it; a test holds what it costs against the closed form of the WSE-3."""


def place_middles(program: MeshProgram, usual_rows: int | None) -> MeshProgram:
    """Return the program with the middles at which its collectives take least."""
    middles = {Axis.X: 0, Axis.Y: 0}
    for axis, words in _words_of_chains(program, usual_rows).items():
        middles[axis] = choose_middle(program.size(axis), words)
    return replace(program, middle_x=middles[Axis.X], middle_y=middles[Axis.Y])


def choose_middle(num_pes: int, words: list[int]) -> int:
    """Return the middle of an axis for chains of so many words.

    >>> choose_middle(107, [1, 16, 39]), choose_middle(107, [1000]), choose_middle(4, [1])
    (50, 0, 0)
    """
    middle = np.arange(num_pes // 2 + 1)
    behind = num_pes - 1 - middle
    cycles = _HOP * np.maximum(middle, behind) * len(words)
    for count in words:
        before = (_STAGE * middle + _SECOND + count) * (middle > 0)
        cycles = cycles + np.maximum(_STAGE * behind, before)
    return int(np.argmin(cycles))


def _words_of_chains(program: MeshProgram, usual_rows: int | None) -> dict[Axis, list[int]]:
    launch = program.whole_launch()
    keeps = program.context is not None and program.arena_elements.get(Arena.STATE, 0)
    if program.sequence_rows is not None and (keeps or usual_rows is not None):
        rows = usual_rows or 1
        launch = Launch((program.context or rows) - rows, rows)
    words: dict[Axis, list[int]] = {}
    for operation in program.operations[program.num_prepared :]:
        traffic = operation.traffic(program, launch)
        if traffic is not None and traffic.is_chain:
            words.setdefault(traffic.axis, []).append(int(np.max(traffic.words)))
    return words
