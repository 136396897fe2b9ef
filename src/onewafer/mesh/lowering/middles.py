"""Choose the PE at which the chains of each axis end, and whether chains have two phases.

Chains from both ends to the middle of the axis have half the stages, but the middle adds the words
of one chain after those of the other. In two phases (`chains`) there are still fewer stages, but
leaders first add the words of their section. So with few words, a root near the middle and many
leaders are best; with many words, one chain to PE 0.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import Slot
from onewafer.mesh.blocks import Arena, Axis, Launch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Counts = NDArray[Any]
    from onewafer.mesh.program import MeshProgram

_STAGE, _HOP, _SECOND = 7, 2, 13
"""Approximate cycles of a chain's stage, of a hop, and of the start of adding a second chain. They
must not depend on a machine's timing, since the choice decides the order of additions; a test
compares them with the closed form of the WSE-3."""


def place_middles(program: MeshProgram, usual_rows: int | None) -> MeshProgram:
    """Return the program with the middle and section length of each axis that cost least."""
    found = {Axis.X: (0, 0), Axis.Y: (0, 0)}
    for axis, words in _words_of_chains(program, usual_rows).items():
        head_pes = program.chains(axis).head_pes
        # Sums over sample groups have one order for all PE rows only if the root is PE 0.
        is_first = axis is Axis.Y and program.sample_groups > 1
        found[axis] = choose_middle(program.extent(axis), words, head_pes, is_first=is_first)
    (middle_x, section_x), (middle_y, section_y) = found[Axis.X], found[Axis.Y]
    return replace(
        program, middle_x=middle_x, middle_y=middle_y, section_x=section_x, section_y=section_y
    )


def choose_middle(
    num_pes: int, words: Sequence[int], head_pes: int = 0, *, is_first: bool = False
) -> tuple[int, int]:
    """Return the middle of an axis for chains of these words, and the PEs of a section.

    A section of 0 PEs means chains of one phase. Sections end where heads of `head_pes` PEs end.
    With `is_first` the middle is PE 0.

    >>> choose_middle(390, [1, 16, 39]), choose_middle(390, [1000]), choose_middle(4, [1])
    ((194, 14), (122, 0), (1, 0))
    """
    axis = _axis(num_pes, head_pes)
    cycles: Counts = axis.travel * len(words)
    for count, times in Counter(words).items():
        again = _SECOND + count
        at_middle = axis.reach + axis.others * again
        before = (axis.before.cycles(again) + again) * axis.has_before
        after = axis.after.cycles(again)
        cycles = cycles + times * np.maximum(np.maximum(after, before), at_middle)
    cycles = cycles[:, :1] if is_first else cycles
    section, place = np.unravel_index(np.argmin(cycles), cycles.shape)
    return int(place), int(axis.sections[section])


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The chains on one side of each candidate middle, `[sections, middles]`, for any words."""

    first: Counts
    """Cycles until the first chains reach a leader."""
    leaders: Counts
    """Cycles of the chain from leader to leader."""
    has_leaders: Counts

    @classmethod
    def of(cls, num_pes: Counts, lengths: Counts) -> _Side:
        """Return the side with `num_pes` PEs, for sections of these lengths."""
        leaders = num_pes // lengths
        return cls(
            _STAGE * np.minimum(num_pes, lengths - 1),
            leaders * (_STAGE - _HOP + _HOP * lengths),
            leaders > 0,
        )

    def cycles(self, again: int) -> Counts:
        """Return the approximate cycles if adding another chain takes `again` cycles."""
        return self.first + (again + self.leaders) * self.has_leaders


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """An axis with all candidate middles and section lengths, `[sections, middles]`."""

    sections: Counts
    travel: Counts
    """Cycles of a wavelet from the middle to the farther end."""
    reach: Counts
    """Cycles until the nearest chains reach the middle."""
    others: Counts
    """Chains that end in the middle, except the first one."""
    before: _Side
    has_before: Counts
    """True if PEs precede the middle."""
    after: _Side


@lru_cache(maxsize=128)
def _axis(num_pes: int, head_pes: int) -> _Axis:
    """Return the axis with `num_pes`; cached, since a search asks for few lengths many times."""
    middle = np.arange(num_pes // 2 + 1)
    behind = num_pes - 1 - middle
    sections = np.array([0, *_sections(num_pes // 2, head_pes)])
    column = sections[:, np.newaxis]
    lengths = np.where(column == 0, num_pes, _lengths(column, head_pes))
    return _Axis(
        sections=sections,
        travel=_HOP * np.maximum(middle, behind),
        reach=_STAGE * np.minimum(middle, lengths - 1),
        others=_num_chains(middle, lengths) + _num_chains(behind, lengths) - 1,
        before=_Side.of(middle, lengths),
        has_before=middle > 0,
        after=_Side.of(behind, lengths),
    )


def _sections(num_pes: int, head_pes: int) -> list[int]:
    """Return the candidate section lengths for `num_pes` PEs on a side.

    Heads are divided into about equal parts. On n PEs, sections of √(n·(_STAGE − _HOP) / _STAGE)
    are best if the words cost nothing.
    """
    best = math.sqrt(num_pes * (_STAGE - _HOP) / _STAGE)
    lengths = range(max(2, int(best / 2)), int(2 * best) + 1)
    if not head_pes:
        return list(lengths)
    parts = {max(1, round(head_pes / length)) for length in lengths}
    return sorted({-(-head_pes // count) for count in parts})


def _lengths(sections: Counts, head_pes: int) -> Counts:
    """Return the mean lengths of sections; heads are divided into about equal parts."""
    if not head_pes:
        return sections
    return head_pes / -(-head_pes // np.maximum(sections, 1))


def _num_chains(num_pes: Counts, lengths: Counts) -> Counts:
    """Return the number of chains that reach the middle from a side with `num_pes` PEs."""
    return (num_pes > 0) * 1 + (num_pes >= lengths)


def _words_of_chains(program: MeshProgram, usual_rows: int | None) -> dict[Axis, list[int]]:
    launch = program.whole_launch()
    keeps = program.context is not None and program.arena_elements.get(Arena.STATE, 0)
    if program.sequence_rows is not None and (keeps or usual_rows is not None):
        rows = usual_rows or 1
        position = (program.context or rows) - rows
        count = min(program.sequences, program.sequence_rows // rows)
        launch = Launch(tuple(Slot(sequence, position, rows) for sequence in range(max(1, count))))
    words: dict[Axis, list[int]] = {}
    for operation in program.operations[program.num_prepared :]:
        traffic = operation.traffic(program, launch)
        if traffic is not None and traffic.is_chain:
            words.setdefault(traffic.axis, []).append(int(np.max(traffic.words)))
    return words
