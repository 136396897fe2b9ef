"""Profiles of the property tests: `ci` (bounded, the same cases every time) and `deep`.

Choose with `pytest --hypothesis-profile=deep`.

Background jobs of a shell start with Ctrl-C ignored, and their children inherit that: tests that
interrupt a run would wait for ever.

PyTorch computes with one thread, in these processes and in those that they start: the workers have
the cores, and threads that wait for a core held by another worker made scripts take twice as long.

Tests marked `long` begin first: at the end of a run, all other workers would wait for them.

What is there before the first test stays to the end: a million objects of PyTorch and of pytest,
which the garbage collector skips. Collecting took a twelfth of the time of all tests.
"""

import gc
import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("deep", max_examples=5000, deadline=None)
settings.load_profile("ci")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
