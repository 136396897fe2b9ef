"""A command and the function of the Python API that does the same have the same defaults."""

import inspect

from onewafer import api
from onewafer.api import wafer_options
from onewafer.cli.compare import compare
from onewafer.cli.run import run

OTHERWISE = {"inputs", "job", "prices", "arguments", "progress"}
"""Arguments of Python that a command line writes in another way."""
OF_THE_SIMULATOR = {"engine", "max_cycles", "threads"}


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def test_a_comparison_has_the_same_options_and_defaults():
    ours, theirs = defaults(api.compare), defaults(compare)
    names = ours.keys() - OTHERWISE

    assert {name: theirs[name] for name in names} == {name: ours[name] for name in names}


def test_a_wafer_has_the_same_options_and_defaults():
    ours, theirs = defaults(api.wafer), defaults(run)
    names = ours.keys() - OTHERWISE
    simulated = {name: theirs[name] for name in OF_THE_SIMULATOR}

    assert simulated == {name: ours[name] for name in OF_THE_SIMULATOR}
    assert wafer_options(**{name: theirs[name] for name in names - OF_THE_SIMULATOR}) == (
        wafer_options(**{name: ours[name] for name in names - OF_THE_SIMULATOR})
    )
