"""The HTTP server of a page, on the loopback interface, for a browser on this computer.

Requests for other host names, or from pages of other servers, are refused: a foreign page could
make its own name point here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError, OnewaferError
from onewafer.web_pages import HEADERS, LOOPBACK_NAMES, is_loopback, is_same_origin, read_page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from onewafer.viewer.page_parts import Parts

HOST = "127.0.0.1"
RUN_PAGE = "onewafer.viewer.page"
"""The package with the page of a run."""
_LAST_PORT = 65_535
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_END = 1


def serve_page(
    parts: Parts,
    *,
    port: int,
    title: str,
    say: Callable[[str], object],
    look: Callable[[], int],
    page: str = RUN_PAGE,
) -> None:
    """Serve until a signal; `say` gets the address. Port 0 is any free one.

    `look` returns a number that changes when the parts do; `page` is the package of the page.

    Raises:
        ConfigurationError: the port is taken, or Starlette and uvicorn are not installed.
    """
    require_server()
    listener = listen(port)
    say(f"{address_of(listener)} shows {title}; Ctrl-C ends")
    serve_on(listener, parts, look, page)


def serve_on(
    listener: socket.socket, parts: Parts, look: Callable[[], int], page: str = RUN_PAGE
) -> None:
    """Serve a page on a socket until a signal."""
    server = make_server(parts, look, page)
    with listener:
        asyncio.run(server.serve(sockets=[listener]))


def make_server(parts: Parts, look: Callable[[], int], page: str = RUN_PAGE) -> Any:  # noqa: ANN401  # a uvicorn.Server
    """Return the server of a page, not listening yet."""
    app = make_app(parts, look, is_ending=lambda: bool(server.should_exit), page=page)
    uvicorn = import_module("uvicorn")
    bounded_http = import_module("onewafer.web_pages.bounded_http")
    config = uvicorn.Config(
        app,
        http=bounded_http.BoundedHttp,
        log_level="error",
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    server = uvicorn.Server(config)
    return server


def address_of(listener: socket.socket) -> str:
    """Return the URL of the page on a socket."""
    return f"http://{HOST}:{listener.getsockname()[1]}/"


def require_server() -> None:
    """Raise ConfigurationError if Starlette, uvicorn or httptools is not installed."""
    if None in map(find_spec, ("starlette", "uvicorn", "httptools")):
        raise ConfigurationError(
            "a page needs Starlette, uvicorn and httptools; they are not installed: "
            "pip install 'onewafer[view]', or write --html FILE or --png FILE"
        )


def make_app(
    parts: Parts,
    look: Callable[[], int] = int,  # always 0: parts that do not change
    is_ending: Callable[[], bool] = bool,
    *,
    page: str = RUN_PAGE,
) -> Any:  # noqa: ANN401  # a Starlette, if it is installed
    """Return the ASGI application of a page; `/events` streams the changes of its parts.

    The browser keeps that stream open: the server ends it when it `is_ending`.

    Raises:
        ConfigurationError: Starlette or uvicorn is not installed.
    """
    require_server()
    starlette, routing, responses = (
        import_module(f"starlette.{name}") for name in ("applications", "routing", "responses")
    )
    lock = threading.Lock()
    files = read_page(page)

    def answer(request: Request) -> Response:
        refusal = _refusal(request)
        if refusal is not None:
            return responses.PlainTextResponse(refusal, 403, headers=HEADERS)
        if request.url.path == "/events":
            media_type = "text/event-stream"
            return responses.StreamingResponse(
                _changes(look, lock, is_ending), media_type=media_type, headers=HEADERS
            )
        file = files.get(request.url.path)
        if file is not None:
            return responses.Response(file.body, media_type=file.media_type, headers=HEADERS)
        path = request.url.path.removeprefix("/run/")
        try:
            with lock:  # a recording has one file position
                found = parts.find(path) if path != request.url.path else None
        except OnewaferError as error:  # a damaged recording, an unknown machine
            return responses.PlainTextResponse(str(error), 500, headers=HEADERS)
        if found is None:
            return responses.PlainTextResponse("there is no such page", 404, headers=HEADERS)
        kind = "application/json" if path.endswith(".json") else "application/octet-stream"
        return responses.Response(found, media_type=kind, headers=HEADERS)

    return starlette.Starlette(routes=[routing.Route("/{path:path}", answer)])


async def _changes(
    look: Callable[[], int], lock: threading.Lock, is_ending: Callable[[], bool]
) -> AsyncGenerator[str]:
    """Yield a server-sent event at each change."""
    seen = None
    while not is_ending():
        with lock:
            found = look()
        if found != seen:
            seen = found
            yield f"data: {found}\n\n"
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def _refusal(request: Request) -> str | None:
    """Return the reason to refuse a request; None: it is allowed."""
    host = request.headers.get("host", "")
    if not is_loopback(host):
        return f"this server answers only as {' or '.join(LOOPBACK_NAMES)}"
    origin = request.headers.get("origin")
    if origin is not None and not is_same_origin(origin, host):
        return "pages of other servers may not ask this one"
    return None


def listen(port: int) -> socket.socket:
    """Return a listening socket on the loopback interface. Port 0 is any free one.

    Raises:
        ConfigurationError: the port is taken.
    """
    if not 0 <= port <= _LAST_PORT:
        raise ConfigurationError(f"--port {port}: write 0 to {_LAST_PORT}")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigurationError(
                f"--port {port} is taken by another program; choose another one, or 0 for any"
            ) from None
        raise ConfigurationError(f"--port {port}: {error.strerror or error}") from None
