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
    """The class of each place along the axis."""

    @classmethod
    def of(cls, axis: Axis, values: NDArray[Any]) -> tuple[NDArray[Any], Classes]:
        """Return the distinct rows of `values` `[places, …]`, and the class of each place."""
        differs = values[1:] != values[:-1]  # most neighbours are equal, so few are sorted
        begins = np.ones(len(values), np.bool_)
        begins[1:] = differs.any(axis=tuple(range(1, values.ndim)))
        distinct, labels = np.unique(values[begins], axis=0, return_inverse=True)
        return distinct, cls(axis, labels.reshape(-1)[np.cumsum(begins) - 1])


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a collective along every line of an axis."""

    axis: Axis
    operation: str
    """Lower-case name of the `image.DsdOperation` that sends."""
    words: Size
    """f32 numbers: one count, or `[places along the other axis]`."""
    is_chain: bool
    """True for a chain from PE to PE towards a root; false for a multicast from a root."""
    of_heads: bool = False
    """True if the PEs of each attention head have their own root."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """DSD operations that read their two sources in turn, because both begin in the same bank."""

    count: Size
    operation: str
    """Lower-case name of `image.DsdOperation`."""
    num_elements: Size
    """Elements of each operation."""


NO_CONFLICTS = Conflicts(0, "fadds", 0)


class DataDependence(StrEnum):
    """Values on which the cycles of an operation depend."""

    TOKENS = "token look-up"
    """The tokens decide which PEs have the looked-up rows of a table."""
    SELECTION = "selection"
    """The indices decide which PEs have the selected elements."""
    TARGETS = "targets of a loss"
    """The targets decide which PEs have the classes."""
    SPECIAL_VALUES = "special values of rsqrt"
    """Numbers below 2⁻¹⁰⁰, infinities and NaN take another path."""


@dataclass(frozen=True)
class MeshOperation(ABC):
    """One step of every PE: local work, or a collective along an axis.

    A new operation is a frozen dataclass that implements the methods below; CONTRIBUTING.md has the
    recipe.
    """

    __slots__ = ()

    depends_on: ClassVar[DataDependence | None] = None
    """The values that its cycles depend on; None: all launches of one shape take equally long."""

    kinds: ClassVar[tuple[Kind, ...]] = ()
    """The kinds that the operation may have in a schedule."""

    @property
    def kind(self) -> Kind:
        """The operation's kind in the schedule; a class with several kinds overrides this."""
        return self.kinds[0]

    @abstractmethod
    def entry(self, program: ProgramShape) -> Entry:
        """Return the operation's words in the schedule."""

    @abstractmethod
    def execute(self, memories: Memories) -> None:
        """Compute the result on NumPy arrays, with the kernel's order, roundings and bits."""

    @abstractmethod
    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, Size]:
        """Return the sizes that the cost depends on, by their names in `kernel_costs.json`.

        A size that differs between PEs is an array `[kinds of rows, classes, places]`, with a
        dimension of 1 where it does not vary: `classes` tells the classes of PEs, places are those
        along the other axis. The work of a PE is the sum over the kinds of rows.
        """

    def classes(self, program: ProgramShape, launch: Launch) -> Classes | None:
        """Return the classes of PEs along an axis with equal sizes; None: all PEs are equal."""
        del program, launch
        return None

    def traffic(self, program: ProgramShape, launch: Launch) -> Traffic | None:
        """Return the traffic of a collective; None: the operation is local."""
        del program, launch
        return None

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the DSD operations that bank conflicts slow down."""
        del program, launch
        return NO_CONFLICTS


class AlongAxis(MeshOperation):
    """An operation with one kind for each axis."""

    __slots__ = ()

    axis: Axis

    @property
    def kind(self) -> Kind:
        return self.kinds[self.axis.number]
