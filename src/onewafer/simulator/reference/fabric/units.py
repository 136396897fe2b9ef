"""The interfaces between units of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onewafer.image import DsdOperation

NEVER = 1 << 62
"""A cycle that is never reached."""


class Unit(Protocol):
    """A router or a compute element: it acts in the cycles in which it is woken."""

    wake: int
    """The next scheduled cycle."""

    @property
    def is_router(self) -> bool:
        """True if it is a router."""
        ...


class Schedule(Protocol):
    """The interface of the agenda for units."""

    def schedule(self, unit: Unit, cycle: int) -> None:
        """Wake `unit` in `cycle`, unless it is woken before."""
        ...

    def note(self, cycle: int) -> None:
        """Note that the machine is active until `cycle`."""
        ...


class Receiver(Unit, Protocol):
    """The interface of a compute element for its router and queues."""

    @property
    def waits_for_empty_queue(self) -> bool:
        """True if a queue was asked to report when it is empty (M136)."""
        ...

    @property
    def control_mask(self) -> int:
        """The mask for the entry of kept control wavelets (M143)."""
        ...

    def note_teardown(self, color: int) -> None:
        """Note that a color was torn down (M130, M133)."""
        ...


class User(Protocol):
    """The interface of a live DSD operation for its queues, channels and FIFOs (M45)."""

    @property
    def kind(self) -> DsdOperation:
        """The operation that it computes."""
        ...

    @property
    def pc(self) -> int:
        """Its instruction."""
        ...
