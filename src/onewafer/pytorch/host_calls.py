"""Code of the script that the host runs inside a call on the wafer, and its errors.

An error of ours inside such a call is a bug and said to be one; an error of the script's code is
handed on as it is.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onewafer.errors import (
    CompileError,
    GraphError,
    HostError,
    ImageError,
    InternalError,
    LongRunError,
    OnewaferError,
    SimulationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class _ThisThread(threading.local):
    """The script's code in this thread."""

    num_runs = 0
    """How often it was run inside calls on the wafer."""


class HostCallError(Exception):
    """Carries an error of the script's code past those who look for errors of ours."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def errors_of_script() -> Generator[None]:
    """Mark what is raised inside as raised by the script's code."""
    _THIS_THREAD.num_runs += 1
    try:
        yield
    except Exception as error:
        raise HostCallError(error) from error


def run_marked(function: Callable[[], object]) -> object:
    """Return what a function of the script returns, its errors marked."""
    with errors_of_script():
        return function()


def with_own_errors(
    function: Callable[[], object], refuse: Callable[[Exception], OnewaferError]
) -> object:
    """Return what a function of ours returns; an error of ours in it is refused, or said to be one.

    `refuse` makes a refusal of it, so that the host makes the call. Where the script's code has run
    already, the host cannot do it once more. Errors of that code come out as the script would see
    them without a wafer.
    """
    num_runs = _THIS_THREAD.num_runs
    try:
        return function()
    except HostCallError as failure:
        error = failure.error
    except Exception as found:
        if not is_own_error(found):
            raise
        if _THIS_THREAD.num_runs == num_runs:
            raise refuse(found) from found
        if isinstance(found, OnewaferError):
            raise
        raise InternalError(f"{type(found).__name__}: {found}") from found
    raise error  # outside the handler, so that it has no other context than its own


def is_own_error(error: Exception) -> bool:
    """Tell whether an error in a call of ours is a bug of ours, and none of the user's."""
    if isinstance(error, OnewaferError):
        return isinstance(error, _OURS) and not isinstance(error, LongRunError)
    return not isinstance(error, HostCallError)


class HeldResult:
    """A result of the host, which is kept even if accounting for it on the wafer fails."""

    def __init__(self, compute: Callable[[], object]) -> None:
        self._compute = compute
        self.is_there = False
        self.value: object = None

    def __call__(self) -> object:
        """Compute the result, and hold it."""
        self.value = run_marked(self._compute)
        self.is_there = True
        return self.value


_OURS = (CompileError, GraphError, HostError, ImageError, InternalError, SimulationError)
"""Errors that only a program of ours can raise in the call of a module."""
_THIS_THREAD = _ThisThread()
