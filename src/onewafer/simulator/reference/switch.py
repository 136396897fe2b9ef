"""What a router knows about one color: switch positions, commands and filters (M90–M101)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.image import ColorConfig, CounterFilter, PopMode, RangeFilter
from onewafer.simulator.arithmetic.control import (
    ADVANCE,
    NO_OPERATION,
    RESET,
    TEARDOWN,
    is_control,
    is_ignored,
    opcode_of,
    popped,
)

if TYPE_CHECKING:
    from onewafer.simulator.reference.router import Channel, Link, LinkBuffer

_POPPING = {
    PopMode.NO_POP: frozenset[int](),
    PopMode.ALWAYS_POP: frozenset((NO_OPERATION, ADVANCE, RESET, TEARDOWN)),
    PopMode.POP_ON_ADVANCE: frozenset((ADVANCE,)),
    PopMode.POP_ON_ADVANCE_NOP: frozenset((ADVANCE, NO_OPERATION)),
}
"""Commands after which the list of a control wavelet moves up (M93); ADVANCE only if it moved the
switch, but for the second mode."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a color may come from and goes to while a switch is in one position."""

    receive: int
    transmit: int
    targets: tuple[tuple[Link, LinkBuffer, Direction], ...]
    channel: Channel | None
    lacks_link: bool
    """A transmit direction leaves the rectangle (M57)."""
    lacks_queue: bool
    """The ramp is a transmit direction, but no queue of the PE takes the color (M57)."""

    @property
    def goes_to_host(self) -> bool:
        """Whether the host takes what goes to the ramp (M73)."""
        return self.channel is not None and self.channel.element is None

    @property
    def has_ramp(self) -> bool:
        """Whether the compute element is a receiver."""
        return bool(self.transmit >> Direction.RAMP & 1)


class Switch:
    """One color at one router."""

    __slots__ = ("_config", "_routes", "counter", "is_torn_down", "position")

    def __init__(self, config: ColorConfig, routes: tuple[Route | None, ...]) -> None:
        self._config = config
        self._routes = routes
        self.position, self.is_torn_down, self.counter = self._state_at_load()

    @property
    def route(self) -> Route:
        """The route of the position in force."""
        route = self._routes[self.position]
        assert route is not None
        return route

    @property
    def is_as_loaded(self) -> bool:
        """Whether nothing has changed the switch."""
        state = self.position, self.is_torn_down, self.counter
        return state == self._state_at_load()

    def takes(self, port: Direction, word: int) -> bool:
        """Tell whether the position in force lets a wavelet in from `port` (M57, M90)."""
        return not self.is_torn_down and self._accepts(self.route, port, word)

    def may_take(self, port: Direction, word: int) -> bool:
        """Tell whether some position would let a wavelet in: it waits for the switch (M97)."""
        return any(route and self._accepts(route, port, word) for route in self._routes)

    def delivers(self, route: Route, word: int) -> bool:
        """Tell whether a wavelet that takes `route` goes to the compute element too."""
        return route.has_ramp and self._passes(word)

    def execute(self, route: Route, word: int) -> int:
        """Let a wavelet leave by `route`; return what is passed on (M92, M93, M101)."""
        if route.has_ramp:
            self._count(word)
        if not is_control(word):
            return word
        opcode, before = opcode_of(word), self.position
        if opcode == ADVANCE:
            self.position = self._following()
        elif opcode == RESET:
            self.position = 0
        elif opcode == TEARDOWN:
            self.is_torn_down = True
        if opcode == ADVANCE and self.position == before and not self._always_pops:
            return word
        return popped(word) if opcode in _POPPING[self._config.pop_mode] else word

    @property
    def _always_pops(self) -> bool:
        return self._config.pop_mode is PopMode.ALWAYS_POP

    def _state_at_load(self) -> tuple[int, bool, int]:
        """Return position, teardown and the count of a counter filter."""
        config = self._config
        initial = config.filter.initial if isinstance(config.filter, CounterFilter) else 0
        return config.current_position, config.teardown, initial

    def _accepts(self, route: Route, port: Direction, word: int) -> bool:
        is_received = bool(route.receive >> port & 1)
        lacks_queue = route.lacks_queue and self._passes(word)
        return is_received and not route.lacks_link and not lacks_queue

    def _following(self) -> int:
        """Return the position after this one."""
        later = range(self.position + 1, len(self._routes))
        following = next((p for p in later if self._routes[p] is not None), None)
        if following is not None:
            return following
        return 0 if self._config.ring_mode else self.position

    def _passes(self, word: int) -> bool:
        """Tell whether nothing keeps a wavelet out of the compute element (M94, M100, M101)."""
        if is_control(word) and is_ignored(word):
            return False
        match self._config.filter:
            case RangeFilter(minimum, maximum):
                return is_control(word) or minimum <= word >> 16 <= maximum
            case CounterFilter() as filter_:
                if is_control(word) and not filter_.filters_control:
                    return True
                return self.counter <= filter_.maximum
            case None:
                return True

    def _count(self, word: int) -> None:
        filter_ = self._config.filter
        if not isinstance(filter_, CounterFilter) or (is_control(word) and is_ignored(word)):
            return
        if filter_.counts_control if is_control(word) else filter_.counts_data:
            self.counter = 0 if self.counter == filter_.limit else self.counter + 1
