"""Writing JSON and server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.server.json_values import Json

to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Return a value as JSON text in ASCII: some clients cut lines at other separators than `\\n`."""


def to_body(value: Json) -> bytes:
    """Return a value as the body of an answer."""
    return to_json(value).encode()


def to_data(value: Json) -> str:
    """Return a value as a server-sent event without a name."""
    return f"data: {to_json(value)}\n\n"


def to_named(name: str, value: Json) -> str:
    """Return a value as a server-sent event with a name."""
    return f"event: {name}\ndata: {to_json(value)}\n\n"
