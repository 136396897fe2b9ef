"""The life of a server: listen, load, answer, drain."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf import Rows
from onewafer.process.garbage import collection_while_serving, keep_what_is_there
from onewafer.server.engine.service import LiveService
from onewafer.server.http.serving import HttpServer, listen, new_event_loop
from onewafer.units import count_of, format_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from onewafer.server.engine.service import Loaded
    from onewafer.server.http.options import HttpOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a server."""

    host: str = "127.0.0.1"
    port: int = 8000
    """The port; 0: any free one."""


def run(
    load: Callable[[], Loaded],
    address: Address,
    http: HttpOptions,
    *,
    say: Callable[[str], object],
    write_log_line: Callable[[str], object],
) -> None:
    """Listen at once, load the model, answer until a signal; return after the drain.

    Raises:
        ConfigurationError: the port is taken; also any error of `load`.
    """
    listener = listen(address.host, address.port, has_key=bool(http.keys))
    host, port = listener.getsockname()[:2]
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say(f"listening on {where} while the model loads")

    def ready(loaded: Loaded) -> None:
        for line in describe(loaded, where):
            say(line)

    service = LiveService()
    server = HttpServer(
        service, http, listener=listener, write_log_line=write_log_line, on_drain=service.drain
    )
    try:
        with collection_while_serving(), asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(server, service, load, ready))
    finally:
        listener.close()
        service.close()


def describe(loaded: Loaded, where: str) -> list[str]:
    """Return the lines for the terminal when the server is ready."""
    system, model = loaded.system, loaded.model
    token = system.time(Rows(tokens=1, token_position=system.context // 2))
    prompt = system.time(
        Rows(prompts=1, prompt_rows=min(system.most_prompt_rows, system.context - 1))
    )
    read = min(system.most_prompt_rows, system.context - 1) / prompt.period_seconds
    slots = count_of(system.replicas * system.num_slots, "answer")
    rate, reading = format_rate(1 / token.latency_seconds), format_rate(read)
    return [
        f"{model.id} on {system.title}: {system.layout}",
        f"context {model.context_length:,} tokens, {slots} at a time",
        f"{rate} tokens/s for one reader, prompts at up to {reading} tokens/s",
        *loaded.notes,
        f"OpenAI clients: {where}/v1; Anthropic and Cerebras clients, and the page: {where}",
    ]


async def _serve(
    server: HttpServer,
    service: LiveService,
    load: Callable[[], Loaded],
    ready: Callable[[Loaded], None],
) -> None:
    loop = asyncio.get_running_loop()
    loading: asyncio.Future[Loaded] = loop.create_future()

    def work() -> None:
        try:
            result = load()
        except StopIteration as error:  # the only exception that a future refuses
            _tell(loop, loading.set_exception, RuntimeError(repr(error)))
        except BaseException as error:  # noqa: BLE001  # raised again below
            _tell(loop, loading.set_exception, error)
        else:
            _tell(loop, loading.set_result, result)

    # A daemon: the server can end before the model is loaded.
    threading.Thread(target=work, name="onewafer-loading", daemon=True).start()
    serving = asyncio.create_task(server.serve())
    await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        if loading.exception() is None:
            service.begin(loading.result())
            ready(loading.result())
            keep_what_is_there()
        else:
            server.begin_drain()
    await serving
    if loading.done():
        loading.result()


def _tell(loop: asyncio.AbstractEventLoop, method: Callable[..., None], value: object) -> None:
    """Call a method in the event loop, unless it is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(method, value)
