"""Options of the HTTP side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Keys, origins, limits of bodies, and timeouts."""

    keys: tuple[str, ...] = ()
    """The accepted keys; none: only requests to a loopback address are accepted."""
    origins: tuple[str, ...] = ()
    """Allowed origins of other pages (CORS), such as `https://example.org`; `*`: all."""
    max_body_bytes: int = 16 * 2**20
    body_seconds: float = 60.0
    """The time limit of a body."""
    drain_seconds: float = 30.0
    """The time that open streams have when the server shuts down."""
    ping_seconds: float = 15.0
    """The interval of pings in silent streams."""
    is_strict: bool = False
    """True if OpenAI's dialects refuse unknown fields, as Cerebras does (`--strict cerebras`)."""
