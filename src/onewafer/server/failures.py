"""Why a request is refused or breaks off; each dialect has its own shape for them."""

from __future__ import annotations

from onewafer.errors import OnewaferError


class RequestError(OnewaferError):
    """The request itself cannot be done; `status` is that of HTTP."""

    status = 400

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        """The field that is wrong, as `messages.0.content`."""
        self.code = code
        """A word for programs, as `context_length_exceeded`."""


class UnauthorizedError(RequestError):
    """The key is missing or wrong."""

    status = 401


class UnknownModelError(RequestError):
    """No such model is served."""

    status = 404


class BodyTooLargeError(RequestError):
    """The body has more bytes than the server reads."""

    status = 413


class BusyError(RequestError):
    """The queue is full; `retry_after_seconds` says when there may be room."""

    status = 429

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message, code="queue_full")
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(RequestError):
    """The server is loading its model, or shuts down."""

    status = 503
