"""What every operation of a mesh program says about itself, for all readers of the program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Timing
    from onewafer.mesh.entry import Entry, Kind
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program import Launch, MeshProgram


@dataclass(frozen=True, slots=True)
class Conflicts:
    """DSD operations that read their two sources in turns, because both begin in the same banks."""

    count: int
    operation: str
    """Lower-case name of `image.DsdOperation`."""
    num_elements: int
    """Of each."""


NO_CONFLICTS = Conflicts(0, "fadds", 0)


class MeshOperation(ABC):
    """One step of every PE: local work, or a collective along an axis.

    A new operation is a frozen dataclass that answers the questions below, a member of
    `entry.Kind`, its kernel and a branch in `kernels/pe.csl`, and a sample of it in
    `tools/kernel_costs.py`; the graph operation that needs it gets a function in `lowering`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What the state machine knows it as."""

    @abstractmethod
    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""

    @abstractmethod
    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does: same order, same roundings, same bits."""

    @abstractmethod
    def sizes(self, program: MeshProgram, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on, by the names in `kernel_costs.json`."""

    def traffic_cycles(self, program: MeshProgram, launch: Launch, timing: Timing) -> int:
        """Return the cycles from the issue of its fabric operation to the end; 0: it has none."""
        del program, launch, timing
        return 0

    def conflicts(self, program: MeshProgram, launch: Launch) -> Conflicts:
        """Return its DSD operations that bank conflicts make longer."""
        del program, launch
        return NO_CONFLICTS
