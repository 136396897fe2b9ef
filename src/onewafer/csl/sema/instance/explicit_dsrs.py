"""The contents of explicit DSRs at a statement, as far as the loads before it tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.state import DsrKey, DsrState


@dataclass(slots=True, eq=False)
class _BlockLoads:
    """Knowledge from the statements of a block so far."""

    goes_on: bool = False
    """The block runs at most once, after the statements before it: their knowledge holds here."""
    states: dict[DsrKey, DsrState | None] = field(default_factory=dict["DsrKey", "DsrState | None"])
    """None: it was loaded in a block inside of this one, or not."""


@dataclass(slots=True, eq=False)
class ExplicitDsrs:
    """The explicit DSRs of a function, at the statement that is being analysed."""

    _blocks: list[_BlockLoads] = field(default_factory=lambda: [_BlockLoads()])
    """Innermost last."""

    def open_block(self, *, goes_on: bool) -> None:
        """Begin a block; `goes_on`: it continues the statements before it."""
        self._blocks.append(_BlockLoads(goes_on))

    def close_block(self) -> None:
        """End the innermost block."""
        self._blocks.pop()

    def note_load(self, key: DsrKey, state: DsrState) -> None:
        """Remember what a DSR holds from here on."""
        for block in self._blocks:
            block.states[key] = None
        self._blocks[-1].states[key] = state

    def last_load(self, key: DsrKey) -> DsrState | None:
        """Return the DSD in a DSR here; None: it depends on code that ran before."""
        for block in reversed(self._blocks):
            if key in block.states:
                return block.states[key]
            if not block.goes_on:
                break
        return None

    def forget_loads(self) -> None:
        """Know nothing of DSRs any more: another function runs, which may load them."""
        for block in self._blocks:
            block.states.clear()
