"""Errors of the script's code inside calls on the wafer."""

import pytest

from onewafer.errors import UnsupportedOperationError
from onewafer.pytorch.host_calls import run_marked, with_own_errors


class MuteError(Exception):
    """An error that cannot say its message."""

    __str__ = None


def fail():
    raise MuteError


def test_an_error_that_cannot_say_its_message_is_handed_on():
    with pytest.raises(MuteError):
        with_own_errors(lambda: run_marked(fail), UnsupportedOperationError)
