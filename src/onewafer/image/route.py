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
    """Complete receive and transmit sets while the switch is in this position."""

    rx: int
    tx: int


@dataclass(frozen=True, slots=True)
class RangeFilter:
    """Deliver to the ramp only wavelets whose high half is in `[minimum, maximum]`."""

    minimum: int
    maximum: int


@dataclass(frozen=True, slots=True)
class CounterFilter:
    """A filter that delivers wavelets to the ramp while its counter is small enough.

    The counter starts at `initial`. A wavelet is delivered if the counter is at most `maximum`.
    Then a counted wavelet changes the counter: from `limit` to 0, else up by one. A sparse filter
    has a `limit` for one round and perhaps a `second_limit` for another one, and then delivers
    everything.
    """

    maximum: int
    limit: int
    initial: int = 0
    counts_data: bool = True
    counts_control: bool = False
    filters_control: bool = False
    """True if control wavelets are held back as well, unless the counter is `maximum`."""
    is_sparse: bool = False
    second_limit: int | None = None
    """The limit of the second round of a sparse filter; None: there is no second round."""


@dataclass(frozen=True, slots=True)
class ColorConfig:
    """Everything a router knows about one color."""

    positions: tuple[SwitchPosition | None, ...]
    """1–4 positions; None marks an invalid one, not the first. Position 0 is `routes`."""
    current_position: int = 0
    ring_mode: bool = False
    pop_mode: PopMode = PopMode.NO_POP
    teardown: bool = False
    """Start in teardown mode: traffic is held."""
    filter: RangeFilter | CounterFilter | None = None
    swap_mask: int = 0
    """Ports from which wavelets of the other color of the pair, `color ^ 1`, come in as this one
    (WSE-2); see `WaferImage.pair_swaps`."""
    from_host: bool = False
    """The host puts wavelets in here, as if they came from the ramp."""
    to_host: bool = False
    """True if the wavelets for the ramp go to the host; the PE needs no program."""
