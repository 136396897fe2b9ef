import io
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import conformance
import pytest
from conformance import Level, Load, Outcome, Seconds, Verdict
from conformance_evidence import Evidence
from conformance_page import PROGRAMS, write_page

TOOL = Path(__file__).parents[2] / "tools" / "conformance.py"

RUNNER = """
import json
from pathlib import Path

class Runner:
    def memcpy_d2h(self, data):
        data.append(3)

    def stop(self, cycles=5, **more):
        record = {"cycles": cycles, "bytes_in": 0, "bytes_out": 4, **more}
        Path("simulation.json").write_text(json.dumps(record))

runner, data = Runner(), []
"""
"""The beginning of a host script: what stands for the runtime of a simulation."""
GETS = "runner.memcpy_d2h(data)"
STOPS = "runner.stop()"
SAYS = "print('SUCCESS!')"
RUNS = "cs_python run.py"
LAYOUT = """
layout {
  @set_rectangle(1, 1);
  @set_tile_code(0, 0, "pe.csl", .{});
}
"""
CODE = """
const main_id = @get_local_task_id(9);
export var x: [4]u16;
var n: u16 = 0;
task main() void {
  for (@range(u16, 4)) |i| {
    x[i] = n + 1000;
  }
}
comptime {
  @bind_local_task(main, main_id);
  @activate(main_id);
}
"""
"""What has less code if the compiler puts numbers into instructions."""


def add_example(checkout, name, *host, script=RUNS, arch="wse2"):
    """Add a folder with a command script, and a host script of some lines."""
    folder = checkout / "tutorials" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"commands_{arch}.sh").write_text(f"#!/usr/bin/env bash\nset -e\n{script}\n")
    (folder / "run.py").write_text(RUNNER + "\n".join(host or (STOPS, SAYS)) + "\n")
    return folder


def run(*arguments):
    """Run the tool in this process, and its examples in theirs; return what a process would."""
    command = [str(TOOL), *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        code = conformance.main()
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def test_it_is_a_command_of_its_own(tmp_path):
    command = [sys.executable, str(TOOL), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "an example is a folder with commands_wse2.sh" in result.stderr


def outcomes(checkout, tmp_path, *arguments):
    """Return (exit code, {(example, arch): outcome})."""
    result = run(checkout, "--json", tmp_path / "outcomes.json", *arguments)
    loaded = json.loads((tmp_path / "outcomes.json").read_text())
    return result.returncode, {(o["example"], o["arch"]): o for o in loaded}


@pytest.fixture
def checkout(tmp_path):
    return tmp_path / "checkout"


def verdict(checkout, tmp_path, name="a"):
    """Return (verdict, evidence, what is missing) of the only example."""
    code, found = outcomes(checkout, tmp_path)
    outcome = found[f"tutorials/{name}", "wse2"]
    assert code == (outcome["verdict"] != "pass")
    assert (outcome["verdict"] == "pass") == (not outcome["missing"])
    return outcome["verdict"], " and ".join(outcome["evidence"]), outcome["missing"]


NO_RUN = "no simulation.json was written: no simulation ran to its stop"
NO_EVIDENCE = "no evidence: it printed no SUCCESS, and asserted nothing about results"


@pytest.mark.parametrize(
    ("host", "evidence"),
    [
        ((STOPS, SAYS), "prints"),
        ((STOPS, "print('  SUCCESS')"), "prints"),
        ((STOPS, "print('PASS')"), "prints"),
        ((GETS, STOPS, "assert data == [3], 'it must be 3'"), "asserts"),
        ((GETS, STOPS, "import numpy", "numpy.testing.assert_equal(data, [3])"), "asserts"),
        (("assert data == []", GETS, "assert data", STOPS, SAYS), "asserts and prints"),
        (("def f():", f"    {GETS}", "    assert data", "f()", STOPS), "asserts"),
    ],
)
def test_evidence(checkout, tmp_path, host, evidence):
    add_example(checkout, "a", *host)
    assert verdict(checkout, tmp_path) == ("pass", evidence, "")


@pytest.mark.alternate(3)
@pytest.mark.parametrize(
    "host",
    [
        (GETS, STOPS),
        (GETS, STOPS, "print('no SUCCESS! at all')"),
        (GETS, STOPS, "# assert data == [4]"),
        (GETS, STOPS, "'assert data == [3]'", '"""', "assert data == [3]", '"""'),
        (GETS, STOPS, "if not data:", "    assert data == [3]"),
        (GETS, STOPS, "def check():", "    assert data == [3]"),
        (GETS, STOPS, "assert True", "assert 1 + 1 == 2, 'arithmetic'"),
        ("assert data == []", GETS, STOPS),
        (GETS, STOPS, "try:", "    assert not data", "except AssertionError:", "    pass"),
    ],
    ids=[
        "prints nothing",
        "success within a line",
        "in a comment",
        "in a string",
        "not reached",
        "not called",
        "about constants",
        "before the results",
        "failed and caught",
    ],
)
def test_an_exit_code_alone_is_no_evidence(checkout, tmp_path, host):
    add_example(checkout, "a", *host)
    assert verdict(checkout, tmp_path) == ("FAIL", "", NO_EVIDENCE)


def test_assertions_that_python_leaves_out_are_no_evidence(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    add_example(checkout, "a", GETS, STOPS, "assert data == [4]")
    assert verdict(checkout, tmp_path) == ("FAIL", "", NO_EVIDENCE)


def test_assertions_of_modules_beside_the_script_count(checkout, tmp_path):
    folder = add_example(checkout, "a", "from check import check", GETS, STOPS, "check(data)")
    (folder / "check.py").write_text("def check(data):\n    assert data == [3]\n")
    assert verdict(checkout, tmp_path) == ("pass", "asserts", "")


@pytest.mark.parametrize(
    ("host", "script", "missing"),
    [
        ((STOPS, SAYS), f"{RUNS}; exit 3", "SUCCESS!"),
        ((STOPS, "print('FAIL at 3')", SAYS), RUNS, "FAIL at 3"),
        ((GETS, STOPS, SAYS, "assert data == [4]"), RUNS, "AssertionError"),
        ((SAYS,), RUNS, NO_RUN),
        ((), "echo 'SUCCESS!'", NO_RUN),
        ((), ":", NO_RUN),
    ],
)
def test_evidence_does_not_outweigh_a_failure(checkout, tmp_path, host, script, missing):
    add_example(checkout, "a", *host, script=script)
    assert verdict(checkout, tmp_path)[::2] == ("FAIL", missing)


RECORD = '{"cycles": 5, "bytes_in": 0, "bytes_out": 4}'


@pytest.mark.parametrize(
    "script",
    [
        RUNS,
        f"cp old.json simulation.json; sleep 0.2; {RUNS}",
        f"{RUNS}; sleep 0.2; cp old.json out",
    ],
    ids=["left over", "put there before the run", "put there after the run"],
)
def test_a_record_of_another_run_does_not_count(checkout, tmp_path, script):
    folder = add_example(checkout, "a", SAYS, script=f"mkdir -p out; {script}")
    (folder / "out").mkdir()
    for place in ("simulation.json", "out/simulation.json", "old.json"):
        (folder / place).write_text(RECORD)
    assert verdict(checkout, tmp_path) == ("FAIL", "prints", NO_RUN)
    assert (folder / "simulation.json").is_file()


def test_a_record_of_nobody_does_not_count(checkout, tmp_path):
    add_example(checkout, "a", "Path('simulation.json').write_text('[]')", SAYS)
    assert verdict(checkout, tmp_path) == ("FAIL", "prints", NO_RUN)


def measure(*, cycles="80", bandwidth="1062.5", moved=100):
    """Return the end of a script that measures a bandwidth: 100 bytes in 80 cycles at 850 MHz."""
    return (
        f"runner.stop(cycles=90, bytes_in={moved})",
        "print('wvlts = 25, loop_count = 1')",
        f"print('cycles_send = {cycles} cycles')",
        "print('time_send = 0.09 us')",
        f"print('bandwidth = {bandwidth} MB/S ')",
    )


@pytest.mark.parametrize(
    ("host", "evidence"),
    [
        (measure(), "checked"),
        (measure(cycles="0"), ""),
        (measure(cycles="91", bandwidth=str(100 * 850 / 91)), ""),
        (measure(bandwidth="1000.0"), ""),
        (measure(moved=92), ""),
        ((STOPS, "print('12 GB/s')"), ""),
    ],
    ids=["right", "no cycles", "more than simulated", "another rate", "not moved", "no figures"],
)
def test_what_a_program_measures_is_checked(checkout, tmp_path, host, evidence):
    add_example(checkout, "bandwidth-test", *host)
    assert verdict(checkout, tmp_path, "bandwidth-test")[1] == evidence


@pytest.mark.slow
def test_a_fragment_has_to_become_a_program(checkout, tmp_path):
    """An `out` that was there does not count, and neither does a compiler that writes nothing."""
    folder = checkout / "tutorials" / "a"
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "old").touch()
    (folder / "code.csl").write_text("comptime {}\n")
    assert verdict(checkout, tmp_path) == ("pass", "compiles", "")
    (folder / "code.csl").write_text("comptime {\n")
    assert "error[" in verdict(checkout, tmp_path)[2]


def test_the_table_shows_each_run_and_the_output_of_failures(checkout):
    add_example(checkout, "good")
    add_example(checkout, "bad", script="echo reasons; exit 1", arch="wse3")
    result = run(checkout)
    assert result.returncode == 1
    assert "tutorials/good" in result.stdout
    assert "tutorials/bad on wse3: FAIL" in result.stdout
    assert "reasons" in result.stdout
    assert "1 of 2 passed" in result.stdout


def test_cycles_are_those_of_all_runs(checkout, tmp_path):
    ends = "import os, sys", "os.chdir(sys.argv[1])", "runner.stop(int(sys.argv[2]))", SAYS
    add_example(checkout, "a", *ends, script=f"mkdir x y; {RUNS} x 20; {RUNS} y 3")
    _, found = outcomes(checkout, tmp_path)
    assert found["tutorials/a", "wse2"]["cycles"] == 23


def test_examples_run_in_a_copy_beside_their_libraries(checkout, tmp_path):
    (checkout / "libraries").mkdir(parents=True)
    (checkout / "libraries" / "word").write_text("SUCCESS!\n")
    script = f"touch trace; cat ../../libraries/word; {RUNS}"
    add_example(checkout, "a", STOPS, script=script)
    code, _ = outcomes(checkout, tmp_path)
    assert code == 0
    assert not list(checkout.rglob("trace"))
    assert not list(checkout.rglob("simulation.json"))


def test_placeholders_of_scripts_become_commands(checkout, tmp_path):
    says = "import sys", STOPS, "print(sys.argv)", SAYS
    folder = add_example(checkout, "a", *says, script="%python_sdk_paint --arch=wse2")
    assert verdict(checkout, tmp_path) == ("pass", "prints", "")
    assert "%python_sdk_paint" in (folder / "commands_wse2.sh").read_text()
    _, found = outcomes(checkout, tmp_path)
    assert "['run.py', '--arch=wse2']" in found["tutorials/a", "wse2"]["output"]


def test_a_folder_for_temporary_files_may_have_any_name(checkout, tmp_path, monkeypatch):
    folder = tmp_path / "two words; and 'more'"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # this process has asked already
    add_example(checkout, "a", GETS, STOPS, "assert data")
    assert verdict(checkout, tmp_path) == ("pass", "asserts", "")


def test_our_own_commands_come_first(checkout):
    same = f'test "$(dirname $(which python))" = {Path(sys.executable).parent}'
    add_example(checkout, "a", script=same)
    result = run(checkout)
    assert "0 of 1 passed" in result.stdout
    assert "(no output)" in result.stdout
    assert NO_RUN in result.stdout


def test_a_host_script_sees_what_python_gives_it(checkout, tmp_path):
    """Arguments, its own path, its folder first, errors, the exit code."""
    sees = (
        "import sys",
        "assert sys.argv == ['./run.py', '-n', '2'] and __name__ == '__main__'",
        "assert Path(sys.path[0]) == Path.cwd() and Path(__file__).samefile('run.py')",
        "sys.exit(7)",
    )
    add_example(checkout, "a", *sees, script="cs_python ./run.py -n 2 || test $? = 7; exit 9")
    assert verdict(checkout, tmp_path)[2] == "exit code 9, no output"


def test_examples_can_be_chosen(checkout, tmp_path):
    for name in ("gemv-01", "gemv-02", "topic-01"):
        add_example(checkout, name)
        add_example(checkout, name, arch="wse3")
    _, found = outcomes(checkout, tmp_path, "--only", "gemv-*", "--arch", "wse3")
    assert set(found) == {("tutorials/gemv-01", "wse3"), ("tutorials/gemv-02", "wse3")}
    _, found = outcomes(checkout / "tutorials" / "gemv-02", tmp_path)
    assert set(found) == {("gemv-02", "wse2"), ("gemv-02", "wse3")}


def test_a_script_that_hangs_is_killed_with_its_children(checkout, tmp_path):
    add_example(checkout, "a", script=f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    code, found = outcomes(checkout, tmp_path, "--timeout", 2)
    assert code == 1
    assert found["tutorials/a", "wse2"]["verdict"] == "TIMEOUT"
    child = (tmp_path / "child").read_text().strip()
    status = Path(f"/proc/{child}/status")
    for _ in range(1000):  # a killed process ends when it has a core next
        if not status.exists() or "zombie" in status.read_text():
            return
        time.sleep(0.01)
    pytest.fail("it still runs")


def test_nothing_to_run_is_said(checkout):
    assert run(checkout).returncode == 2
    assert "there is no folder" in run(checkout).stderr
    add_example(checkout, "a")
    result = run(checkout, "--only", "gemv-*")
    assert result.returncode == 2
    assert "matches 'gemv-*': an example is a folder with commands_wse2.sh" in result.stderr
    result = run(checkout, "--json", checkout / "missing" / "outcomes.json")
    assert result.returncode == 2
    assert "there is no folder for" in result.stderr


def test_what_cannot_be_copied_is_left_out(checkout, tmp_path):
    """A link to nothing is no reason to run nothing; a link in a circle neither."""
    add_example(checkout, "a")
    (checkout / "dangling").symlink_to("nowhere")
    (checkout / "circle").symlink_to("circle")
    code, found = outcomes(checkout, tmp_path)
    assert (code, found["tutorials/a", "wse2"]["verdict"]) == (0, "pass")


def test_the_page_says_what_each_verdict_rests_on(checkout, tmp_path):
    compiles = f"mkdir -p out; cslc --version > /dev/null; {RUNS}"
    first = "topic-03-streaming-wavelet-data"
    add_example(checkout, first, GETS, STOPS, "assert data", SAYS, script=compiles)
    add_example(checkout, "bandwidth-test", *measure())
    fails = "echo 'a.b.HostError: no | such thing'; echo later; exit 1"
    add_example(checkout, "elsewhere", script=fails)
    add_example(tmp_path / "another", first)
    run(checkout, tmp_path / "another", "--page", tmp_path / "page.md")
    page, another = (tmp_path / "page.md").read_text().split("## another\n")
    assert "1 of 1 pass" in another
    assert f"| 13 | {first} | wse2 | pass | prints |" in another
    assert "## checkout\n\n2 of 3 pass; of the programs 1–42, 2 of 2.\n" in page
    assert " of these 2 are within the goals." in page  # how many, a busy computer decides
    assert "load average" in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if len(row) == 11][1:]
    assert [row[0] for row in rows] == ["| 13", "| 40", "| –"]
    assert [row[3] for row in rows] == ["pass", "pass", "FAIL"]
    assert [row[4] for row in rows] == ["asserts and prints", "checked", "none"]
    assert [row[7] != "–" for row in rows] == [True, False, False]
    assert [row[8] != "–" for row in rows] == [True, True, False]
    assert [row[9] != "–" for row in rows] == [True, True, False]
    assert rows[2][-1] == r"a.b.HostError: no \| such thing |"


def outcome(number, *, compilation=None, run=None, **fields):
    made = Outcome(
        repository="csl-examples",
        example=f"tutorials/{PROGRAMS[number]}",
        arch="wse3",
        level=Level.DEFAULT,
        verdict=Verdict.PASS,
        evidence=(Evidence.PRINTS,),
        missing="",
        seconds=1.0,
        compilation=compilation,
        run=run,
        cycles=7,
        output="",
    )
    return replace(made, **fields)


def page(tmp_path, outcomes, load):
    write_page(tmp_path / "page.md", outcomes, load, "conformance")
    return (tmp_path / "page.md").read_text()


def test_the_page_says_which_rows_miss_a_goal(tmp_path):
    quick, slow, slowest = Seconds(1.96, 2.5), Seconds(2.04, 1.0), Seconds(31.0, 60.0)
    text = page(
        tmp_path,
        [
            outcome(1, compilation=quick, run=Seconds(29.9, 31.0)),
            outcome(2, compilation=slow, run=quick),
            outcome(3, compilation=slow, run=slowest),
            outcome(9, run=slowest),
            outcome(43, compilation=slow, run=slowest),
        ],
        Load(2, at_start=0.1, highest=1.8),
    )
    cells = [line.split(" | ")[7:10] for line in text.splitlines() if "| wse3 |" in line]
    assert cells == [
        ["2.0 (2.5)", "29.9 (31.0)", "yes"],
        ["2.0 (1.0)", "2.0 (2.5)", "compile too slow"],
        ["2.0 (1.0)", "31.0 (60.0)", "compile and run too slow"],
        ["–", "31.0 (60.0)", "run too slow"],
        ["2.0 (1.0)", "31.0 (60.0)", "compile and run too slow"],
    ]
    assert "5 of 5 pass; of the programs 1–42, 4 of 4.\n1 of these 4 are within the goals." in text


def test_the_page_shows_programs_that_were_not_optimised(tmp_path):
    level = Level.UNOPTIMISED
    outcomes = [
        outcome(1),
        outcome(1, level=level, cycles=1234),
        outcome(2),
        outcome(2, level=level, verdict=Verdict.FAIL, missing="no a | b"),
        outcome(3),
    ]
    text = page(tmp_path, outcomes, Load(2, at_start=0.1, highest=1.8))
    assert "3 of 3 pass; of the programs 1–42, 3 of 3.\n" in text
    assert "With `-O0`, 1 of 2 pass.\n" in text
    cells = [line.split(" | ")[5:7] for line in text.splitlines() if "| wse3 |" in line]
    assert cells == [["7", "1,234"], ["7", r"FAIL: no a \| b"], ["7", "–"]]


@pytest.mark.slow
def test_programs_run_a_second_time_without_optimisations(checkout, tmp_path):
    """By the option of `cslc`, or without a `cslc`, in the layout that the script makes."""
    says = "print(CompileOptions(entry='', architecture=None).optimizes)"
    layout = "from onewafer.sdk_layout.layout import CompileOptions"
    script = f"cslc --arch wse3 layout.csl -o out --fabric-dims=8,3 --fabric-offsets=4,1\n{RUNS}"
    folder = add_example(checkout, "a", layout, STOPS, SAYS, says, script=script)
    folder.joinpath("layout.csl").write_text(LAYOUT)
    folder.joinpath("pe.csl").write_text(CODE)
    run(checkout, "--unoptimised", "--json", tmp_path / "outcomes.json")
    found = json.loads((tmp_path / "outcomes.json").read_text())
    assert [(o["level"], o["verdict"]) for o in found] == [("default", "pass"), ("-O0", "pass")]
    assert ["True" in o["output"] for o in found] == [True, False]
    assert ["False" in o["output"] for o in found] == [False, True]
    optimised, unoptimised = (int(re.search(r"at most (\d+) B", o["output"])[1]) for o in found)
    assert optimised < unoptimised


@pytest.mark.parametrize(
    ("at_start", "highest", "is_busy"),
    [(0.3, 2.3, False), (0.8, 1.0, True), (0.0, 3.1, True)],
)
def test_the_page_says_that_the_computer_was_busy(tmp_path, at_start, highest, is_busy):
    text = page(tmp_path, [outcome(1)], Load(2, at_start=at_start, highest=highest))
    assert ("The seconds by the\nclock are too high" in text) == is_busy
    assert ("and little else to do" in text) != is_busy
    assert f"{at_start}" in text
    assert f"{highest}" in text
