"""The PEs that a waiting PE depends on: senders or receivers of a color.

In: an image, a color, a PE. Out: the PEs at the other ends of the color's routes, nearest first, in
any switch position.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.geometry import Direction
from onewafer.image import NO_ROUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.image import ColorConfig, WaferImage

    _State = tuple[int, int, int, Direction]
    """A router's x and y, the color there, and the port by which wavelets leave or enter."""

_MOST_PES = 8
_MOST_ROUTERS = 20_000
"""The most routers that are searched: a multicast may reach a whole wafer."""
_WAITS_FOR_SENDERS = frozenset(("input empty",))
_WAITS_FOR_RECEIVERS = frozenset(("output full", "link busy", "no credit", "switch", "no route"))


@dataclass(frozen=True, slots=True)
class Peers:
    """The PEs that a PE waits for."""

    sends: bool
    """True if they must send; false: they must receive."""
    pes: tuple[tuple[int, int], ...]
    has_host: bool
    """True if the PE waits for the host, too."""
    has_more: bool
    """True if there are more PEs than listed."""

    def to_record(self) -> dict[str, Any]:
        """Return the record for the page."""
        return {
            "sends": self.sends,
            "pes": [list(pe) for pe in self.pes],
            "host": self.has_host,
            "more": self.has_more,
        }


def peers_of(image: WaferImage, color: int, x: int, y: int, *, reason: str) -> Peers | None:
    """Return the PEs that a PE waits for; None: it does not wait for other PEs."""
    routers = _Routers(image)
    if reason not in _WAITS_FOR_SENDERS | _WAITS_FOR_RECEIVERS:
        return None
    return routers.search((x, y, color, Direction.RAMP), sends=reason in _WAITS_FOR_SENDERS)


@dataclass(frozen=True, slots=True)
class _Routers:
    """The routers of an image, as a graph."""

    image: WaferImage

    def search(self, start: _State, *, sends: bool) -> Peers:
        """Search breadth-first from a PE along routes to the senders or receivers at their ends."""
        waiting, seen = deque((start,)), {start}
        pes: dict[tuple[int, int], None] = {}
        has_host = False
        while waiting and len(pes) <= _MOST_PES and len(seen) <= _MOST_ROUTERS:
            state = waiting.popleft()
            states, ramps = self._step(state, is_upstream=sends)
            for config in ramps:
                if config.from_host if sends else config.to_host:
                    has_host = True
                else:
                    pes[state[0], state[1]] = None
            fresh = [one for one in states if one not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
        has_more = bool(waiting) or len(pes) > _MOST_PES
        return Peers(sends, tuple(pes)[:_MOST_PES], has_host, has_more)

    def _step(self, state: _State, *, is_upstream: bool) -> tuple[list[_State], list[ColorConfig]]:
        """Return the states one link further, and the configuration if a route ends at the ramp."""
        x, y, color, side = state
        config = self._config(x, y, color)
        if config is None:
            return [], []
        ends = 0
        for position in config.positions:
            if position is not None:
                sets = position.tx, position.rx
                near, far = sets if is_upstream else sets[::-1]
                ends |= far if near >> side & 1 else 0
        states: list[_State] = []
        for direction, next_x, next_y in self._neighbours(x, y, ends):
            there = direction.opposite
            receiver = (x, y, color, direction) if is_upstream else (next_x, next_y, color, there)
            states.append((next_x, next_y, color ^ self._swaps(*receiver), there))
        return states, [config] if ends >> Direction.RAMP & 1 else []

    def _neighbours(self, x: int, y: int, sides: int) -> Iterator[tuple[Direction, int, int]]:
        for direction in Direction:
            if direction is Direction.RAMP or not sides >> direction & 1:
                continue
            dx, dy = direction.step
            if 0 <= x + dx < self.image.width and 0 <= y + dy < self.image.height:
                yield direction, x + dx, y + dy

    def _config(self, x: int, y: int, color: int) -> ColorConfig | None:
        number = int(self.image.config_of_color[y, x, color])
        return None if number == NO_ROUTE else self.image.color_configs[number]

    def _swaps(self, x: int, y: int, color: int, side: Direction) -> int:
        """Return 1 if a router swaps the colors of a pair at a port, else 0."""
        pair = (self._config(x, y, one) for one in (color, color ^ 1))
        return int(any(one is not None and one.swap_mask >> side & 1 for one in pair))
