"""Router configuration of one color at one PE, and the dense table of them.

Direction sets are bit masks, `1 << Direction`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

NUM_COLORS = 24
NO_ROUTE = -1


class PopMode(IntEnum):
    """When a router shifts the command list of a control wavelet."""

    NO_POP = 0
    ALWAYS_POP = 1
    POP_ON_ADVANCE = 2
    POP_ON_ADVANCE_NOP = 3


@dataclass(frozen=True, slots=True)
class SwitchPosition:
    """Complete receive and transmit sets while the switch is in this position.

    The contract has four positions, filters and teardown; the engine refuses what it lacks.
    """

    rx: int
    tx: int


@dataclass(frozen=True, slots=True)
class RangeFilter:
    """Deliver to the ramp only wavelets whose high half is in `[minimum, maximum]`."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ColorConfig:
    """Everything a router knows about one color."""

    positions: tuple[SwitchPosition | None, ...]
    """1–4 positions; None marks an invalid one. Position 0 is `routes`."""
    current_position: int = 0
    ring_mode: bool = False
    pop_mode: PopMode = PopMode.NO_POP
    teardown: bool = False
    """Start in teardown mode: traffic is held."""
    filter: RangeFilter | None = None
