"""The interface of all executors: a mesh program that is ready to run, and its known figures.

In: arrays, and the places of their rows in sequences. Out: arrays, and the cost of the launch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from onewafer.execution.agreement import Agreement
from onewafer.execution.watching import UNWATCHED
from onewafer.mesh import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onewafer.execution.activity import Activity, PeMemory
    from onewafer.execution.arrays import Arrays
    from onewafer.execution.launch_times import LaunchTimes, Origin
    from onewafer.execution.watching import Watch
    from onewafer.mesh import Launch, MeshProgram


@dataclass(frozen=True, slots=True)
class NotSimulated:
    """The reason why the first launch of some shape was not simulated."""

    reason: str
    launch: Launch | None = None
    needed_budget: int | None = None
    """The budget that would simulate it; None: the budget is not the reason."""
    may_be_cheaper: bool = True
    """True if fewer PEs or a narrower format would help."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The facts that an executor knows of its program so far."""

    memory: PeMemory
    """Memory of the fullest PE; in closed form where nothing was compiled."""
    engine: str | None = None
    """The engine of the simulation; None: nothing was simulated."""
    num_tile_programs: int | None = None
    """Distinct PE programs; None where nothing was compiled."""
    bytes_in: int = 0
    """Written to the wafer so far, weights included."""
    bytes_out: int = 0
    """Read from the wafer so far."""
    agreement: Agreement = field(default_factory=Agreement)
    """Agreement of simulated launches with other evaluations, if the host computes the values."""
    not_simulated: NotSimulated | None = None
    """The reason why a launch that should have been simulated was not."""

    def moved(self, bytes_in: int, bytes_out: int) -> Figures:
        """Return the figures with more bytes."""
        bytes_in, bytes_out = self.bytes_in + bytes_in, self.bytes_out + bytes_out
        return replace(self, bytes_in=bytes_in, bytes_out=bytes_out)


@dataclass(frozen=True, slots=True)
class Launched:
    """The results of a launch and its cost."""

    launch: Launch | None
    """None: one of all rows."""
    outputs: Arrays
    """The results that the wafer computed; empty: they are left to the host."""
    activity: Activity
    """The activity as known when the launch was made."""
    origin: Origin
    """The origin of the cycles."""


class Executor(Protocol):
    """A mesh program that is ready to run."""

    program: MeshProgram

    @property
    def times(self) -> LaunchTimes | None:
        """Cycles of launches that are derived from others; None: every launch is run."""
        ...

    @property
    def figures(self) -> Figures:
        """The known facts of the program so far."""
        ...

    def expect(self, launch: Launch | None = None) -> int:
        """Return about how many cycles a launch takes; None: one of all rows."""
        ...

    @property
    def leaves_values_to_host(self) -> bool:
        """True if the host computes the values, beside launches that are accounted for."""
        ...

    def send(self, parameters: Arrays) -> None:
        """Write parameters, or their gradients and moments, to the wafer, where they stay."""
        ...

    def adopt(self, parameters: Arrays) -> None:
        """Take parameters, their gradients and moments as a launch has changed them."""
        ...

    def run(
        self,
        inputs: Arrays,
        launch: Launch | None = None,
        *,
        host: Callable[[], Arrays] | None = None,
        watch: Watch = UNWATCHED,
    ) -> Launched:
        """Run one bucket of rows.

        `launch` says where in a sequence the rows are and how many are valid, for a program whose
        rows are one; None: all, from position 0 on. `host` gives the rows of the outputs that the
        host has, where it computes the values.
        """
        ...

    def repeat(self, launch: Launch) -> Launched | None:
        """Count a launch that is like one before; `move` counts the bytes that it moves.

        None: it has to be run.
        """
        ...

    def move(self, bytes_in: int, bytes_out: int) -> None:
        """Count the bytes that a group of launches moves."""
        ...


def read_outputs(program: MeshProgram, launch: Launch) -> list[str]:
    """Return the outputs of a launch that are sent to the host: those that do not stay there."""
    outputs = program.with_role(Role.OUTPUT, launch.entry)
    return [output.name for output in outputs if not output.is_resident]


def count_traffic(
    figures: Figures, program: MeshProgram, written: Iterable[str], read: Iterable[str]
) -> Figures:
    """Return figures with the bytes of some more tensors, without padding."""
    moved_in, moved_out = (sum(map(program.num_bytes, names)) for names in (written, read))
    return figures.moved(moved_in, moved_out)


@dataclass(slots=True)
class RepeatedLaunches:
    """Costs of repeated launches of a training program whose values the host computes."""

    program: MeshProgram
    _moved: dict[Launch, tuple[int, int]] = field(default_factory=dict["Launch", "tuple[int, int]"])
    """Bytes in and out."""

    def count(self, figures: Figures, launch: Launch) -> Figures:
        """Return figures with the bytes of one more launch."""
        if launch not in self._moved:
            program, entry = self.program, launch.entry
            written = (item.num_bytes for item in program.with_role(Role.INPUT, entry))
            read = map(program.num_bytes, read_outputs(program, launch))
            self._moved[launch] = sum(written), sum(read)
        return figures.moved(*self._moved[launch])
