"""The purpose of cycles: a part of a layer, and whether PEs compute or communicate.

In: a mesh program, and cycles by mesh operation or by schedule entry. Out: cycles by `Purpose`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import LayerPart, layer_parts
from onewafer.mesh.schedule import build_schedule, first_rounds, operations_of

if TYPE_CHECKING:
    from onewafer.mesh.cost import Estimate
    from onewafer.mesh.program import MeshProgram


@dataclass(frozen=True, slots=True)
class Purpose:
    """The purpose of a step of a program."""

    part: LayerPart | None
    """The part of the layer; None: the start and end of a launch, and the repetition of layers."""
    is_collective: bool = False
    """True if values move between PEs; false if each PE works alone."""


CONTROL = Purpose(None)


def purposes(program: MeshProgram) -> tuple[Purpose, ...]:
    """Return the purpose of each mesh operation, in order."""
    parts = layer_parts(program.graph)
    return tuple(
        Purpose(parts[source], operation.kind.is_collective)
        for operation, source in zip(program.operations, program.sources, strict=True)
    )


@dataclass(frozen=True, slots=True)
class Step:
    """The local work of a graph operation, or its collectives, in one entry of the program."""

    entry: str
    source: int
    """The index of the graph operation."""
    is_collective: bool


def steps(program: MeshProgram) -> tuple[Step, ...]:
    """Return the step of each mesh operation; repeated operations have that of the first round."""
    entries = [name for name in program.entries for _ in program.operations[program.stretch(name)]]
    return tuple(
        Step(
            entries[first],
            program.sources[first],
            is_collective=program.operations[first].kind.is_collective,
        )
        for first in first_rounds(build_schedule(program))
    )


def steps_of_words(program: MeshProgram) -> tuple[Step | None, ...]:
    """Return the step of each word of the schedule; None for control words."""
    known, schedule = steps(program), build_schedule(program)
    words: list[Step | None] = []
    for entry, index in zip(schedule, operations_of(schedule), strict=True):
        words += [None if index is None else known[index]] * len(entry.words)
    return tuple(words)


def purposes_of_words(program: MeshProgram) -> tuple[Purpose, ...]:
    """Return the purpose of each word of the schedule."""
    parts = layer_parts(program.graph)
    return tuple(
        CONTROL if step is None else Purpose(parts[step.source], step.is_collective)
        for step in steps_of_words(program)
    )


def split_estimate(
    program: MeshProgram, estimate: Estimate, entry: str | None = None
) -> Counter[Purpose]:
    """Return the cycles of an estimate by purpose; their sum is that of the estimate.

    The estimate is of `entry`, by default the first one.
    """
    cycles: Counter[Purpose] = Counter()
    cycles[CONTROL] = estimate.launch_cycles + estimate.control_cycles
    known = purposes(program)[program.stretch(entry or program.entries[0])]
    for purpose, operation in zip(known, estimate.operations, strict=True):
        cycles[purpose] += operation.cycles
    return cycles
