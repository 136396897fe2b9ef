"""JSON and server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pydantic_core

if TYPE_CHECKING:
    from onewafer.server.contract.json_values import Json


def to_body(value: Json) -> bytes:
    """Return a value as JSON in ASCII: some clients split lines at U+2028."""
    return pydantic_core.to_json(value, ensure_ascii=True)


def to_json(value: Json) -> str:
    """Return a value as JSON text in ASCII."""
    return to_body(value).decode()


def to_data(value: Json) -> str:
    """Return a value as a server-sent event without a name."""
    return f"data: {to_json(value)}\n\n"


def to_named(name: str, value: Json) -> str:
    """Return a value as a server-sent event with a name."""
    return f"event: {name}\ndata: {to_json(value)}\n\n"
