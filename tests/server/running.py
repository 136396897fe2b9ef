"""The real server on a loopback port, in a thread of the test."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onewafer.server.contract.service import Service
from onewafer.server.http.options import HttpOptions
from onewafer.server.http.serving import HttpServer, listen, new_event_loop


@dataclass
class Running:
    """A server that answers."""

    server: HttpServer
    port: int
    log: list[str]
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, function: Callable[[], object]) -> None:
        """Call something in the event loop of the server."""
        self.loop.call_soon_threadsafe(function)

    def join(self, seconds: float = 20.0) -> None:
        """Wait until the server has ended by itself."""
        self.thread.join(seconds)
        assert not self.thread.is_alive()


@contextmanager
def serving(
    service: Service,
    options: HttpOptions | None = None,
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
) -> Iterator[Running]:
    """Run a server for the length of a block."""
    options = options or HttpOptions()
    listener = listen("127.0.0.1", 0, has_key=bool(options.keys))
    log: list[str] = []
    server = HttpServer(service, options, listener=listener, write_log_line=log.append)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=lambda: runner.run(server.serve()), daemon=True)
        thread.start()
        running = Running(server, listener.getsockname()[1], log, loop, thread)
        try:
            yield running
        finally:
            for _ in range(2):  # the second call breaks answers off
                if thread.is_alive():
                    running.call(server.begin_drain)
            running.join()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another thread does."""
    event = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("it did not happen")
