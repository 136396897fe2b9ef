"""The contents of explicit DSRs at a statement, as known from the loads before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.csl.sema.instance.state import DsrKey, DsrState


@dataclass(slots=True, eq=False)
class _BlockLoads:
    """The loads of DSRs in a block, up to the current statement."""

    goes_on: bool = False
    """True if the block runs at most once, after the statements before it: their loads hold."""
    states: dict[DsrKey, DsrState | None] = field(default_factory=dict["DsrKey", "DsrState | None"])
    """The last load of each DSR; None: a nested block loads it, and may not have run."""


@dataclass(slots=True, eq=False)
class ExplicitDsrs:
    """The loads of explicit DSRs in a function, up to the statement that is being analysed."""

    _blocks: list[_BlockLoads] = field(default_factory=lambda: [_BlockLoads()])
    """Innermost last."""

    def open_block(self, *, goes_on: bool) -> None:
        """Begin a block; `goes_on`: it runs at most once, after the statements before it."""
        self._blocks.append(_BlockLoads(goes_on))

    def close_block(self) -> None:
        """End the innermost block."""
        self._blocks.pop()

    def note_load(self, key: DsrKey, state: DsrState) -> None:
        """Record that a DSR holds `state` from here on."""
        for block in self._blocks:
            block.states[key] = None
        self._blocks[-1].states[key] = state

    def last_load(self, key: DsrKey) -> DsrState | None:
        """Return the load that set a DSR; None: code that ran before decides which one."""
        for block in reversed(self._blocks):
            if key in block.states:
                return block.states[key]
            if not block.goes_on:
                break
        return None

    def forget_loads(self) -> None:
        """Discard all known loads: a function is called, which may load the DSRs."""
        for block in self._blocks:
            block.states.clear()
