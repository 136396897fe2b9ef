"""Samplers: what looks at a machine in the middle of a run, at cycles of its own choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from onewafer.simulator import Machine


class Sampler(Protocol):
    """An observer that looks at the machine at cycles of its own choice."""

    @property
    def next_look(self) -> int:
        """The cycle of the machine at which it wants to look next; after a look, a later one."""
        ...

    def look(self, machine: Machine) -> None:
        """Look at a machine that stands between two cycles."""
        ...


@dataclass(frozen=True, slots=True)
class _Joined:
    """Two samplers as one."""

    first: Sampler
    second: Sampler

    @property
    def next_look(self) -> int:
        return min(self.first.next_look, self.second.next_look)

    def look(self, machine: Machine) -> None:
        for sampler in (self.first, self.second):
            if machine.cycle >= sampler.next_look:
                sampler.look(machine)


def join_samplers(first: Sampler | None, second: Sampler | None) -> Sampler | None:
    """Return what looks for both, each at its own cycles; None: neither is there."""
    if first is None or second is None:
        return first or second
    return _Joined(first, second)
