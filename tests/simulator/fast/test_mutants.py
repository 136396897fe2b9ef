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

ROOT = Path(__file__).parents[3]
PACKAGE = Path(onewafer.__file__).parent
FAST = Path("onewafer/simulator/fast")

MUTANTS = {
    "credit: one place too few": (
        "kernels/fabric/fifo.py",
        "s.arena[fifo + f.FIFO_TAIL] - capacity_of(s, fifo)",
        "s.arena[fifo + f.FIFO_TAIL] - capacity_of(s, fifo) + 1",
    ),
    "credit: known a cycle early": (
        "kernels/fabric/router.py",
        "room = room_cycle(s, target, 1 if is_channel else s.timing[f.T_CREDIT])",
        "room = room_cycle(s, target, 1 if is_channel else s.timing[f.T_CREDIT] - 1)",
    ),
    "credit: in a bunch, known a cycle late": (
        "kernels/fabric/router.py",
        "credit, hop = s.timing[f.T_CREDIT], s.timing[f.T_HOP]",
        "credit, hop = s.timing[f.T_CREDIT] + 1, s.timing[f.T_HOP]",
    ),
    "credit: a sender is woken a cycle late": (
        "kernels/fabric/links.py",
        "known = cycle + s.timing[f.T_CREDIT]",
        "known = cycle + s.timing[f.T_CREDIT] + 1",
    ),
    "latency: a hop takes a cycle more": (
        "kernels/fabric/router.py",
        "arrival = cycle + s.timing[f.T_HOP]\n    for",
        "arrival = cycle + s.timing[f.T_HOP] + 1\n    for",
    ),
    "latency: in a bunch, a hop takes a cycle more": (
        "kernels/fabric/router.py",
        "s.arena[to] = at + hop",
        "s.arena[to] = at + hop + 1",
    ),
    "multicast: in a bunch, the second target gets its wavelets late": (
        "kernels/fabric/router.py",
        "s.arena[to] = at + other_hop",
        "s.arena[to] = at + other_hop + 1",
    ),
    "multicast: in a bunch, the second target is held to have room": (
        "kernels/fabric/router.py",
        "at = max(at, s.arena[other_free] + other_credit)",
        "at = max(at, s.arena[other_free])",
    ),
    "words: every bunch begins at the first element": (
        "kernels/compute_element/words.py",
        "k = first + done",
        "k = done",
    ),
    "staging: the first word is not written": (
        "kernels/compute_element/staging.py",
        "for k in range(first, s.arena[op + f.OP_NEXT]):",
        "for k in range(first + 1, s.arena[op + f.OP_NEXT]):",
    ),
    "staging: words wait beyond the end of their operation": (
        "kernels/compute_element/elements.py",
        "    settle(s, block)\n    s.arena[block + f.BLOCK_LONE] = 0",
        "    s.arena[block + f.BLOCK_LONE] = 0",
    ),
    "latency: the ramp is a cycle short": (
        "kernels/compute_element/elements.py",
        "delay = 1 + s.timing[f.T_RAMP]",
        "delay = s.timing[f.T_RAMP]",
    ),
    "link window: an entry too late": (
        "kernels/fabric/links.py",
        "(count + 1) % window]",
        "(count + 2) % window]",
    ),
    "arbitration: last served first": (
        "kernels/fabric/router.py",
        "s.arena[source + f.FIFO_LAST_MOVE] < s.arena[other + f.FIFO_LAST_MOVE]",
        "s.arena[source + f.FIFO_LAST_MOVE] > s.arena[other + f.FIFO_LAST_MOVE]",
    ),
    "arbitration: higher color first": (
        "kernels/fabric/router.py",
        "return color < other_color",
        "return color > other_color",
    ),
    "arbitration: nobody contends": (
        "build/wiring.py",
        "minlength=num_pes) > 1",
        "minlength=num_pes) > 2",
    ),
    "data path: banks conflict modulo 8": (
        "kernels/compute_element/operation.py",
        "return (differing >> 2) & 3 == 0",
        "return (differing >> 2) & 7 == 0",
    ),
    "data path: last served first": (
        "kernels/compute_element/data_path.py",
        "s.arena[op + f.OP_LAST_SERVED] < s.arena[other + f.OP_LAST_SERVED]",
        "s.arena[op + f.OP_LAST_SERVED] > s.arena[other + f.OP_LAST_SERVED]",
    ),
    "data path: the main thread ranks lowest": (
        "kernels/compute_element/operation.py",
        "_MAIN_RANK = 1",
        "_MAIN_RANK = -1",
    ),
    "data path: an operation is lone although the main thread runs": (
        "kernels/compute_element/data_path.py",
        "is_quiet = s.arena[block + f.BLOCK_ATTENTION] == f.FAR and main != f.RUNNING",
        "is_quiet = True",
    ),
    "data path: an operation is lone although another is live": (
        "kernels/compute_element/data_path.py",
        "if live and live & (live - 1) == 0 and live",
        "if live and live",
    ),
    "stream: two elements in a cycle": (
        "kernels/compute_element/elements.py",
        "cycle = at + element_cycles",
        "cycle = at + element_cycles - 1",
    ),
    "stream: a place is free at once": (
        "kernels/compute_element/elements.py",
        "at = max(at, s.arena[free] + 1)",
        "at = max(at, s.arena[free])",
    ),
    "picker: starts from the last task": (
        "kernels/compute_element/tasks.py",
        "start = s.pes[pe, f.PE_LAST_PICKED] + 1",
        "start = s.pes[pe, f.PE_LAST_PICKED]",
    ),
    "picker: a data task starts a cycle before its wavelet is there": (
        "kernels/compute_element/tasks.py",
        "if ready <= cycle:",
        "if ready <= cycle + 1:",
    ),
    "multicast: the ramp does not hold up the others": (
        "kernels/fabric/router.py",
        "    for i in range(num_targets):\n        target",
        "    for i in range(num_targets - has_ramp):\n        target",
    ),
    "statistics: a wait is counted to the wrong cycle": (
        "kernels/compute_element/elements.py",
        "        s.operations[row, f.OPS_WAITING_SINCE] = cycle\n",
        "        s.operations[row, f.OPS_WAITING_SINCE] = cycle + 1\n",
    ),
    "windows: longer than a hop": (
        "build/tables.py",
        "timing.credit_cycles).bit_length() - 1",
        "timing.credit_cycles).bit_length()",
    ),
}
FEATURE_MUTANTS = {
    "switch: turns a cycle late": (
        "kernels/fabric/switching.py",
        "    if s.switches[row, f.SWITCH_CHANGED] == cycle:\n",
        "    if 0 <= cycle - s.switches[row, f.SWITCH_CHANGED] <= 1:\n",
    ),
    "switch: turns a wavelet late": (
        "kernels/fabric/switching.py",
        "    if s.switches[row, f.SWITCH_CHANGED] == cycle:\n",
        "    if s.switches[row, f.SWITCH_CHANGED] < 1 << 62:\n",
    ),
    "switch: a control wavelet takes the new route": (
        "kernels/fabric/switching.py",
        "position = in_force(s, row, f.SWITCH_POSITION, cycle)",
        "position = following(s, row) if is_control(word) else s.switches[row, f.SWITCH_POSITION]",
    ),
    "switch: the last position is the first of no ring": (
        "kernels/fabric/switching.py",
        "return 0 if s.switches[row, f.SWITCH_IS_RING] else position",
        "return position if s.switches[row, f.SWITCH_IS_RING] else 0",
    ),
    "switch: one pop mode is as another": (
        "build/switch_tables.py",
        "row[f.SWITCH_POPS] = pops_of(row[f.SWITCH_POP_MODE])",
        "row[f.SWITCH_POPS] = pops_of(min(row[f.SWITCH_POP_MODE], 2))",
    ),
    "filter: the upper bound is left out": (
        "kernels/fabric/switching.py",
        "index <= s.switches[row, f.SWITCH_MAXIMUM]",
        "index < s.switches[row, f.SWITCH_MAXIMUM]",
    ),
    "filter: the period is one too short": (
        "kernels/fabric/switching.py",
        "s.switches[row, f.SWITCH_COUNTER] = next_count(counter, limit)",
        "s.switches[row, f.SWITCH_COUNTER] = next_count(counter, limit - 1)",
    ),
    "control: no wavelet ends an operation": (
        "kernels/compute_element/data_path.py",
        "        if ready == f.FAR or not is_control_next(s, channel):\n",
        "        if ready == f.FAR or ready >= 0:\n",
    ),
    "control: the data task takes the wavelet": (
        "kernels/compute_element/tasks.py",
        "    if is_control_next(s, channel):\n        return False\n",
        "",
    ),
    "output: the switch turns behind the first wavelet": (
        "kernels/compute_element/watched.py",
        "is_last = following == s.arena[op + f.OP_LENGTH]",
        "is_last = following == 1",
    ),
    "FIFO: one place is never used": (
        "kernels/compute_element/rings.py",
        "return count == s.rings[ring, f.RINGS_BYTES] // width",
        "return count + 1 >= s.rings[ring, f.RINGS_BYTES] // width",
    ),
    "FIFO: the task of the other end is activated": (
        "kernels/compute_element/rings.py",
        "s.rings[ring, f.RINGS_POP], cycle",
        "s.rings[ring, f.RINGS_PUSH], cycle",
    ),
    "FIFO: a synchronous operation ends a cycle late": (
        "kernels/compute_element/data_path.py",
        "cycle + 1)\n        return _ENDED",
        "cycle + 1)\n        s.arena[op + f.OP_FINISH] += 1\n        return _ENDED",
    ),
    "map: the operation is set up again": (
        "kernels/compute_element/operation.py",
        "setup = 0 if is_prepared else setup_cycles(s, is_fabric, has_scalar)",
        "setup = setup_cycles(s, is_fabric, has_scalar)",
    ),
    "map: a step costs nothing": (
        "build/tables.py",
        "    code[:, f.CODE_CYCLES] = issue_cycles(layout.program, timing)\n",
        (
            "    costs = np.array(issue_cycles(layout.program, timing))\n"
            "    is_step = code[:, f.CODE_OPCODE] == Opcode.MAP_STEP\n"
            "    code[:, f.CODE_CYCLES] = np.where(is_step, 0, costs)\n"
        ),
    ),
    "save address: an element too far": (
        "kernels/compute_element/operation.py",
        "base = (low + stride * length * num_bytes) & 0xFFFF",
        "base = (low + stride * length * num_bytes + 2) & 0xFFFF",
    ),
}
TEARDOWN_MUTANTS = {
    "registers: a write in the cycle of a look at the router is forgotten": (
        "kernels/fabric/registers.py",
        "if s.pes[s.arena[block + f.BLOCK_PE], f.PE_WRITE_CYCLE] != f.NEVER:",
        "if s.pes[s.arena[block + f.BLOCK_PE], f.PE_WRITE_CYCLE] == 0:",
    ),
    "registers: a write counts in its own cycle": (
        "kernels/fabric/registers.py",
        "if s.pes[pe, f.PE_WRITE_CYCLE] >= cycle:",
        "if s.pes[pe, f.PE_WRITE_CYCLE] > cycle:",
    ),
    "registers: torn down colors are told again": (
        "kernels/fabric/registers.py",
        "s.torn_colors[pe] = torn & ~(_HALF << shift)",
        "s.torn_colors[pe] = torn",
    ),
    "teardown: its task is ready a cycle late": (
        "kernels/fabric/switching.py",
        "wake_attention(s, s.blocks[pe], cycle + 1)",
        "wake_attention(s, s.blocks[pe], cycle + 2)",
    ),
}
QUEUE_MUTANTS = {
    "queues: a bound queue keeps its old color too": (
        "kernels/fabric/queues.py",
        "s.switches[before, f.SWITCH_CHANNEL] = 0",
        "pass",
    ),
    "queues: one that is drained by the router does not tell": (
        "kernels/fabric/switching.py",
        "if s.arena[block + f.BLOCK_IS_CONTENDED] & f.IS_ASKED:",
        "if False:",
    ),
}
RARE = {
    "arbitration: higher color first",
    "data path: banks conflict modulo 8",
    "filter: the period is one too short",
    "output: the switch turns behind the first wavelet",
    "queues: one that is drained by the router does not tell",
    "switch: one pop mode is as another",
    "switch: turns a cycle late",
}
"""Mutants that only one random program in many meets: they are found among the slow tests."""
SETTLED_MUTANTS = {
    "settled routes: they are not unsettled by a switch that turns": (
        "kernels/fabric/switching.py",
        "        unsettle_routes(s, row)\n",
        "        pass\n",
    ),
    "settled routes: they take a switch that turned in the cycle": (
        "kernels/fabric/switch_routes.py",
        "        or s.switches[row, f.SWITCH_CHANGED] == cycle\n",
        "",
    ),
    "settled routes: they let in what comes from anywhere": (
        "kernels/fabric/switch_routes.py",
        "return ports >> f.RECEIVE_SHIFT + port & 1 != 0",
        "return True",
    ),
    "marks: nobody forgets that a wavelet was marked": (
        "kernels/fabric/marks.py",
        "s.arena[tag_place(s, fifo, number)] = 0",
        "pass",
    ),
    "marks: only the last of several wavelets is not marked any more": (
        "kernels/fabric/marks.py",
        "    for number in range(head - count, head):\n",
        "    for number in range(head - 1, head):\n",
    ),
}
MODULES = {"programs": "generation", "switched_lines": "fast.test_settled_routes"}
"""Where strategies are; the others are in `feature_generation`."""
DRIVER = """
from hypothesis import HealthCheck, Phase, given, settings
from tests.simulator.{module} import {strategy}
from tests.simulator.test_engines_agree import assert_agreement, slow_reader

@settings(max_examples={examples}, deadline=None, derandomize=True, database=None,
          phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given({strategy}())
def compare(program):
    try:
        assert_agreement(*program)
    except (AssertionError, IndexError, ValueError):
        print("found")
        raise SystemExit(0)

try:
    assert_agreement(*slow_reader())
except (AssertionError, IndexError, ValueError):
    print("found")
    raise SystemExit(0) from None
compare()
"""


def compare(folder, strategy="programs", examples=300):
    """Compare the engines of the package in `folder`; return what the process printed."""
    module = MODULES.get(strategy, "feature_generation")
    driver = DRIVER.format(module=module, strategy=strategy, examples=examples)
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


ALL = MUTANTS | FEATURE_MUTANTS | TEARDOWN_MUTANTS | QUEUE_MUTANTS


def names(mutants):
    """Return every twelfth mutant, the others as slow tests: each takes a process."""
    return [
        name if i % 12 == 0 and name not in RARE else pytest.param(name, marks=pytest.mark.slow)
        for i, name in enumerate(mutants)
    ]


@pytest.mark.parametrize("examples", [10, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "strategy",
    [
        "feature_programs",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("programs", "teardown_programs", "queue_programs", "switched_lines")
        ),
    ],
)
def test_the_engine_itself_is_no_mutant(strategy, examples):
    assert "found" not in compare(PACKAGE.parent, strategy, examples)


def mutated(folder, file, line, changed):
    """Return a folder with a copy of the package in which a line is changed."""
    shutil.copytree(PACKAGE, folder / "onewafer", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / FAST / file
    path.write_text(path.read_text(encoding="utf-8").replace(line, changed), encoding="utf-8")
    return folder


def test_every_mutant_changes_a_line_of_today():
    assert ALL.keys() >= RARE
    for file, line, changed in ALL.values():
        assert (PACKAGE.parent / FAST / file).read_text(encoding="utf-8").count(line) == 1
        assert changed != line


@pytest.mark.alternate(3)
@pytest.mark.parametrize("name", names(MUTANTS))
def test_mutant_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *MUTANTS[name]), examples=1500)


@pytest.mark.parametrize("name", names(FEATURE_MUTANTS))
@pytest.mark.slow
def test_mutant_of_a_feature_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *FEATURE_MUTANTS[name]), "feature_programs")


@pytest.mark.slow
@pytest.mark.parametrize("name", TEARDOWN_MUTANTS)
def test_mutant_of_teardown_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *TEARDOWN_MUTANTS[name]), "teardown_programs")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUEUE_MUTANTS)
def test_mutant_of_queues_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *QUEUE_MUTANTS[name]), "queue_programs", 1500)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTLED_MUTANTS)
def test_mutant_of_settled_routes_is_found(tmp_path, name):
    assert "found" in compare(mutated(tmp_path, *SETTLED_MUTANTS[name]), "switched_lines")
