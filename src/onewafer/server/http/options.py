"""Options of the HTTP side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Who may ask, how much, and how the server ends."""

    keys: tuple[str, ...] = ()
    """One of them must come with a request; none: only requests to a loopback address come in."""
    origins: tuple[str, ...] = ()
    """Pages of other servers that may ask (CORS), as `https://example.org`; `*`: all."""
    max_body_bytes: int = 16 * 2**20
    body_seconds: float = 60.0
    """Within these a body must have come."""
    drain_seconds: float = 30.0
    """Streams that are open when the server is asked to end have so long."""
    ping_seconds: float = 15.0
    """A stream that was silent for so long says that it is there."""
    is_strict: bool = False
    """True if OpenAI's dialects refuse unknown fields, as Cerebras does (`--strict cerebras`)."""
