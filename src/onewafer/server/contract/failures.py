"""Errors of requests; each dialect writes them in its own form."""

from __future__ import annotations

from onewafer.errors import OnewaferError


class RequestError(OnewaferError):
    """The request is wrong or failed; `status` is the HTTP status."""

    status = 400
    usual_code: str | None = None
    """The default of `code`."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        """The wrong field, such as `messages.0.content`."""
        self.code = code or self.usual_code
        """A machine-readable word, such as `context_length_exceeded`."""


class UnauthorizedError(RequestError):
    """The key is missing or wrong."""

    status = 401


class ForbiddenError(RequestError):
    """The request has a host or an origin that is not allowed."""

    status = 403
    usual_code = "forbidden"


class UnknownModelError(RequestError):
    """No such model is served."""

    status = 404
    usual_code = "model_not_found"


class UnknownPathError(RequestError):
    """Nothing is at this address."""

    status = 404
    usual_code = "unknown_url"


class MethodError(RequestError):
    """The path exists, for another HTTP method."""

    status = 405
    usual_code = "method_not_allowed"


class SlowBodyError(RequestError):
    """The body did not arrive in time."""

    status = 408
    usual_code = "timeout"


class BodyTooLargeError(RequestError):
    """The body is larger than the limit."""

    status = 413
    usual_code = "request_too_large"


class BusyError(RequestError):
    """The queue is full; after `retry_after_seconds` there may be room."""

    status = 429
    usual_code = "queue_full"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BrokenError(RequestError):
    """The server has a bug."""

    status = 500
    usual_code = "internal_error"


class UnavailableError(RequestError):
    """The server is loading its model, or shuts down."""

    status = 503
    usual_code = "unavailable"
