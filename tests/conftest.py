"""Profiles of the property tests: `ci` and `full` (bounded, the same cases every time), and `deep`.

Choose with `pytest --hypothesis-profile=deep`. `ci` tries the first sixth of the cases that a
test names, unless it is slow; `full`, which `.ci/full` runs, tries them all.

Background jobs of a shell start with Ctrl-C ignored, and their children inherit that: tests that
interrupt a run would wait for ever.

PyTorch computes with one thread, in these processes and in those that they start: the workers have
the cores, and threads that wait for a core held by another worker made scripts take twice as long.

Where the combinations of parameters take long, and each checks what a neighbour checks, too, the
mark `alternate` makes every second one a slow test; `alternate(4)` leaves every fourth one.

Tests marked `long` begin first: at the end of a run, all other workers would wait for them.

PyTorch writes a structured log of each graph that it traces, if a handler reads it. pytest adds one
to every logger that does not propagate: a twentieth of the time of the tests of PyTorch.

What is there before the first test stays to the end: a million objects of PyTorch and of pytest,
which the garbage collector skips. Collecting took a twelfth of the time of all tests, and a fifth
of that in which the tests were imported: meanwhile there is no garbage worth looking for.
"""

import gc
import logging
import os
import signal
import sys
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

for name in ("ci", "full"):
    settings.register_profile(
        name,
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
settings.register_profile("deep", max_examples=5000, deadline=None)
settings.load_profile("ci")

SHARE = 6
SETTINGS = "_hypothesis_internal_use_settings"  # what `@settings` sets; it has no public name

gc.disable()  # until all tests are known

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
os.environ["ONEWAFER_RAISE_OWN_ERRORS"] = "1"  # the host hides no bug of ours

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before slow tests are left out
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in left_out([item for item in items if item.get_closest_marker("alternate")]):
        item.add_marker(pytest.mark.slow)
    if settings.get_current_profile_name() == "ci":
        quick = [item for item in items if not item.get_closest_marker("slow")]
        thin_out(filter(is_hypothesis_test, {getattr(item, "function", None) for item in quick}))


def left_out(items):
    """Yield the tests whose parameters' places in their lists have an odd sum.

    The others have every value, and with more than two lists every pair of values. With a number
    in the mark, these are those whose sum it does not divide.
    """
    places = defaultdict(dict)
    for item in items:
        total = 0
        for mark in item.iter_markers("parametrize"):
            names = mark.args[0]
            row = (names,) if isinstance(names, str) else tuple(names)
            known = places[item.function, row]
            total += known.setdefault(tuple(id(item.callspec.params[n]) for n in row), len(known))
        (share,) = item.get_closest_marker("alternate").args or (2,)
        if total % share:
            yield item


def thin_out(functions):
    """Let properties try a sixth of the cases that they name."""
    for function in functions:
        named = getattr(function, SETTINGS, None) or settings.default
        setattr(function, SETTINGS, settings(named, max_examples=-(-named.max_examples // SHARE)))


def pytest_collection_finish():
    if "torch" in sys.modules:  # it sets up its loggers when it is imported
        logging.getLogger("torch.__trace").propagate = True
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def emitted_programs_are_compiled_once():
    """Executors of all tests share images of equal programs: what they check is what these do."""
    executable = sys.modules.get("onewafer.execution.executable")
    if executable is None:  # no test can run an emitted program
        yield
        return
    from tests.compiled_once import compile_once  # noqa: PLC0415 - a compiler for those who need it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executable, "compile_program", compile_once)
        yield
