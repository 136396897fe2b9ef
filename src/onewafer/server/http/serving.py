"""The HTTP server: listening, and draining at its end: open streams are finished."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from onewafer.errors import ConfigurationError
from onewafer.server.http.app import App
from onewafer.web_pages.bounded_http import BoundedHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

    from onewafer.server.contract.service import Service
    from onewafer.server.http.options import HttpOptions

BACKLOG = 2048
"""Connections that wait to be accepted: a thousand clients may connect at once."""
LAST_WORDS_SECONDS = 1.0
"""The time that clients have to read the error of an aborted stream."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop, which takes half the time, or else of asyncio."""
    try:
        from uvloop import new_event_loop  # noqa: PLC0415  # not on every system
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


def listen(host: str, port: int, *, has_key: bool) -> socket.socket:
    """Return a listening socket; port 0 is any free one.

    Raises ConfigurationError if the port is taken, the host is not this computer's, or other
    computers could connect without a key.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigurationError(f"--host {host}: {error.strerror or error}") from None
    if not has_key and not ip_address(address[0]).is_loopback:
        raise ConfigurationError(
            f"--host {host} lets other computers in; give a key with --api-key, or listen on "
            "127.0.0.1"
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"port {port} of {host}: {error.strerror or error}; choose another one with --port "
            "(0: any that is free)"
        ) from None
    return listener


class HttpServer:
    """Serves until a signal begins a drain, and the drain is over."""

    def __init__(
        self,
        service: Service,
        options: HttpOptions,
        *,
        listener: socket.socket,
        write_log_line: Callable[[str], object],
        on_drain: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = App(service, options, write_log_line=write_log_line)
        self._options = options
        self._listener = listener
        self._on_drain = on_drain
        config = uvicorn.Config(
            self._app,
            http=BoundedHttp,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config, self.begin_drain)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer requests until a drain is over; a signal begins it, a second one shortens it."""
        self._start(self._app.open_answers.ping_forever())
        try:
            with suppress(asyncio.CancelledError):
                await self._server.serve(sockets=[self._listener])
        finally:
            for task in self._tasks:
                task.cancel()

    def begin_drain(self) -> None:
        """Finish open answers, refuse new requests, then end; a second call aborts open answers."""
        if self._app.open_answers.is_draining:
            self._start(self._drain(0.0))
            return
        self._app.open_answers.is_draining = True
        self._on_drain()
        self._start(self._drain(self._options.drain_seconds))

    async def _drain(self, seconds: float) -> None:
        open_answers = self._app.open_answers
        await open_answers.wait_until_none(seconds)
        if open_answers.num_open:
            open_answers.cut()
            await open_answers.wait_until_none(LAST_WORDS_SECONDS)
        self._server.should_exit = True

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Server(uvicorn.Server):
    """A uvicorn server whose signals begin a drain."""

    def __init__(self, config: uvicorn.Config, begin_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._begin_drain = begin_drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and keep the event loop for the signal handler."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin a drain in the event loop."""
        del sig, frame
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin_drain)
