"""Bodies of errors in the forms of OpenAI, Cerebras and Anthropic."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.server.contract.failures import RequestError
    from onewafer.server.contract.json_values import Json

    ErrorShape: TypeAlias = Callable[[RequestError, str], Mapping[str, Json]]
    """Returns the body of an error, from the failure and the id of the request."""

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


def openai_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return OpenAI's form: an object in the field `error`."""
    del request_id
    return {"error": _openai_fields(failure)}


def openai_error_chunk(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return the last chunk of a broken stream, which clients of OpenAI and Cerebras raise."""
    error = {"id": request_id, **_openai_fields(failure)}
    return {"error": error, "status_code": failure.status}


def _openai_fields(failure: RequestError) -> Mapping[str, Json]:
    return {
        "message": str(failure),
        "type": _OPENAI_TYPES.get(failure.status, _INVALID),
        "param": failure.param,
        "code": failure.code or _OPENAI_CODES.get(failure.status),
    }


def cerebras_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return Cerebras' form: the same fields, without an object around them."""
    del request_id
    return {
        "message": str(failure),
        "type": _CEREBRAS_TYPES.get(failure.status, _INVALID),
        "param": failure.param,
        "code": failure.code or _CEREBRAS_CODES.get(failure.status, "wrong_api_format"),
    }


def anthropic_error(failure: RequestError, request_id: str) -> Mapping[str, Json]:
    """Return Anthropic's form: `error` inside an object of type `error`."""
    return {
        "type": "error",
        "error": {
            "type": _ANTHROPIC_TYPES.get(failure.status, _INVALID),
            "message": str(failure),
        },
        "request_id": request_id,
    }
