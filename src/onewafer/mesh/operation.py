"""The interface of the operations of a mesh program, for all its readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Axis, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes of PEs along one axis: the PEs of a class have equal sizes."""

    axis: Axis
    labels: NDArray[np.intp]
    """The class of each place along it."""

    @classmethod
    def of(cls, axis: Axis, values: NDArray[Any]) -> tuple[NDArray[Any], Classes]:
        """Return the distinct rows of `values` `[places, …]`, and the row of each place."""
        differs = values[1:] != values[:-1]  # neighbours are mostly alike: few are sorted
        begins = np.ones(len(values), np.bool_)
        begins[1:] = differs.any(axis=tuple(range(1, values.ndim)))
        distinct, labels = np.unique(values[begins], axis=0, return_inverse=True)
        return distinct, cls(axis, labels.reshape(-1)[np.cumsum(begins) - 1])


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a collective along every line of an axis, from the start of its step on."""

    axis: Axis
    operation: str
    """Lower-case name of the `image.DsdOperation` that a PE sends with."""
    words: Size
    """f32 numbers; a number or `[places along the other axis]`."""
    is_chain: bool
    """True if it goes from PE to PE towards a root, else from a root to all others."""
    of_heads: bool = False
    """True if the PEs of each head of attention have a root of their own."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """DSD operations that read their two sources in turns, because both begin in the same banks."""

    count: Size
    operation: str
    """Lower-case name of `image.DsdOperation`."""
    num_elements: Size
    """Elements of each operation."""


NO_CONFLICTS = Conflicts(0, "fadds", 0)


class DataDependence(StrEnum):
    """Values that decide how many cycles an operation takes."""

    TOKENS = "token look-up"
    """Which PEs have the rows of a table that the tokens name."""
    SELECTION = "selection"
    """Which PEs have the elements that are found or taken."""
    TARGETS = "targets of a loss"
    """Which PEs have the classes that the targets name."""
    SPECIAL_VALUES = "special values of rsqrt"
    """True if a number is below 2⁻¹⁰⁰, infinite or NaN."""


@dataclass(frozen=True)
class MeshOperation(ABC):
    """One step of every PE: local work, or a collective along an axis.

    A new operation is a frozen dataclass that answers the questions below; CONTRIBUTING.md has the
    recipe.
    """

    __slots__ = ()

    depends_on: ClassVar[DataDependence | None] = None
    """The values that its cycles depend on; None: launches of one shape are equally long."""

    kinds: ClassVar[tuple[Kind, ...]] = ()
    """The kinds that it may have in a schedule."""

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule: the only one, unless a class says which."""
        return self.kinds[0]

    @abstractmethod
    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""

    @abstractmethod
    def execute(self, memories: Memories) -> None:
        """Compute the operation on NumPy arrays: the order, roundings and bits of the kernel."""

    @abstractmethod
    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that its cost depends on, by the names in `kernel_costs.json`.

        What is not the same on all PEs is an array `[kinds of rows, classes, places]`, with 1 where
        it does not depend on it: classes are those of `classes`, places those along the axis across
        them. A sum over the kinds of rows is what a PE does for the rows of the launch.
        """

    def classes(self, program: ProgramShape, launch: Launch) -> Classes | None:
        """Return how `sizes` divide the PEs of an axis; None: they are equal on all PEs."""
        del program, launch
        return None

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic | None:
        """Return its traffic; None: the operation is local."""
        del program, launch
        return None

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return its DSD operations that bank conflicts make longer."""
        del program, launch
        return NO_CONFLICTS


class AlongAxis(MeshOperation):
    """An operation with a kind for each axis."""

    __slots__ = ()

    axis: Axis

    @property
    def kind(self) -> Kind:
        return self.kinds[self.axis.number]
