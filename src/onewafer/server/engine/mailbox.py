"""Delivery of events from the engine to the event loop, in batches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import Event


class Mailbox:
    """The events of one request; must be created in the event loop that takes them."""

    def __init__(self, outbox: Outbox) -> None:
        self.loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._written: list[Event] = []
        """Events written by the engine and not sent; owned by the engine's thread."""
        self._failure: Exception | None = None
        self._arrived: list[Event] = []
        """Events that arrived and were not taken; owned by the event loop."""
        self._failed: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        """The one waiting task; an `asyncio.Event`, for several, would be slower."""

    def hear(self, events: Sequence[Event]) -> None:
        """Add events, in the engine's thread."""
        if events:
            self._written.extend(events)
            self._outbox.note(self)

    def fail(self, error: Exception) -> None:
        """Note that the request was refused or failed, in the engine's thread."""
        self._failure = error
        self._outbox.note(self)

    def collect(self) -> tuple[list[Event], Exception | None]:
        """Return what is to be sent, in the engine's thread."""
        events, self._written = self._written, []
        return events, self._failure

    def arrive(self, events: list[Event], failure: Exception | None) -> None:
        """Receive what was sent, in the event loop."""
        self._arrived += events
        self._failed = failure
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def take(self) -> Sequence[Event]:
        """Wait for events, and return all that have arrived, at least one.

        Raises the error of a failed request after all its events were taken.
        """
        if not self._arrived and self._failed is None:
            self._waiting = self.loop.create_future()
            await self._waiting
        events, self._arrived = self._arrived, []
        if not events:
            assert self._failed is not None, "mail is events or a failure"
            raise self._failed
        return events


class Outbox:
    """The mailboxes with events to send; owned by the engine's thread."""

    def __init__(self) -> None:
        self._written: dict[Mailbox, None] = {}

    def note(self, mailbox: Mailbox) -> None:
        """Add a mailbox with events to send."""
        self._written[mailbox] = None

    def deliver(self) -> None:
        """Send everything, if the engine runs in the event loop itself."""
        written, self._written = self._written, {}
        for mailbox in written:
            mailbox.arrive(*mailbox.collect())

    def flush(self) -> None:
        """Send everything from another thread, with one wake-up of each event loop."""
        if not self._written:
            return
        by_loop: dict[asyncio.AbstractEventLoop, list[_Mail]] = {}
        for mailbox in self._written:
            by_loop.setdefault(mailbox.loop, []).append((mailbox, *mailbox.collect()))
        self._written.clear()
        for loop, mail in by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver, mail)
            except RuntimeError:  # the loop is closed
                continue


_Mail = tuple[Mailbox, list["Event"], Exception | None]


def _deliver(mail: list[_Mail]) -> None:
    for mailbox, events, failure in mail:
        mailbox.arrive(events, failure)
