"""The buffers between units: links, the buffers behind them, queues and channels (M40–M55).

Wavelets wait for a router in a `Source`: a buffer behind a link, or an output queue of the compute
element. Wavelets wait for a compute element in a `Channel`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from onewafer.geometry import Direction
from onewafer.simulator.reference.fabric.units import Unit

if TYPE_CHECKING:
    from onewafer.simulator.reference.fabric.units import Receiver, Schedule, User
    from onewafer.simulator.state.statistics import StallReason


class Forwarding(Unit, Protocol):
    """The interface of a router for its buffers."""

    def push(self, source: Source, ready: int, color: int, word: int) -> None:
        """Append a wavelet to `source`, routable from cycle `ready`."""
        ...


class Source:
    """Wavelets that wait to leave through a router, oldest first: (routable from, color, word)."""

    __slots__ = (
        "last_move",
        "number",
        "port",
        "reason",
        "waiting_since",
        "words",
    )

    def __init__(self, port: Direction, number: int) -> None:
        self.port = port
        self.number = number
        self.words: deque[tuple[int, int, int]] = deque()
        self.last_move = -1
        self.reason: StallReason | None = None
        self.waiting_since = 0
        """First cycle of the current stall."""

    def left(self, cycle: int, credit_cycles: int, agenda: Schedule) -> None:
        """Note that a wavelet left in `cycle`: free its slot."""
        raise NotImplementedError


class LinkBuffer(Source):
    """The buffer of one color behind one link (M52)."""

    __slots__ = ("capacity", "color", "releases", "router", "sender", "sender_waits", "used")

    def __init__(
        self, port: Direction, color: int, router: Forwarding, sender: Forwarding, capacity: int
    ) -> None:
        super().__init__(port, 0)
        self.color = color
        self.router = router
        self.sender = sender
        self.capacity = capacity
        self.used = 0
        """Slots in use from the sender's view."""
        self.releases: deque[int] = deque()
        self.sender_waits = False

    def has_room(self, cycle: int) -> bool:
        """Tell whether the sender has a credit (M53)."""
        releases = self.releases
        while releases and releases[0] <= cycle:
            releases.popleft()
            self.used -= 1
        return self.used < self.capacity

    def left(self, cycle: int, credit_cycles: int, agenda: Schedule) -> None:
        """Return the credit to the sender."""
        self.releases.append(cycle + credit_cycles)
        if self.sender_waits:
            self.sender_waits = False
            agenda.schedule(self.sender, cycle + credit_cycles)


class OutputQueue(Source):
    """A queue from the compute element into the ramp (M41); `element` is None for the host's."""

    __slots__ = ("capacity", "element", "element_waits", "writer")

    def __init__(self, number: int, capacity: int, element: Receiver | None) -> None:
        super().__init__(Direction.RAMP, number)
        self.capacity = capacity
        self.element = element
        self.element_waits = False
        self.writer: User | None = None
        """The live DSD operation that writes to the queue (M45)."""

    def left(self, cycle: int, credit_cycles: int, agenda: Schedule) -> None:
        """Wake a compute element that waits for the slot, or for an empty queue.

        The slot is free for it in the next cycle.
        """
        del credit_cycles
        if self.element is None:
            return
        if self.element_waits or (not self.words and self.element.waits_for_empty_queue):
            self.element_waits = False
            agenda.schedule(self.element, cycle + 1)

    @property
    def user(self) -> User | None:
        """The live DSD operation that uses the queue."""
        return self.writer


class Channel:
    """Wavelets of one color in the ramp or waiting in a compute element: (readable from, word).

    Channels of the host have no compute element (M73).
    """

    __slots__ = ("capacity", "color", "element", "home", "queue", "reader", "router_waits", "words")

    def __init__(self, color: int, queue: int, capacity: int, element: Receiver | None) -> None:
        self.color = color
        """The color that the channel serves now (M135)."""
        self.home = color
        """The color at load, which determines its data task and its blocking."""
        self.queue = queue
        self.capacity = capacity
        self.element = element
        self.words: deque[tuple[int, int]] = deque()
        self.reader: User | None = None
        """The live DSD operation that reads the channel (M45)."""
        self.router_waits = False

    @property
    def user(self) -> User | None:
        """The live DSD operation that uses the channel."""
        return self.reader


class Link:
    """The wires from one router to a neighbour, shared by all colors (M54, M55)."""

    __slots__ = ("departures", "free_at", "num_wavelets")

    def __init__(self, window_words: int) -> None:
        self.departures: deque[int] = deque(maxlen=window_words)
        self.free_at = 0
        self.num_wavelets = 0

    def carry(self, cycle: int, window_cycles: int) -> None:
        """Account for a wavelet that leaves in `cycle`."""
        self.num_wavelets += 1
        self.departures.append(cycle)
        self.free_at = cycle + 1
        if len(self.departures) == self.departures.maxlen:
            self.free_at = max(self.free_at, self.departures[0] + window_cycles)
