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
FEATURE_MUTANTS = {
    "switch: turns a cycle late": (
        "switching.py",
        "    if s.switches[row, SWITCH_CHANGED] == cycle:\n",
        "    if 0 <= cycle - s.switches[row, SWITCH_CHANGED] <= 1:\n",
    ),
    "switch: a control wavelet takes the new route": (
        "switching.py",
        "position = in_force(s, row, SWITCH_POSITION, cycle)",
        "position = following(s, row) if is_control(word) else s.switches[row, SWITCH_POSITION]",
    ),
    "switch: the last position is the first of no ring": (
        "switching.py",
        "return 0 if s.switches[row, SWITCH_IS_RING] else position",
        "return position if s.switches[row, SWITCH_IS_RING] else 0",
    ),
    "switch: one pop mode is as another": (
        "switch_tables.py",
        "PopMode.POP_ON_ADVANCE_NOP: 1 << ADVANCE | 1 << NO_OPERATION",
        "PopMode.POP_ON_ADVANCE_NOP: 1 << ADVANCE",
    ),
    "filter: the upper bound is left out": (
        "switching.py",
        "index <= s.switches[row, SWITCH_MAXIMUM]",
        "index < s.switches[row, SWITCH_MAXIMUM]",
    ),
    "filter: the period is one too short": (
        "switching.py",
        "counter == s.switches[row, SWITCH_LIMIT]",
        "counter + 1 == s.switches[row, SWITCH_LIMIT]",
    ),
    "control: an operation takes the wavelet": (
        "data_path.py",
        "            if is_control_next(s, channel):\n",
        "            if ready < 0:\n",
    ),
    "control: the data task takes the wavelet": (
        "tasks.py",
        "    if is_control_next(s, channel):\n        return False\n",
        "",
    ),
    "control: nobody looks behind the data": (
        "watched.py",
        "    if ready < FAR and is_control_next(s, channel):\n",
        "    if ready < 0:\n",
    ),
    "FIFO: one place is never used": (
        "rings.py",
        "return count == s.rings[ring, RINGS_BYTES] // width",
        "return count + 1 >= s.rings[ring, RINGS_BYTES] // width",
    ),
    "FIFO: the task of the other end is activated": (
        "rings.py",
        "s.rings[ring, RINGS_POP], cycle",
        "s.rings[ring, RINGS_PUSH], cycle",
    ),
    "FIFO: a synchronous operation ends a cycle late": (
        "data_path.py",
        "cycle + 1)\n        return _ENDED",
        "cycle + 1)\n        s.arena[op + OP_FINISH] += 1\n        return _ENDED",
    ),
    "map: the operation is set up again": (
        "operation.py",
        "cycle if is_prepared else begins",
        "begins",
    ),
    "map: a step costs nothing": (
        "tables.py",
        "    if opcode is Opcode.MAP_BEGIN:\n",
        "    if opcode is Opcode.MAP_STEP:\n        return 0\n    if opcode is Opcode.MAP_BEGIN:\n",
    ),
    "save address: an element too far": (
        "operation.py",
        "base = (low + stride * num_bytes) & 0xFFFF",
        "base = (low + stride * num_bytes + 2) & 0xFFFF",
    ),
}
DRIVER = """
from hypothesis import HealthCheck, Phase, given, settings
from tests.simulator.{module} import {strategy}
from tests.simulator.test_engines_agree import assert_agreement

@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given({strategy}())
def compare(program):
    try:
        assert_agreement(*program)
    except (AssertionError, IndexError):
        print("found")
        raise SystemExit(0)

compare()
"""


def compare(folder, strategy="programs"):
    """Compare the engines of the package in `folder`; return what the process printed."""
    module = "generation" if strategy == "programs" else "feature_generation"
    driver = DRIVER.format(module=module, strategy=strategy)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
        "NUMBA_DISABLE_JIT": "1",
    }
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", driver],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("strategy", ["programs", "feature_programs"])
def test_the_engine_itself_is_no_mutant(strategy):
    assert "found" not in compare(PACKAGE.parent, strategy)


def mutated(folder, file, line, changed):
    """Return a folder with a copy of the package in which a line is changed."""
    shutil.copytree(PACKAGE, folder / "onewafer", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "onewafer" / "simulator" / "fast" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(line) == 1
    path.write_text(text.replace(line, changed), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *MUTANTS[name]))


@pytest.mark.parametrize("name", FEATURE_MUTANTS)
def test_mutant_of_a_feature_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *FEATURE_MUTANTS[name]), "feature_programs")
