"""Why a request is refused or breaks off; each dialect has its own shape for them."""

from __future__ import annotations

from onewafer.errors import OnewaferError


class RequestError(OnewaferError):
    """The request itself cannot be done; `status` is that of HTTP."""

    status = 400
    usual_code: str | None = None
    """The code where the error names none."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        """The field that is wrong, as `messages.0.content`."""
        self.code = code or self.usual_code
        """A word for programs, as `context_length_exceeded`."""


class UnauthorizedError(RequestError):
    """The key is missing or wrong."""

    status = 401


class ForbiddenError(RequestError):
    """The request comes from a page that may not ask."""

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
    """The address is there, for another method of HTTP."""

    status = 405
    usual_code = "method_not_allowed"


class SlowBodyError(RequestError):
    """The body does not come."""

    status = 408
    usual_code = "timeout"


class BodyTooLargeError(RequestError):
    """The body has more bytes than the server reads."""

    status = 413
    usual_code = "request_too_large"


class BusyError(RequestError):
    """The queue is full; `retry_after_seconds` says when there may be room."""

    status = 429
    usual_code = "queue_full"

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BrokenError(RequestError):
    """The server itself is at fault: a bug."""

    status = 500
    usual_code = "internal_error"


class UnavailableError(RequestError):
    """The server is loading its model, or shuts down."""

    status = 503
    usual_code = "unavailable"
