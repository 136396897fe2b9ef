"""Several sequences of tokens in one program: rows of any of them in a launch.

In: new tokens of some sequences, or the wanted sequences. Out: the program's outputs at their last
tokens. A sequence has a number; new tokens are appended to those that it has. Computation and costs
of launches are the resident program's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.execution.sequence_rows import cut_runs, fill_launches
from onewafer.graph import Slot
from onewafer.mesh import Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.execution.arrays import Arrays
    from onewafer.execution.executor import Launched
    from onewafer.execution.resident_program import ResidentProgram


_Place = tuple[int, int]
"""A token, and its row of position tables."""


@dataclass(frozen=True, slots=True)
class WantedSequence:
    """A wanted sequence, and the number of outputs wanted of it."""

    tokens: Sequence[int]
    count: int
    """Number of outputs: those at the last tokens."""
    host: NDArray[Any] | None = None
    """The host's outputs at the last tokens, for a program that leaves the values to the host."""
    table_rows: Sequence[int] | None = None
    """The row of position tables for each token; None: that of its position."""

    @property
    def places(self) -> list[_Place]:
        """The tokens with their rows of position tables, on which keys and values depend."""
        rows = range(len(self.tokens)) if self.table_rows is None else self.table_rows
        return [*zip(self.tokens, rows, strict=True)]


@dataclass(frozen=True, slots=True)
class Extended:
    """The work and the outputs of making the wanted sequences."""

    launches: tuple[Launched, ...]
    launched: tuple[int, ...]
    """Tokens of each sequence that were launched; the wafer had the others."""
    outputs: tuple[NDArray[Any], ...] | None
    """The outputs of each sequence, a row for each; None: they are left to the host."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A wanted sequence, assigned to a sequence of the program."""

    wanted: WantedSequence
    places: list[_Place]
    first: int
    """The first token that is launched."""

    def cut(self, sequence: int) -> list[Slot]:
        """Return the slots of the tokens that are launched."""
        return cut_runs(sequence, self.first, [row for _, row in self.places[self.first :]])

    def outputs_of_host(self, slot: Slot, *, has_all_rows: bool) -> NDArray[Any]:
        """Return the host's outputs for a slot, NaN where it has none."""
        host, length = self.wanted.host, len(self.wanted.tokens)
        assert host is not None, "asked only for values of the host"  # invariant
        end = slot.position + slot.rows
        first = slot.position if has_all_rows else end - 1
        found = np.full((end - first, host.shape[-1]), np.nan, host.dtype)
        known = length - len(host)  # positions that the host has no outputs of
        if has_all_rows or end == length:
            have = host[max(first - known, 0) : max(end - known, 0)]
            found[len(found) - len(have) :] = have
        return found


class KeptSequences:
    """The sequences of a program that `place_sequence` cut for them; all are empty at first.

    Its graph has one input, the numbers of tokens, and one output: a row for each sequence, or for
    each token.
    """

    def __init__(self, program: ResidentProgram) -> None:
        """Take a program, on which the owner keeps the parameters."""
        self.program = program
        mesh = program.record.program
        self._input, self._output = mesh.graph.inputs[0], mesh.graph.outputs[0]
        self._has_all_rows = mesh.graph.tensor(self._output).shape[0] == self._input.shape[0]
        self.most_rows = self._input.shape[0]
        """Tokens of a launch, of all sequences together."""
        self.context = mesh.context
        """Tokens of a sequence; None: there is no limit."""
        self._kept: list[list[_Place]] = [[] for _ in range(mesh.sequences)]

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self._kept)

    def tokens(self, sequence: int) -> Sequence[int]:
        """Return the tokens whose keys and values a sequence has."""
        return [token for token, _ in self._kept[sequence]]

    def count_known(self, sequence: int, tokens: Sequence[int]) -> int:
        """Return how many of these tokens, from the first on, a sequence has."""
        return _count_common(self._kept[sequence], WantedSequence(tokens, 0).places)

    def free(self, sequence: int, *, keep: int = 0) -> None:
        """Forget the tokens of a sequence but the first `keep`."""
        del self._kept[sequence][keep:]

    def launch(
        self, tokens: Mapping[int, Sequence[int]]
    ) -> tuple[dict[int, NDArray[Any]], Launched]:
        """Append tokens to some sequences; return the output at the end of each, and the launch.

        The program gives a row for each sequence. Raises HostError for more tokens than a launch,
        or a sequence, has room for; then nothing has changed.
        """
        slots: list[Slot] = []
        places: list[list[_Place]] = []
        for sequence, more in tokens.items():
            position = len(self._kept[sequence])
            slots.append(Slot(sequence, position, len(more)))
            places.append([*zip(more, range(position, position + len(more)), strict=True)])
        with self.program.alone():
            launched = self._launch(Launch(tuple(slots)), places)
        rows = launched.outputs[self._output]
        return {sequence: rows[index] for index, sequence in enumerate(tokens)}, launched

    def extend(self, wanted: Sequence[WantedSequence]) -> Extended:
        """Make the wanted sequences; if there are too many for the program, the last ones stay.

        Each continues the kept sequence with most of its first tokens. The missing tokens are
        launched, even if another sequence has them: keys and values are not copied.
        """
        with self.program.alone():
            parts = [
                self._extend_together(wanted[first : first + len(self)])
                for first in range(0, len(wanted), len(self))
            ]
        outputs = [part.outputs for part in parts if part.outputs is not None]
        return Extended(
            tuple(chain.from_iterable(part.launches for part in parts)),
            tuple(chain.from_iterable(part.launched for part in parts)),
            tuple(chain.from_iterable(outputs)) if len(outputs) == len(parts) else None,
        )

    def _extend_together(self, wanted: Sequence[WantedSequence]) -> Extended:
        """Make wanted sequences for each of which the program has a sequence."""
        placed = self._place(wanted)
        runs = [one.cut(sequence) for sequence, one in placed.items()]
        made = [self._launch_part(placed, launch) for launch in fill_launches(runs, self.most_rows)]
        is_of_host = any(one.host is not None for one in wanted)
        outputs = None if is_of_host else tuple(self._gather(placed, made))
        launched = tuple(len(one.wanted.tokens) - one.first for one in placed.values())
        return Extended(tuple(made), launched, outputs)

    def _place(self, wanted: Sequence[WantedSequence]) -> dict[int, _Placed]:
        """Assign a kept sequence to each wanted one, in their order.

        Pairs with the longest common beginning come first, then those of the same number.
        """
        places = [one.places for one in wanted]
        known = [[_count_common(kept, of) for kept in self._kept] for of in places]
        pairs = sorted(
            ((index, sequence) for index in range(len(wanted)) for sequence in range(len(self))),
            key=lambda pair: (-known[pair[0]][pair[1]], pair[0] != pair[1]),
        )
        sequence_of: dict[int, int] = {}
        for index, sequence in pairs:
            if index not in sequence_of and sequence not in sequence_of.values():
                sequence_of[index] = sequence
        placed: dict[int, _Placed] = {}
        for index, one in enumerate(wanted):
            sequence = sequence_of[index]
            first = min(known[index][sequence], len(one.tokens) - one.count)
            placed[sequence] = _Placed(one, places[index], first)
        return placed

    def _launch_part(self, placed: Mapping[int, _Placed], launch: Launch) -> Launched:
        places: list[list[_Place]] = []
        for slot in launch.slots:
            del self._kept[slot.sequence][slot.position :]
            of_sequence = placed[slot.sequence].places
            places.append(of_sequence[slot.position : slot.position + slot.rows])
        has_host = all(one.wanted.host is not None for one in placed.values())

        def outputs_of_host() -> Arrays:
            has_all = self._has_all_rows
            parts = [
                placed[slot.sequence].outputs_of_host(slot, has_all_rows=has_all)
                for slot in launch.slots
            ]
            return {self._output: np.concatenate(parts)}

        return self._launch(launch, places, host=outputs_of_host if has_host else None)

    def _launch(
        self,
        launch: Launch,
        places: Sequence[list[_Place]],
        *,
        host: Callable[[], Arrays] | None = None,
    ) -> Launched:
        """Launch the tokens of each slot, and add them to the kept sequences."""
        self.program.record.program.check(launch)
        ids = np.zeros((self.most_rows, 1), np.int32)
        ids[: launch.num_rows, 0] = [token for part in places for token, _ in part]
        launched = self.program.launch({self._input.name: ids}, launch, host=host)
        for slot, part in zip(launch.slots, places, strict=True):
            self._kept[slot.sequence] += part
        return launched

    def _gather(
        self, placed: Mapping[int, _Placed], made: Sequence[Launched]
    ) -> Iterator[NDArray[Any]]:
        """Yield the wanted outputs of each sequence."""
        rows: dict[int, list[NDArray[Any]]] = {sequence: [] for sequence in placed}
        for launched in made:
            found = launched.outputs[self._output]
            launch = launched.launch
            assert launch is not None, "it has slots"  # invariant
            for index, (first, part) in enumerate(launch.each_slot()):
                (slot,) = part.slots
                if self._has_all_rows:
                    rows[slot.sequence].append(found[first : first + slot.rows])
                elif slot.position + slot.rows == len(placed[slot.sequence].wanted.tokens):
                    rows[slot.sequence].append(found[index : index + 1])
        for sequence, one in placed.items():
            have = rows[sequence]
            count = one.wanted.count
            yield np.concatenate(have)[-count:] if count else np.empty((0, 0))


def _count_common(one: list[_Place], other: list[_Place]) -> int:
    """Return how many tokens two sequences begin with in common, at the same rows of tables.

    >>> _count_common([(5, 0), (7, 1), (3, 2)], [(5, 0), (7, 1), (3, 1), (4, 2)])
    2
    """
    same, end = 0, min(len(one), len(other))
    while one[same:end] != other[same:end]:
        middle = (same + end) // 2
        if middle == same or one[same:middle] != other[same:middle]:
            end = middle
        else:
            same = middle
    return end
