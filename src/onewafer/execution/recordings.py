"""Recordings of simulated programs: one file each, with the places of tensors.

In: a file that a user named, and emitted programs. Out: recorders; the second program of a run has
`NAME-2` for its file. `recorded_operations` describes the model's operations in the script's words.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from onewafer.execution.recorded_operations import DescribedProgram, see_steps
from onewafer.host import AT_THE_END, Recorded, RecordingOptions, RunRecorder
from onewafer.mesh import Distribution, held_indices
from onewafer.recording import (
    SourceTexts,
    Split,
    Tensor,
    file_of_program,
    ranges_of,
    require_arrow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from onewafer.execution.activity import PeMemory
    from onewafer.mesh import EmittedPlacement, EmittedProgram, Estimator, MeshProgram
    from onewafer.settings import Settings

_AXES = {Distribution.BLOCKED_X: "x", Distribution.BLOCKED_Y: "y", Distribution.LOCAL: ""}


class Recordings:
    """The recordings of one run."""

    def __init__(
        self,
        path: Path,
        say: Callable[[str], object],
        options: RecordingOptions = AT_THE_END,
    ) -> None:
        """Take the name of the first file; `say` is called with a line about each file written.

        Raises:
            ConfigurationError: PyArrow is not installed.
        """
        require_arrow()
        self._path = path
        self._say = say
        self._options = options
        self._recorders: list[RunRecorder] = []
        weakref.finalize(self, _finish, self._recorders)

    @classmethod
    def from_settings(cls, settings: Settings, say: Callable[[str], object]) -> Recordings | None:
        """Return the recordings of a run; None: it is not recorded.

        Raises:
            ConfigurationError: PyArrow is not installed.
        """
        if settings.record_file is None:
            return None
        return cls(settings.record_file, say, RecordingOptions.from_settings(settings))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, including those that are still to be written."""
        return tuple(recorder.path for recorder in self._recorders)

    def begin(
        self,
        program: MeshProgram,
        emitted: EmittedProgram,
        estimator: Estimator,
        memory: PeMemory,
    ) -> RunRecorder:
        """Return the recorder of a program, given its closed form and the use of its memory.

        Raises:
            ConfigurationError: its file cannot be written.
        """
        path = file_of_program(self._path, len(self._recorders) + 1)
        described = DescribedProgram(program)
        tensors, splits = describe_tensors(described, emitted)
        subject = Recorded(
            program.graph.name,
            SourceTexts(emitted.files),
            tensors,
            splits,
            described.operations(estimator),
            memory.parts(),
            see_steps(program, emitted.position),
            described.texts(),
        )
        recorder = RunRecorder(path, subject, self._say, self._options)
        self._recorders.append(recorder)
        return recorder

    def finish(self, flop_share: float | None = None) -> None:
        """Write the remaining files, with the wafer's share of the script's matrix FLOP."""
        _finish(self._recorders, flop_share)


def _finish(recorders: Iterable[RunRecorder], flop_share: float | None = None) -> None:
    for recorder in recorders:
        recorder.finish(ended_well=True, flop_share=flop_share)


def describe_tensors(
    described: DescribedProgram, emitted: EmittedProgram
) -> tuple[tuple[Tensor, ...], tuple[Split, ...]]:
    """Return the tensors that the host knows, with the layout of their dimensions over the PEs."""
    numbers: dict[Split, int] = {}
    tensors: list[Tensor] = []
    for item in _placements(emitted):
        placement = item.placement
        rows, columns = (
            numbers.setdefault(
                Split(_AXES[distribution], tuple(map(ranges_of, blocks))), len(numbers)
            )
            for distribution, blocks in held_indices(placement, item.width, item.height)
        )
        num_bytes = placement.num_elements * placement.dtype.num_bytes
        tensors.append(
            Tensor(
                name=described.name_of(placement.name),
                role=str(placement.role),
                part=described.part_of(placement.name),
                dtype=str(placement.dtype),
                shape=placement.shape,
                symbol=item.symbol,
                num_bytes=num_bytes,
                rows=rows,
                columns=columns,
            )
        )
    return tuple(tensors), tuple(numbers)


def _placements(emitted: EmittedProgram) -> Iterator[EmittedPlacement]:
    for items in emitted.parameters.values():
        yield from items
    yield from emitted.inputs.values()
    yield from emitted.outputs.values()
