"""A command has the options and defaults of the Python function that does the same."""

import inspect

import onewafer
from onewafer.cli.compare import compare
from onewafer.cli.run import run

WRITTEN_OTHERWISE = {"inputs", "job", "prices", "arguments", "progress"}


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def test_a_comparison_has_the_same_options_and_defaults():
    ours, theirs = defaults(onewafer.compare), defaults(compare)
    names = ours.keys() - WRITTEN_OTHERWISE

    assert {name: theirs[name] for name in names} == {name: ours[name] for name in names}


def test_a_wafer_has_the_same_options_and_defaults():
    ours, theirs = defaults(onewafer.wafer), defaults(run)
    names = ours.keys() - WRITTEN_OTHERWISE

    assert {name: theirs[name] for name in names} == {name: ours[name] for name in names}
