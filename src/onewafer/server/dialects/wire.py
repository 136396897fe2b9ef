"""Parsing of bodies: bytes → JSON → a checked wire type; an error is one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, cast

import jiter
from pydantic import BaseModel, ConfigDict, ValidationError

from onewafer.server.contract.failures import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onewafer.server.contract.json_values import Json

MAX_MESSAGE_LENGTH = 400
"""The most characters of an error message: some quote the body."""

Unknown: TypeAlias = Literal["ignore", "forbid"]
"""The treatment of fields that a wire type does not name."""


class Wire(BaseModel):
    """Base of parts of a body: no type conversion, no infinite numbers, unknown fields ignored."""

    model_config = ConfigDict(
        strict=True, extra="ignore", allow_inf_nan=False, frozen=True, protected_namespaces=()
    )


AnyWire = TypeVar("AnyWire", bound=Wire)


def read_json(body: bytes) -> Json:
    """Parse a body, which must be a JSON object.

    Raises RequestError if it is not, if an object has a key twice, or if it is nested more than 200
    levels deep.
    """
    try:
        value = jiter.from_json(
            body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys"
        )
    except ValueError as error:
        raise RequestError(
            _clipped(f"the body is not valid JSON: {error}"), code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise RequestError('the body must be a JSON object, such as {"model": …}')
    return cast("Json", value)


def read_wire(kind: type[AnyWire], value: Json, *, unknown: Unknown = "ignore") -> AnyWire:
    """Convert a value to a wire type; raise RequestError about the first wrong field."""
    try:
        return kind.model_validate(value, extra=unknown)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        is_unknown = first["type"] == "extra_forbidden"
        if is_unknown:
            raise _unsupported(".".join(map(str, first["loc"]))) from None
        param = ".".join(map(str, _without_tags(first["loc"], value)))
        text = f"{param}: {first['msg']}" if param else first["msg"]
        raise RequestError(_clipped(text), param=param or None) from None


def refuse_fields(value: Json, allowed: frozenset[str]) -> None:
    """Raise RequestError if an object has a field that is not allowed."""
    for name in cast("Mapping[str, Json]", value):
        if name not in allowed:
            raise _unsupported(name)


def _unsupported(path: str) -> RequestError:
    return RequestError(
        _clipped(f"{path}: property '{path}' is unsupported"),
        param="validation_error",
        code="wrong_api_format",
    )


def _without_tags(path: Sequence[str | int], value: Json) -> list[str | int]:
    """Return the path of a value in a body, without pydantic's tags of unions."""
    result: list[str | int] = []
    for place, step in enumerate(path):
        is_last = place == len(path) - 1
        match value, step:
            case dict(), str() if step in value or is_last:
                result.append(step)
                value = value.get(step)
            case list(), int() if step < len(value):
                result.append(step)
                value = value[step]
            case _:
                pass
    return result


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1] + "…"
