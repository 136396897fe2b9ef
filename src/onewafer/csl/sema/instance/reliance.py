"""Properties that hold as far as is known, and the findings if one turns out not to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.csl.sema.faults import Fault


@dataclass(slots=True, eq=False)
class Reliance:
    """Something that is true unless a function that is analysed later says otherwise."""

    is_broken: bool = False
    _complaints: list[Callable[[], None]] = field(
        default_factory=list["Callable[[], None]"], init=False
    )

    def rely(self, fault: Fault, complain: Callable[[], None]) -> None:
        """Fail if it no longer holds; if that is found later, `complain` then."""
        if self.is_broken:
            raise fault
        self._complaints.append(complain)

    def give_up(self) -> None:
        """Report once, for all that relied on the property, that it does not hold."""
        self.is_broken = True
        for complain in self._complaints:
            complain()
        self._complaints.clear()
