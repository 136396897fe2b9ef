"""Commands whose output goes nowhere, or through an encoding that lacks its characters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from onewafer.cli.process import run_command_line
def execute(arguments):
    sys.stdout.write("2×1 PEs\\n" * int(arguments[0]))
    return int(arguments[1])
run_command_line("tool", execute)
"""


def run(*arguments, encoding="utf-8", **options):
    return subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
        text=True,
        encoding="utf-8",
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_that_of_the_command(code):
    result = run(1, code, stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout, result.stderr) == (code, "2×1 PEs\n", "")


def test_a_reason_to_exit_is_said():
    code = """
import sys
from onewafer.cli.process import run_command_line
run_command_line("tool", lambda arguments: sys.exit("no"))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, text=True, stderr=subprocess.PIPE
    )
    assert (result.returncode, result.stderr) == (1, "no\n")


def test_characters_that_an_encoding_lacks_are_escaped():
    result = run(1, 0, encoding="ascii", stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout, result.stderr) == (0, "2\\xd71 PEs\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk at hand")
def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = run(1, 0, stdout=full)
    assert (result.returncode, result.stderr) == (1, "tool: the output: No space left on device\n")


def test_a_reader_that_goes_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    result = run(1, 0, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk at hand")
@pytest.mark.parametrize("is_buffered", [False, True])
def test_a_full_disk_is_no_bug_of_ours(is_buffered):
    code = "from onewafer.cli.main import main; main()"
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code, "--version"],
            env={**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"},
            check=False,
            text=True,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert result.returncode == 1
    assert result.stderr == "onewafer: the output: No space left on device\n"
