"""The comparison of engines has teeth: every small mistake in the fast engine is found.

A mutant is a copy of the package with one line changed. It runs as plain Python in a process of its
own, so that nothing has to be compiled, and so that no mutant can reach the real engine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import onewafer

ROOT = Path(__file__).parents[2]
PACKAGE = Path(onewafer.__file__).parent

MUTANTS = {
    "credit: one place too many": (
        "router.py",
        "return s.sources[buffer, SOURCE_USED] < s.sources[buffer, SOURCE_CAPACITY]",
        "return s.sources[buffer, SOURCE_USED] < s.sources[buffer, SOURCE_CAPACITY] - 1",
    ),
    "credit: known a cycle early": (
        "router.py",
        "known = cycle + s.timing[T_CREDIT]",
        "known = cycle + s.timing[T_CREDIT] - 1",
    ),
    "latency: a hop takes a cycle more": (
        "router.py",
        "arrival = cycle + s.timing[T_HOP]",
        "arrival = cycle + s.timing[T_HOP] + 1",
    ),
    "latency: the ramp is a cycle short": (
        "data_path.py",
        "routable = cycle + 1 + s.timing[T_RAMP]",
        "routable = cycle + s.timing[T_RAMP]",
    ),
    "link window: an entry too late": (
        "router.py",
        "(count + 1) % window]",
        "(count + 2) % window]",
    ),
    "arbitration: last served first": (
        "router.py",
        "s.sources[source, SOURCE_LAST_MOVE] < s.sources[other, SOURCE_LAST_MOVE]",
        "s.sources[source, SOURCE_LAST_MOVE] > s.sources[other, SOURCE_LAST_MOVE]",
    ),
    "arbitration: higher color first": (
        "router.py",
        "return color < other_color",
        "return color > other_color",
    ),
    "data path: last served first": (
        "data_path.py",
        "s.operations[op, OP_LAST_SERVED] < s.operations[other, OP_LAST_SERVED]",
        "s.operations[op, OP_LAST_SERVED] > s.operations[other, OP_LAST_SERVED]",
    ),
    "data path: the main thread ranks lowest": (
        "operation.py",
        "_MAIN_RANK = 1",
        "_MAIN_RANK = -1",
    ),
    "picker: starts from the last task": (
        "tasks.py",
        "start = s.pes[pe, PE_LAST_PICKED] + 1",
        "start = s.pes[pe, PE_LAST_PICKED]",
    ),
    "picker: a data task does not wait for the operation": (
        "tasks.py",
        "or s.channels[channel, CHANNEL_COUNT] == 0",
        "or s.channels[channel, CHANNEL_COUNT] <= 1",
    ),
    "multicast: the ramp does not hold up the others": (
        "router.py",
        "s.channels[channel, CHANNEL_COUNT] >= s.channels[channel, CHANNEL_CAPACITY]",
        "s.channels[channel, CHANNEL_COUNT] > s.channels[channel, CHANNEL_CAPACITY]",
    ),
    "statistics: a wait is counted to the wrong cycle": (
        "data_path.py",
        "    s.operations[op, OP_COUNTED_TO] = cycle\n",
        "    s.operations[op, OP_COUNTED_TO] = cycle + 1\n",
    ),
}
DRIVER = """
from hypothesis import HealthCheck, Phase, given, settings
from tests.simulator.generation import programs
from tests.simulator.test_engines_agree import assert_agreement

@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(programs())
def compare(program):
    try:
        assert_agreement(*program)
    except (AssertionError, IndexError):
        print("found")
        raise SystemExit(0)

compare()
"""


def compare(folder):
    """Compare the engines of the package in `folder`; return what the process printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "NUMBA_DISABLE_JIT": "1",
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_engine_itself_is_no_mutant():
    assert "found" not in compare(PACKAGE.parent)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found(tmp_path, name):
    file, line, changed = MUTANTS[name]
    shutil.copytree(PACKAGE, tmp_path / "onewafer", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "onewafer" / "simulator" / "fast" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(line) == 1
    path.write_text(text.replace(line, changed), encoding="utf-8")
    assert "found" in compare(tmp_path)
