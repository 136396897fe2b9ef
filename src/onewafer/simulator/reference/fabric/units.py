"""The interfaces between parts of the engine, before any of them is described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onewafer.image import DsdOperation

NEVER = 1 << 62
"""A cycle that does not come."""


class Unit(Protocol):
    """A router or a compute element: it acts in the cycles in which it is woken."""

    wake: int
    """When it acts next, as far as is known."""

    @property
    def is_router(self) -> bool:
        """True if it is a router."""
        ...


class Schedule(Protocol):
    """The agenda, as units know it."""

    def schedule(self, unit: Unit, cycle: int) -> None:
        """Wake `unit` in `cycle`, unless it is woken before."""
        ...

    def note(self, cycle: int) -> None:
        """Remember that something goes on until `cycle`."""
        ...


class Receiver(Unit, Protocol):
    """A compute element, as its router and its queues know it."""

    @property
    def waits_for_empty_queue(self) -> bool:
        """True if a queue shall tell when it is empty (M136)."""
        ...

    @property
    def control_mask(self) -> int:
        """The mask for the entry of kept control wavelets (M143)."""
        ...

    def note_teardown(self, color: int) -> None:
        """Hear that a color was torn down (M130, M133)."""
        ...


class User(Protocol):
    """A live DSD operation, as the queues, channels and FIFOs know it that it uses (M45)."""

    @property
    def kind(self) -> DsdOperation:
        """The operation that it computes."""
        ...

    @property
    def pc(self) -> int:
        """Its instruction."""
        ...
