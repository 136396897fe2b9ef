"""Events on their way from the engine to those who wait for them: all of a turn together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.server.contract.events import Event


class Mailbox:
    """The events of one request; made in the event loop that will take them."""

    def __init__(self, outbox: Outbox) -> None:
        self.loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._written: list[Event] = []
        """Events that the engine has written and not sent."""
        self._failure: Exception | None = None
        self._arrived: list[Event] = []
        """Events that have come and were not taken: of the event loop."""
        self._failed: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        """Whoever waits for mail; an `asyncio.Event` would keep a line of them."""

    def hear(self, events: Sequence[Event]) -> None:
        """Take more events, where the engine runs."""
        if events:
            self._written.extend(events)
            self._outbox.note(self)

    def fail(self, error: Exception) -> None:
        """Take the end of the request, where the engine runs."""
        self._failure = error
        self._outbox.note(self)

    def collect(self) -> tuple[list[Event], Exception | None]:
        """Return what is to be sent, where the engine runs."""
        events, self._written = self._written, []
        return events, self._failure

    def arrive(self, events: list[Event], failure: Exception | None) -> None:
        """Take what was sent, in the event loop."""
        self._arrived += events
        self._failed = failure
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def take(self) -> Sequence[Event]:
        """Return all events that have come, at least one, after waiting for it.

        Raises the error of the request when it has failed and all events before are taken.
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
    """The mailboxes that were written to since they were sent last, where the engine runs."""

    def __init__(self) -> None:
        self._written: dict[Mailbox, None] = {}

    def note(self, mailbox: Mailbox) -> None:
        """Remember a mailbox that was written to."""
        self._written[mailbox] = None

    def deliver(self) -> None:
        """Hand everything over, in the event loop itself."""
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
            except RuntimeError:  # the loop has ended, and everyone who waited with it
                continue


_Mail = tuple[Mailbox, list["Event"], Exception | None]


def _deliver(mail: list[_Mail]) -> None:
    for mailbox, events, failure in mail:
        mailbox.arrive(events, failure)
