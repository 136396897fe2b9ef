"""Paths of one color between ports: rectilinear, and disjoint.

In: the ends of each path, PEs that no path may enter, and what each other PE costs. Out: one path
for each, or a PE that several paths need. Each path is a cheapest one (A*, Hart, Nilsson and
Raphael 1968); where two use one PE, both are searched anew at a higher price of the PE, until none
is shared (negotiated congestion: McMurchie and Ebeling, PathFinder, 1995).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Pe = tuple[int, int]
Path = tuple[Pe, ...]
"""Neighbouring PEs from the first end to the last, both included."""

HOP_COST = 10
"""The unit of other costs: a path takes a detour of n hops to save n times this."""
_TURN_COST = 2
_OTHER_SIDE_COST = 3 * HOP_COST
"""Cost of leaving a port by another side than that of its region."""
_FIRST_PRICE = 2 * HOP_COST
"""The price of a PE for the second path that uses it; doubles with each round."""
_MAX_PRICE = 1_000 * HOP_COST
_PATIENCE = 6
"""Rounds without fewer shared PEs, after which the search is given up."""
_MAX_STEPS = 5_000_000
"""Limit of the steps of all searches for one color, beyond one full search: about ten seconds."""
_Arrival = tuple[Pe, Direction]
"""A PE and the direction of the hop that led there, because a turn costs; RAMP at the start."""
_LINKS = (Direction.EAST, Direction.WEST, Direction.SOUTH, Direction.NORTH)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A PE where a path begins or ends, and the sides by which it may do so."""

    pe: Pe
    sides: frozenset[Direction]
    preferred: Direction


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a path to `end`, or to any PE of `goals`."""

    start: Terminal
    end: Terminal | None
    goals: frozenset[Pe] = frozenset()


class NoPathError(Exception):
    """There is no path for a request, or none that leaves room for the others."""

    def __init__(self, request: int, conflict: Pe | None) -> None:
        super().__init__(request, conflict)
        self.request = request
        """The index of the request."""
        self.conflict = conflict
        """A PE that two paths need; None: the request has no path at all."""


def find_paths(
    requests: Sequence[Request], is_blocked: NDArray[np.bool_], costs: NDArray[np.int64]
) -> list[Path]:
    """Return a path for each request; paths share no PE, except for common ends.

    `is_blocked` and `costs` are `[y, x]`: PEs that no path may cross (ends are exempt), and the
    cost of a PE besides the hop into it.

    Raises:
        NoPathError: a path does not exist, or none that leaves room for the others was found.
    """
    negotiation = _Negotiation(requests, is_blocked, costs)
    fewest, num_rounds_since = len(costs.reshape(-1)) + 1, 0
    waiting = range(len(requests))
    while waiting and num_rounds_since < _PATIENCE:
        for number in waiting:
            negotiation.search_again(number)
        waiting = negotiation.end_round()
        num_crowded = negotiation.num_crowded
        num_rounds_since = 0 if num_crowded < fewest else num_rounds_since + 1
        fewest = min(fewest, num_crowded)
    if waiting:
        raise NoPathError(waiting[0], negotiation.first_crowded())
    return negotiation.paths


class _Negotiation:
    """The paths so far, and the prices of PEs that several paths use."""

    def __init__(
        self,
        requests: Sequence[Request],
        is_blocked: NDArray[np.bool_],
        costs: NDArray[np.int64],
    ) -> None:
        self.paths: list[Path] = [()] * len(requests)
        self._requests = requests
        self._is_blocked = is_blocked
        self._costs = costs.copy()
        """Costs of PEs, which grow with each round in which they are shared."""
        self._prices = costs.copy()
        """Costs of PEs in this round, including the price of each path that uses them."""
        self._users = np.zeros(costs.shape, np.int64)
        self._price = _FIRST_PRICE
        self._effort = _Effort(_MAX_STEPS + len(_LINKS) * costs.size)

    @property
    def num_crowded(self) -> int:
        """Number of PEs that more than one path uses."""
        return int((self._users > 1).sum())

    def first_crowded(self) -> Pe:
        """Return the first PE that more than one path uses."""
        y, x = np.argwhere(self._users > 1)[0]
        return int(x), int(y)

    def search_again(self, number: int) -> None:
        """Replace the path of a request by a cheapest one at the prices of this round."""
        request = self._requests[number]
        self._count(self._inner(number), -1)
        path = _cheapest(request, self._is_blocked, self._prices, self._effort)
        if path is None:
            crowded = self.first_crowded() if self.num_crowded else None
            raise NoPathError(number, crowded if self._effort.is_spent else None)
        self.paths[number] = path
        self._count(self._inner(number), 1)

    def end_round(self) -> list[int]:
        """Raise the prices; return the requests whose paths share a PE."""
        crowded = self._users > 1
        self._costs[crowded] += HOP_COST
        self._price = min(2 * self._price, _MAX_PRICE)
        self._prices = self._costs + self._price * self._users
        return [
            number
            for number in range(len(self.paths))
            if any(crowded[y, x] for x, y in self._inner(number))
        ]

    def _inner(self, number: int) -> Path:
        """Return the PEs of a path that no other may use: all but the ends that are given."""
        path = self.paths[number]
        return path[1:] if self._requests[number].end is None else path[1:-1]

    def _count(self, pes: Path, change: int) -> None:
        for x, y in pes:
            self._users[y, x] += change
            self._prices[y, x] += change * self._price


@dataclass(slots=True)
class _Effort:
    """The remaining steps of all searches together."""

    num_steps: int

    @property
    def is_spent(self) -> bool:
        """True if no step is left."""
        return self.num_steps <= 0


def _cheapest(
    request: Request, is_blocked: NDArray[np.bool_], costs: NDArray[np.int64], effort: _Effort
) -> Path | None:
    """Return a cheapest path (deterministic); None: no path exists, or no step is left."""
    first: _Arrival = (request.start.pe, Direction.RAMP)
    best: dict[_Arrival, int] = {first: 0}
    previous: dict[_Arrival, _Arrival] = {}
    queue: list[tuple[int, int, Pe, Direction]] = []
    heapq.heappush(queue, (_remaining(request, request.start.pe), 0, *first))
    while queue and not effort.is_spent:
        effort.num_steps -= 1
        _, spent, pe, heading = heapq.heappop(queue)
        if best[pe, heading] < spent:
            continue
        if heading is not Direction.RAMP and _is_goal(request, pe):
            return _trace(previous, (pe, heading))
        for neighbour, towards, cost in _steps(request, pe, heading, is_blocked, costs):
            place = (neighbour, towards)
            total = spent + cost
            if total < best.get(place, total + 1):
                best[place] = total
                previous[place] = (pe, heading)
                estimate = total + _remaining(request, neighbour)
                heapq.heappush(queue, (estimate, total, *place))
    return None


def _steps(
    request: Request,
    pe: Pe,
    heading: Direction,
    is_blocked: NDArray[np.bool_],
    costs: NDArray[np.int64],
) -> Iterator[tuple[Pe, Direction, int]]:
    """Yield the neighbours to which a path may continue, with direction and cost."""
    height, width = is_blocked.shape
    start, end = request.start, request.end
    for direction in _LINKS:
        x, y = pe[0] + direction.step[0], pe[1] + direction.step[1]
        if not (0 <= x < width and 0 <= y < height) or (x, y) == start.pe:
            continue
        cost = HOP_COST
        if pe == start.pe:
            if direction not in start.sides:
                continue
            cost += _OTHER_SIDE_COST * (direction is not start.preferred)
        elif direction is not heading:
            cost += _TURN_COST
        if end is not None and (x, y) == end.pe:
            if direction.opposite not in end.sides:
                continue
            cost += _OTHER_SIDE_COST * (direction.opposite is not end.preferred)
        elif is_blocked[y, x]:
            continue
        else:
            cost += int(costs[y, x])
        yield (x, y), direction, cost


def _is_goal(request: Request, pe: Pe) -> bool:
    return pe in request.goals if request.end is None else pe == request.end.pe


def _remaining(request: Request, pe: Pe) -> int:
    """Return a lower bound of the cost from a PE to the end; 0 for a request with goals."""
    if request.end is None:
        return 0
    x, y = request.end.pe
    return HOP_COST * (abs(x - pe[0]) + abs(y - pe[1]))


def _trace(previous: dict[_Arrival, _Arrival], place: _Arrival) -> Path:
    path = [place[0]]
    while place in previous:
        place = previous[place]
        path.append(place[0])
    return tuple(reversed(path))
