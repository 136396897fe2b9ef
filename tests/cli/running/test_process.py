"""Commands whose output goes nowhere, or through an encoding that lacks its characters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onewafer.cli.main import execute

CODE = """
import sys
from onewafer.cli.running.process import run_command_line
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
from onewafer.cli.running.process import run_command_line
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


def test_a_ctrl_c_is_one_line():
    code = """
from onewafer.cli.running.process import run_command_line
def execute(arguments):
    raise KeyboardInterrupt
run_command_line("tool", execute)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, text=True, stderr=subprocess.PIPE
    )
    assert (result.returncode, result.stderr) == (130, "\ntool: interrupted\n")


CLOSED = """
import os, sys
from onewafer.cli.running.process import run_command_line
def execute(arguments):
    print("to stdout")
    sys.stderr.write("to stderr\\n")
    sys.stdin.read()
    with open(arguments[0], "w") as file:
        file.write(f"descriptor {file.fileno()}")
    os.system("echo a child speaks; echo a child complains >&2")
    return 7
run_command_line("tool", execute)
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(tmp_path, closed):
    """Not into the next file that is opened, which would get their descriptor."""
    (tmp_path / "tool.py").write_text(CLOSED)
    command = f'"{sys.executable}" tool.py written {closed}'
    result = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, check=False, text=True, capture_output=True, input=""
    )
    assert result.returncode == 7
    assert "Traceback" not in result.stderr
    written = (tmp_path / "written").read_text()
    assert written.startswith("descriptor ")
    assert int(written.split()[1]) > 2


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("cs_python script.py", 7),
        ("cs_python --help", 0),
        ("cs_python --nonsense script.py", 2),
        ("cslc --help", 0),
        ("cslc nowhere.csl", 1),
        ("onewafer --version", 0),
        ("onewafer bench --only nothing", 2),
        ("onewafer resume nowhere", 1),
    ],
)
@pytest.mark.alternate(8)
def test_commands_end_as_always_if_a_stream_is_closed(tmp_path, command, code, closed):
    (tmp_path / "script.py").write_text("import sys; print(1); sys.stderr.write('2'); sys.exit(7)")
    name, _, arguments = command.partition(" ")
    python = f"from onewafer.cli.commands import {name} as main; main()"
    result = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{python}" {arguments} {closed}'],
        cwd=tmp_path,
        check=False,
        text=True,
        capture_output=True,
    )
    assert result.returncode == code
    assert "Traceback" not in result.stdout + result.stderr


INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupter:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
            import _ssl, _sqlite3  # C code, and time for the signal
sys.meta_path.insert(0, Interrupter())
"""


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("onewafer", "onewafer.terminal"),
        ("onewafer", "typer"),
        ("onewafer", "onewafer.cli.sweep"),
        ("cslc", "onewafer.cli.running.process"),
        ("cslc", "numpy"),
        ("cslc", "onewafer.csl.sema"),
        ("cs_python", "onewafer.settings"),
        ("sdk_debug_shell", "onewafer.csl.driver"),
    ],
)
def test_a_ctrl_c_during_the_imports_is_one_line(name, module):
    start = f"from onewafer.cli.commands import {name}; {name}()"
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT.format(module=module) + start],
        check=False,
        text=True,
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (130, f"\n{name}: interrupted\n")


def test_a_ctrl_c_that_the_caller_ignores_is_ignored():
    start = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nfrom onewafer.cli.commands import cslc"
    result = subprocess.run(
        [sys.executable, "-c", f"{INTERRUPTED_IMPORT.format(module='numpy')}{start}; cslc()", "-h"],
        check=False,
        text=True,
        capture_output=True,
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("end", ["return 7", "raise KeyboardInterrupt"])
def test_a_program_may_close_its_streams_itself(end):
    code = f"""
import sys
from onewafer.cli.running.process import run_command_line
def execute(arguments):
    sys.stdout.close()
    sys.stderr.close()
    {end}
run_command_line("tool", execute)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, text=True, capture_output=True
    )
    assert (result.returncode, result.stderr) == (7 if "7" in end else 130, "")


def test_a_help_that_goes_nowhere_is_an_error():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "onewafer.cli.csl.cslc", "--help"],
            check=False,
            text=True,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert (result.returncode, result.stderr) == (1, "cslc: the output: No space left on device\n")


def test_a_ctrl_c_in_a_subcommand_is_one_line(monkeypatch, capsys):
    """Typer would end without a word."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("onewafer.benchmarks.find_facts", interrupted)
    assert execute(["bench"]) == 130
    assert capsys.readouterr().err == "\nonewafer: interrupted\n"


def test_what_the_system_refuses_is_no_bug_of_ours(capsys):
    assert execute(["resume", "n" * 1000]) == 1
    assert capsys.readouterr().err.endswith("(1,000 characters): File name too long\n")
