"""The router's state for one color: positions, commands, filters, registers (M90–M133)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.image import ColorConfig, CounterFilter, RangeFilter
from onewafer.simulator.arithmetic import filters, registers
from onewafer.simulator.arithmetic.control import (
    ADVANCE,
    ADVANCE_MARK,
    RESET,
    TEARDOWN,
    is_control,
    is_ignored,
    opcode_of,
    popped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onewafer.simulator.reference.fabric.buffers import Channel, Link, LinkBuffer

_HALF = 0xFFFF
"""Bits of the index of a wavelet, below its marks."""


@dataclass(frozen=True, slots=True)
class Route:
    """The directions from which a color may come and to which it goes in one switch position."""

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
        """True if wavelets for the ramp go to the host (M73)."""
        return self.channel is not None and self.channel.element is None

    @property
    def has_ramp(self) -> bool:
        """True if the compute element is a receiver."""
        return bool(self.transmit >> Direction.RAMP & 1)


NO_WAY = Route(receive=0, transmit=0, targets=(), channel=None, lacks_link=False, lacks_queue=False)
"""The route of an invalid position."""


class Switch:
    """One color at one router."""

    __slots__ = (
        "_config",
        "_make_route",
        "_may_get_queue",
        "_routes",
        "_then",
        "counter",
        "is_ring",
        "is_torn_down",
        "limit",
        "passing",
        "pop_mode",
        "position",
        "ways",
    )

    def __init__(
        self,
        config: ColorConfig,
        make_route: Callable[[int, int], Route],
        *,
        may_get_queue: bool = False,
    ) -> None:
        """Set the state at load; `make_route` wires a receive and a transmit set.

        `may_get_queue`: the program can bind its queues to the color (M137).
        """
        self._config = config
        self._may_get_queue = may_get_queue
        self._make_route = make_route
        self._routes: list[Route] = []
        self.state = self._state_at_load()

    @property
    def state(self) -> tuple[int, ...]:
        """Position, teardown, a counter filter, ring and pop mode, and the four ways."""
        counts = self.counter, self.limit, self.passing, self._then
        modes = self.is_ring, self.pop_mode
        return self.position, int(self.is_torn_down), *counts, *modes, *self.ways

    @state.setter
    def state(self, state: tuple[int, ...]) -> None:
        self.position, is_torn_down, self.counter, self.limit, *others = state
        self.passing, self._then, self.is_ring, self.pop_mode, *ways = others
        self.is_torn_down = bool(is_torn_down)
        self._turn_to(ways)

    @property
    def route(self) -> Route:
        """The route of the position in force."""
        return self._routes[self.position]

    @property
    def is_as_loaded(self) -> bool:
        """True if nothing has changed the switch."""
        return self.state == self._state_at_load()

    @property
    def has_filter(self) -> bool:
        """True if a filter stands between router and ramp."""
        return self._config.filter is not None

    @property
    def counts(self) -> bool:
        """True if the filter has a counter."""
        return isinstance(self._config.filter, CounterFilter)

    @property
    def goes_to_host(self) -> bool:
        """True if wavelets for the ramp go to the host (M73)."""
        return self._config.to_host

    def rewire(self) -> None:
        """Update the ends of routes after queues were bound to other colors (M135)."""
        self._turn_to([*self.ways])

    def takes(self, port: Direction, word: int) -> bool:
        """Tell whether the current position accepts a wavelet from `port` (M57, M90, M130)."""
        return not self.is_torn_down and self._accepts(self.route, port, word)

    def may_take(self, port: Direction, word: int) -> bool:
        """Tell whether some position accepts a wavelet, which then waits for the switch (M97).

        It may also wait for a queue that the program may bind to its color (M137).
        """
        waits = self._may_get_queue
        return any(self._accepts(route, port, word, waits=waits) for route in self._routes)

    def delivers(self, route: Route, word: int) -> bool:
        """Tell whether a wavelet that takes `route` goes to the compute element too."""
        return route.has_ramp and self._passes(word)

    def execute(self, route: Route, word: int) -> int:
        """Update the switch for a departing wavelet; return the word to send (M92, M93, M101)."""
        if route.has_ramp:
            self._count(word)
        if word & ADVANCE_MARK:
            self.position = self._following()
            word &= ~ADVANCE_MARK
        if not is_control(word):
            return word
        opcode, before = opcode_of(word), self.position
        if opcode == ADVANCE:
            self.position = self._following()
        elif opcode == RESET:
            self.position = 0
        elif opcode == TEARDOWN:
            self.is_torn_down = True
        pops = registers.pops_of(self.pop_mode)
        if opcode == ADVANCE and self.position == before and pops != registers.ALL_POP:
            return word
        return popped(word) if pops >> opcode & 1 else word

    # --- registers (M131, M132) ------------------------------------------------------------------

    def read(self, kind: int) -> int:
        """Return a register of the color."""
        first, *others = self.ways
        match kind:
            case registers.COLOR_REGISTER:
                swaps, is_torn = self._config.swap_mask, int(self.is_torn_down)
                return registers.color_word(first, swaps, self.pop_mode, is_torn)
            case registers.SWITCH_REGISTER:
                bits = _joined(registers.position_bits(way) for way in others)
                return registers.switch_word(bits, self.position, self.is_ring)
            case registers.SIDES_REGISTER:
                return _joined(registers.second_bits(way) for way in others)
            case _:
                return filters.filter_word(kind, self.counter, self.limit, self.passing)

    def write(self, kind: int, word: int) -> None:
        """Set a register of the color."""
        match kind:
            case registers.COUNTER_REGISTER:
                self.counter = word
            case registers.LIMIT_REGISTER:
                self.limit = word
            case registers.MAXIMUM_REGISTER | registers.PASSING_REGISTER:
                self.passing = filters.written_passing(kind, word)
            case _:
                self._write_routes(kind, word)

    def _write_routes(self, kind: int, word: int) -> None:
        before, *others = self.ways
        if kind == registers.COLOR_REGISTER:
            self.pop_mode = registers.pop_mode_of(word)
            self.is_torn_down = bool(registers.is_torn_in(word))
            before = registers.first_of(word)
        elif kind == registers.SWITCH_REGISTER:
            self.position = registers.position_in(word)
            self.is_ring = registers.is_ring_in(word)
        ways = [before]
        for number, way in enumerate(others, 1):
            bits = registers.bits_in(word, number)
            ways.append(registers.rewritten(way, kind, bits, before))
            before = ways[-1] if registers.is_valid(ways[-1]) else before
        self._turn_to(ways)

    def _turn_to(self, ways: list[int]) -> None:
        self.ways = tuple(ways)
        self._routes = [
            self._make_route(registers.receive_of(way), registers.transmit_of(way))
            if registers.is_valid(way)
            else NO_WAY
            for way in ways
        ]

    def _state_at_load(self) -> tuple[int, ...]:
        config = self._config
        return (
            config.current_position,
            int(config.teardown),
            *filters.filter_at_load(config.filter),
            int(config.ring_mode),
            int(config.pop_mode),
            *registers.ways_at_load(config.positions),
        )

    def _accepts(self, route: Route, port: Direction, word: int, *, waits: bool = False) -> bool:
        is_received = bool(route.receive >> port & 1)
        lacks_queue = route.lacks_queue and not waits and self._passes(word)
        return is_received and not route.lacks_link and not lacks_queue

    def _following(self) -> int:
        """Return the switch position after the current one."""
        for later in range(self.position + 1, registers.NUM_WAYS):
            if registers.is_valid(self.ways[later]):
                return later
        return 0 if self.is_ring else self.position

    def _passes(self, word: int) -> bool:
        """Tell whether a wavelet passes the filter to the compute element (M94, M100, M101)."""
        if is_control(word) and is_ignored(word):
            return False
        match self._config.filter:
            case RangeFilter(minimum, maximum):
                return is_control(word) or minimum <= word >> 16 & _HALF <= maximum
            case CounterFilter() as filter_:
                if is_control(word) and not filter_.filters_control:
                    return True
                return filters.passes_count(self.counter, self.passing, is_control(word))
            case None:
                return True

    def _count(self, word: int) -> None:
        filter_ = self._config.filter
        if not isinstance(filter_, CounterFilter) or (is_control(word) and is_ignored(word)):
            return
        if filter_.counts_control if is_control(word) else filter_.counts_data:
            counter, limit, then = self.counter, self.limit, self._then
            self.counter = filters.next_count(counter, limit)
            self.limit = filters.next_limit(counter, limit, then)
            self.passing = filters.next_passing(counter, limit, self.passing, then)
            self._then = filters.next_then(counter, limit, then)


def _joined(fields: Iterable[int]) -> int:
    """Return a word of fields of four bits, the first one lowest."""
    return sum(field << 4 * place for place, field in enumerate(fields))
