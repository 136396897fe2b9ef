"""The exception tree says where, and bugs of ours say how to report them."""

import pytest

from onewafer import errors
from onewafer.errors import (
    CompileError,
    ConfigurationError,
    DeadlockError,
    InternalError,
    OnewaferError,
    Place,
    SimulationError,
    TooLargeError,
)


def test_every_error_is_an_onewafer_error():
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert len(classes) > 8
    assert all(issubclass(c, OnewaferError) for c in classes)
    assert all(c.exit_code > 0 for c in classes)


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(CompileError("no"), 1), (ConfigurationError("no"), 2), (InternalError("no"), 70)],
)
def test_exit_codes(error, exit_code):
    assert error.exit_code == exit_code


def test_a_simulation_error_names_its_place():
    error = DeadlockError("waits for color 3", Place(1, 2, 345))
    assert str(error) == "PE (1, 2) at cycle 345: waits for color 3"
    assert error.reason == "waits for color 3"
    assert str(SimulationError("no place")) == "no place"


def test_a_compile_error_keeps_its_diagnostics():
    assert CompileError("rendered", ["finding"]).diagnostics == ("finding",)


def test_an_internal_error_says_how_to_report_it():
    message = str(InternalError("impossible"))
    assert message.startswith("internal error: impossible\n")
    assert "Python 3." in message
    assert "please report it with the command and the input" in message


def test_a_refusal_has_a_cause_for_those_who_have_other_options():
    error = TooLargeError("it needs 9 PEs", remedy="choose a smaller model").again()
    assert str(error) == "it needs 9 PEs; choose a smaller model"
    assert error.cause == "it needs 9 PEs"
