"""Routers (rules M40–M57; switches are in `switch`, buffers between units in `buffers`).

A router decides on start-of-cycle state and changes nothing; `commit` applies its moves after
every unit has decided. Wavelets wait for a router in a `Source`, see `buffers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.geometry import Direction
from onewafer.image import NUM_COLORS
from onewafer.simulator.arithmetic.control import (
    ADVANCE_MARK,
    CONTROL_MARK,
    TEARDOWN,
    is_control,
    opcode_of,
)
from onewafer.simulator.arithmetic.registers import (
    COUNTER_REGISTER,
    NO_REGISTER,
    PENDING_REGISTER,
    kind_of,
    number_of,
    register_at,
)
from onewafer.simulator.reference.fabric.buffers import Link, Source
from onewafer.simulator.reference.fabric.units import NEVER
from onewafer.simulator.state.statistics import StallReason
from onewafer.trace import Event, EventKind

if TYPE_CHECKING:
    from onewafer.arch import Timing
    from onewafer.simulator.reference.fabric.buffers import LinkBuffer
    from onewafer.simulator.reference.fabric.switch import Route, Switch
    from onewafer.simulator.reference.fabric.units import Receiver, Schedule
    from onewafer.trace import EventSink

_RAMP_INPUT = 1 << 5
"""Bit of the ramp as an input, beside the bits of the five output ports."""
_RAMP_OUTPUT = 1 << Direction.RAMP


Move = tuple["Router", Source, "Switch", "Route"]


class Router:
    """The switch of one PE."""

    is_router = True
    __slots__ = (
        "active",
        "buffers",
        "details",
        "element",
        "links",
        "num_to_ramp",
        "stalls",
        "swaps",
        "switches",
        "wake",
        "x",
        "y",
    )

    def __init__(self, x: int, y: int, timing: Timing, *, details: EventSink | None = None) -> None:
        self.x = x
        self.y = y
        self.details = details
        self.element: Receiver | None = None
        """The processor of the PE, if it has a program."""
        self.wake = NEVER
        self.switches: dict[int, Switch] = {}
        """The router's state for each of its colors."""
        self.swaps = [0] * NUM_COLORS
        """By color: the input ports at which it is swapped with its pair's other color (M59)."""
        self.links = [Link(timing.link_window_words) for _ in range(4)]
        self.buffers: dict[tuple[int, Direction], LinkBuffer] = {}
        self.active: list[Source] = []
        """Sources with a wavelet."""
        self.num_to_ramp = 0
        self.stalls = [0] * len(StallReason)

    @property
    def routes(self) -> dict[int, Route]:
        """The routes in force, by color."""
        routes = {color: switch.route for color, switch in self.switches.items()}
        return {color: route for color, route in routes.items() if route.receive | route.transmit}

    @property
    def torn_colors(self) -> set[int]:
        """The colors that are torn down (M130)."""
        return {color for color, switch in self.switches.items() if switch.is_torn_down}

    def register_at(self, address: int, num_bytes: int) -> int:
        """Return the register at an address (M102, M131), or `NO_REGISTER`."""
        register = register_at(address, num_bytes)
        if register < 0 or kind_of(register) == PENDING_REGISTER:
            return register
        switch = self.switches.get(number_of(register))
        if switch is None or (kind_of(register) >= COUNTER_REGISTER and not switch.counts):
            return NO_REGISTER
        return register

    def write_register(self, register: int, word: int, cycle: int, agenda: Schedule) -> None:
        """Apply a register write of the compute element; it takes effect after `cycle` (M132)."""
        self.switches[number_of(register)].write(kind_of(register), word)
        agenda.schedule(self, cycle + 1)

    def color_from_ramp(self, color: int) -> int:
        """Return the color of wavelets after they enter from the ramp (M59)."""
        return self.color_from(Direction.RAMP, color)

    def color_from(self, port: Direction, color: int) -> int:
        """Return the color of wavelets after they enter by a port (M59)."""
        return color ^ (self.swaps[color] >> port & 1)

    def push(self, source: Source, ready: int, color: int, word: int) -> None:
        """Append a wavelet to `source`, routable from cycle `ready`."""
        if not source.words:
            self.active.append(source)
        source.words.append((ready, color, word))

    def decide(self, cycle: int, moves: list[Move], agenda: Schedule) -> None:
        """Append the moves of this cycle (M51, M54); schedule the next visit."""
        wake = NEVER
        candidates: list[Source] = []
        for source in self.active:
            ready = source.words[0][0]
            if ready <= cycle:
                candidates.append(source)
            elif ready < wake:
                wake = ready
        if len(candidates) > 1:
            candidates.sort(key=_service_order)
        taken = 0
        for source in candidates:
            switch = self.switches.get(source.words[0][1])
            reason, retry, ports = self._obstacle(source, switch, taken, cycle)
            if reason is not None:
                self.settle(source, cycle, reason)
                wake = min(wake, retry)
            elif switch is not None:
                taken |= ports
                moves.append((self, source, switch, switch.route))
        if taken and any(source.reason is not None for source in candidates):
            wake = cycle + 1  # M58: what a move has taken may be what is in their way then
        if wake < NEVER:
            agenda.schedule(self, wake)

    def _obstacle(
        self, source: Source, switch: Switch | None, taken: int, cycle: int
    ) -> tuple[StallReason | None, int, int]:
        """Return a wavelet's stall reason, the cycle of the next attempt, and its ports."""
        word = source.words[0][2]
        if switch is None:
            return StallReason.NO_ROUTE, NEVER, 0
        if not switch.takes(source.port, word):
            waits = switch.is_torn_down or switch.may_take(source.port, word)
            return StallReason.SWITCH if waits else StallReason.NO_ROUTE, NEVER, 0
        route = switch.route
        ports = route.transmit
        if source.port == Direction.RAMP:
            ports |= _RAMP_INPUT
        if taken & ports:
            return StallReason.LINK_BUSY, cycle + 1, ports
        for link, buffer, _ in route.targets:
            if link.free_at > cycle:
                return StallReason.LINK_BUSY, link.free_at, ports
            if not buffer.has_room(cycle):
                buffer.sender_waits = True
                retry = buffer.releases[0] if buffer.releases else NEVER
                return StallReason.NO_CREDIT, retry, ports
        channel = route.channel if switch.delivers(route, word) else None
        if channel is not None and len(channel.words) >= channel.capacity:
            channel.router_waits = True
            return StallReason.NO_CREDIT, NEVER, ports
        return None, NEVER, ports

    def settle(self, source: Source, cycle: int, reason: StallReason | None) -> None:
        """Note the stall reason of a source from `cycle` on; count the stall before.

        Its oldest wavelet has not moved.
        """
        if reason is source.reason:
            return
        if source.reason is not None:
            self.stalls[source.reason] += cycle - source.waiting_since
        source.reason = reason
        source.waiting_since = cycle
        if self.details is not None:
            color = source.words[0][1]
            subject = color | source.port << 8 | source.number << 16
            value = 0 if reason is None else reason + 1
            self.details.record(Event(cycle, self.y, self.x, EventKind.HELD, subject, value))

    def stalled(self, reason: StallReason, cycle: int) -> int:
        """Return the cycles up to `cycle` in which sources waited for `reason`."""
        since = [s.waiting_since for s in self.active if s.reason is reason]
        return self.stalls[reason] + sum(max(0, cycle - start) for start in since)

    def commit(
        self,
        source: Source,
        switch: Switch,
        route: Route,
        cycle: int,
        *,
        timing: Timing,
        agenda: Schedule,
        sink: EventSink | None,
    ) -> None:
        """Move the first wavelet of `source` along `route`, and update the switch."""
        self.settle(source, cycle, None)
        _, color, word = source.words.popleft()
        channel = route.channel if switch.delivers(route, word) else None
        if word & (CONTROL_MARK | ADVANCE_MARK):
            agenda.schedule(self, cycle + 1)
            is_teardown = is_control(word) and opcode_of(word) == TEARDOWN
            if is_teardown and self.element is not None:
                self.element.note_teardown(color)
                agenda.schedule(self.element, cycle + 1)
        word = switch.execute(route, word)
        source.last_move = cycle
        source.left(cycle, timing.credit_cycles, agenda)
        if source.words:
            agenda.schedule(self, max(cycle + 1, source.words[0][0]))
        else:
            self.active.remove(source)
        arrival = cycle + timing.hop_cycles
        for link, buffer, direction in route.targets:
            link.carry(cycle, timing.link_window_cycles)
            buffer.used += 1
            buffer.router.push(buffer, arrival, buffer.color, word)
            agenda.schedule(buffer.router, arrival)
            if sink is not None:
                sink.record(Event(cycle, self.y, self.x, EventKind.HOP, color, direction))
        if channel is not None:
            self.num_to_ramp += 1
            channel.words.append((cycle + timing.ramp_cycles, word))
            if channel.element is not None:
                agenda.schedule(channel.element, cycle + timing.ramp_cycles)
            if sink is not None:
                sink.record(Event(cycle, self.y, self.x, EventKind.RAMP_ARRIVAL, color, word))
        if self.details is not None:
            ways = route.transmit & ~_RAMP_OUTPUT | (_RAMP_OUTPUT if channel is not None else 0)
            swaps = sum(1 << way for _, buffer, way in route.targets if buffer.color != color)
            queue = source.number if source.port == Direction.RAMP else 0
            subject = color | source.port << 8 | ways << 16 | swaps << 24 | queue << 32
            self.details.record(Event(cycle, self.y, self.x, EventKind.MOVE, subject, word))
        agenda.note(cycle + 1)


def _service_order(source: Source) -> tuple[int, int, int, int]:
    return source.last_move, source.words[0][1], source.port, source.number
