"""`--view`: a page before a run, which follows it and stays after it; commands as processes."""

import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from onewafer.image import save
from tests.host.runs.test_tracing import streaming

COMMAND = [sys.executable, "-c", "from onewafer.cli.main import main; main()"]
PAGE = re.compile(r"onewafer: (http://127.0.0.1:\d+/) (follows the run|goes on showing it)")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    save(streaming(), tmp_path / "out")
    save(streaming(num_sent=3, num_received=8), tmp_path / "hangs")
    return temporary


@contextmanager
def viewed(*arguments):
    """Yield a traced run with a page, and a function that reads stderr to a line about the page."""
    command = [*COMMAND, "csl", "trace", "--view", "-o", "a.wafer-trace", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = []

    def read_to(what):
        for line in process.stderr:
            seen.append(line)
            found = PAGE.match(line)
            if found and found[2] == what:
                return found[1]
        raise AssertionError("".join(seen))

    try:
        yield process, read_to, seen
    finally:
        process.kill()
        process.communicate()


def is_answered(address):
    try:
        return httpx.get(address, timeout=5).is_success
    except httpx.TransportError:
        return False


def test_the_page_is_there_before_the_run_and_until_ctrl_c(folder):
    with viewed("--launch", "main", "out") as (process, read_to, _):
        address = read_to("follows the run")
        assert read_to("goes on showing it") == address
        about = httpx.get(f"{address}run/run.json", timeout=30).json()
        assert (about["title"], about["is_over"], about["ending"]) == ("out", True, "")
        assert about["spans"]["num"] > 0
        with httpx.stream("GET", f"{address}events", timeout=30) as events:
            assert next(events.iter_lines()).startswith("data: ")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        output, errors = process.communicate()
        assert (output, errors.strip()) == ("", "")
    assert not is_answered(address)
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_an_error_is_said_before_the_page_stays_and_is_the_exit_code(folder):
    with viewed("--launch", "main", "--record", "run.parquet", "hangs") as (process, read_to, seen):
        read_to("goes on showing it")
        assert "waits" in "".join(seen)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
    assert Path("run.parquet").exists()
    assert list(folder.iterdir()) == []


def test_a_script_without_a_run_has_no_page_to_stay(folder):
    Path("script.py").write_text("print('nothing')")
    with viewed("script.py") as (process, _, _):
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "nothing\n")
    assert "nothing was simulated" in errors
    assert "goes on" not in errors
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_the_page_ends_with_a_command_that_is_killed():
    with viewed("--launch", "main", "out") as (process, read_to, _):
        address = read_to("goes on showing it")
        process.kill()
        process.wait()
        for _ in range(200):
            if not is_answered(address):
                return
            signal.sigtimedwait([], 0.05)
    raise AssertionError("the page outlives its command")
