import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "conformance.py"

PASSES = 'echo "SUCCESS!"'


def add_example(checkout, name, script, arch="wse2"):
    folder = checkout / "tutorials" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"commands_{arch}.sh").write_text(f"#!/usr/bin/env bash\nset -e\n{script}\n")


def run(*arguments):
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def outcomes(checkout, tmp_path, *arguments):
    """Return (exit code, {(example, arch): outcome})."""
    result = run(checkout, "--json", tmp_path / "outcomes.json", *arguments)
    loaded = json.loads((tmp_path / "outcomes.json").read_text())
    return result.returncode, {(o["example"], o["arch"]): o for o in loaded}


@pytest.fixture
def checkout(tmp_path):
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    ("name", "script", "verdict"),
    [
        ("a", PASSES, "pass"),
        ("b", "echo SUCCESS", "pass"),
        ("c", "echo PASS", "pass"),
        ("d", "echo done", "FAIL"),
        ("e", f"{PASSES}; exit 3", "FAIL"),
        ("f", "echo FAIL; echo PASS", "FAIL"),
        ("g", "echo no SUCCESS! at all", "FAIL"),
        ("bandwidth-test", "echo 12 GB/s", "pass"),
    ],
)
def test_verdicts(checkout, tmp_path, name, script, verdict):
    add_example(checkout, name, script)
    code, found = outcomes(checkout, tmp_path)
    assert found[f"tutorials/{name}", "wse2"]["verdict"] == verdict
    assert code == (verdict != "pass")


def test_the_table_shows_each_run_and_the_output_of_failures(checkout):
    add_example(checkout, "good", PASSES)
    add_example(checkout, "bad", "echo reasons; exit 1", arch="wse3")
    result = run(checkout)
    assert result.returncode == 1
    assert "tutorials/good" in result.stdout
    assert "tutorials/bad on wse3: FAIL" in result.stdout
    assert "reasons" in result.stdout
    assert "1 of 2 passed" in result.stdout


def test_cycles_are_read_from_the_records_of_the_runtime(checkout, tmp_path):
    record = "mkdir {0}; echo '{{\"cycles\": {1}}}' > {0}/simulation.json"
    add_example(checkout, "a", f"{record.format('x', 20)}; {record.format('y', 3)}; {PASSES}")
    _, found = outcomes(checkout, tmp_path)
    assert found["tutorials/a", "wse2"]["cycles"] == 23


def test_examples_run_in_a_copy_beside_their_libraries(checkout, tmp_path):
    (checkout / "libraries").mkdir(parents=True)
    (checkout / "libraries" / "word").write_text("SUCCESS!\n")
    add_example(checkout, "a", "touch trace; cat ../../libraries/word")
    code, _ = outcomes(checkout, tmp_path)
    assert code == 0
    assert not list(checkout.rglob("trace"))


def test_our_own_commands_come_first(checkout):
    add_example(checkout, "a", f'test "$(dirname $(which python))" = {Path(sys.executable).parent}')
    add_example(checkout, "a", f"{PASSES}", arch="wse3")
    result = run(checkout, "--arch", "wse2")
    assert "0 of 1 passed" in result.stdout
    assert "(no output)" in result.stdout


def test_examples_can_be_chosen(checkout, tmp_path):
    for name in ("gemv-01", "gemv-02", "topic-01"):
        add_example(checkout, name, PASSES)
        add_example(checkout, name, PASSES, arch="wse3")
    _, found = outcomes(checkout, tmp_path, "--only", "gemv-*", "--arch", "wse3")
    assert set(found) == {("tutorials/gemv-01", "wse3"), ("tutorials/gemv-02", "wse3")}
    _, found = outcomes(checkout / "tutorials" / "gemv-02", tmp_path)
    assert set(found) == {("gemv-02", "wse2"), ("gemv-02", "wse3")}


def test_a_script_that_hangs_is_killed_with_its_children(checkout, tmp_path):
    add_example(checkout, "a", f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    code, found = outcomes(checkout, tmp_path, "--timeout", 2)
    assert code == 1
    assert found["tutorials/a", "wse2"]["verdict"] == "TIMEOUT"
    child = (tmp_path / "child").read_text().strip()
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_nothing_to_run_is_said(checkout):
    assert run(checkout).returncode == 2
    assert "there is no folder" in run(checkout).stderr
    add_example(checkout, "a", PASSES)
    result = run(checkout, "--only", "gemv-*")
    assert result.returncode == 2
    assert "matches 'gemv-*': an example is a folder with commands_wse2.sh" in result.stderr
    result = run(checkout, "--json", checkout / "missing" / "outcomes.json")
    assert result.returncode == 2
    assert "there is no folder for" in result.stderr


def test_what_cannot_be_copied_is_left_out(checkout, tmp_path):
    """A link to nothing is no reason to run nothing; a link in a circle neither."""
    add_example(checkout, "a", PASSES)
    (checkout / "dangling").symlink_to("nowhere")
    (checkout / "circle").symlink_to("circle")
    code, found = outcomes(checkout, tmp_path)
    assert (code, found["tutorials/a", "wse2"]["verdict"]) == (0, "pass")


def test_the_page_says_how_each_program_was_judged(checkout, tmp_path):
    compiles = "mkdir -p out; cslc --version > /dev/null"
    add_example(checkout, "topic-03-streaming-wavelet-data", f"{compiles}; {PASSES}")
    record = '{"cycles": 7, "bytes_out": 4}'
    add_example(checkout, "bandwidth-test", f"mkdir out; echo '{record}' > out/simulation.json")
    add_example(checkout, "elsewhere", "echo 'a.b.HostError: no | such thing'; echo later; exit 1")
    script = checkout / "tutorials" / "topic-03-streaming-wavelet-data" / "run.py"
    script.write_text("assert args\nrunner.memcpy_d2h(x)\nnp.testing.assert_equal(x, 1)\n")
    measures = checkout / "tutorials" / "bandwidth-test" / "run.py"
    measures.write_text("assert args\nrunner.memcpy_d2h(x)\nprint(x)\n")
    run(checkout, "--page", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "2 of 3 pass." in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["| 13", "| 40", "| –"]
    assert [row[4] for row in rows] == ["asserts and prints", "moves data", "ends"]
    assert [row[6] != "–" for row in rows] == [True, False, False]
    assert rows[2][-1] == r"a.b.HostError: no \| such thing |"
    assert "\n| 13 | topic-03-streaming-wavelet-data | wse2 | pass |" in page
