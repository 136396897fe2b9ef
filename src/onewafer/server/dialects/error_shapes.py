"""Errors as OpenAI, Cerebras and Anthropic write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.json_values import Json

_OPENAI_TYPES = {429: "rate_limit_error", 500: "server_error", 503: "service_unavailable_error"}
_OPENAI_CODES = {401: "invalid_api_key", 404: "not_found"}
_CEREBRAS_TYPES = {
    404: "not_found_error",
    429: "too_many_requests_error",
    500: "server_error",
    503: "service_unavailable_error",
}
_CEREBRAS_CODES = {401: "wrong_api_key", 404: "not_found", 429: "queue_exceeded"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
_INVALID = "invalid_request_error"


class ErrorShape(Protocol):
    """Writes an error as a dialect does."""

    def __call__(self, failure: RequestError, request_id: str) -> Mapping[str, Json]:
        """Return the body of the answer."""
        ...


def openai_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return an error as OpenAI writes it: an object in the field `error`."""
    del request_id
    return {
        "error": {
            "message": str(failure),
            "type": _OPENAI_TYPES.get(failure.status, _INVALID),
            "param": failure.param,
            "code": failure.code or _OPENAI_CODES.get(failure.status),
        }
    }


def openai_error_chunk(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return an error in a stream: clients of OpenAI and of Cerebras raise it."""
    error = {
        "id": request_id,
        "message": str(failure),
        "type": _OPENAI_TYPES.get(failure.status, _INVALID),
        "param": failure.param,
        "code": failure.code or _OPENAI_CODES.get(failure.status),
    }
    return {"error": error, "status_code": failure.status}


def cerebras_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return an error as Cerebras writes it: flat."""
    del request_id
    return {
        "message": str(failure),
        "type": _CEREBRAS_TYPES.get(failure.status, _INVALID),
        "param": failure.param,
        "code": failure.code or _CEREBRAS_CODES.get(failure.status, "wrong_api_format"),
    }


def anthropic_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return an error as Anthropic writes it: `error` inside an object of the type `error`."""
    return {
        "type": "error",
        "error": {
            "type": _ANTHROPIC_TYPES.get(failure.status, _INVALID),
            "message": str(failure),
        },
        "request_id": request_id,
    }
