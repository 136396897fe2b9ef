"""Code of the script that the host runs inside a call on the wafer, and its errors.

An error of ours inside such a call is a bug and said to be one; an error of the script's code is
handed on as it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.errors import InternalError, OnewaferError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class HostCallError(Exception):
    """Carries an error of the script's code past those who look for errors of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def errors_of_script() -> Generator[None]:
    """Mark what is raised inside as raised by the script's code."""
    try:
        yield
    except Exception as error:
        raise HostCallError(error) from error


def run_marked(function: Callable[[], object]) -> object:
    """Return what a function of the script returns, its errors marked."""
    with errors_of_script():
        return function()


def with_own_errors(function: Callable[[], object]) -> object:
    """Return what a function of ours returns, and say of unforeseen errors that they are ours.

    Errors of the script's code come out as the script would see them without a wafer.
    """
    try:
        return function()
    except OnewaferError:
        raise
    except HostCallError as failure:
        error = failure.error
    except Exception as unforeseen:
        raise InternalError(f"{type(unforeseen).__name__}: {unforeseen}") from unforeseen
    raise error  # outside the handler, so that it has no other context than its own
