"""Assumptions that later code may break, and the findings for when it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.faults import Fault


@dataclass(slots=True, eq=False)
class Reliance:
    """An assumption that holds unless a function that is analysed later breaks it."""

    is_broken: bool = False
    _complaints: list[Callable[[], None]] = field(
        default_factory=list["Callable[[], None]"], init=False
    )

    def rely(self, fault: Fault, complain: Callable[[], None]) -> None:
        """Fail if the assumption is broken; else call `complain` if it is broken later."""
        if self.is_broken:
            raise fault
        self._complaints.append(complain)

    def give_up(self) -> None:
        """Mark the assumption as broken, and call `complain` for each that relied on it."""
        self.is_broken = True
        for complain in self._complaints:
            complain()
        self._complaints.clear()
