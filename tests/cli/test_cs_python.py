"""`cs_python` is Python."""

import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import onewafer

MODULE = [sys.executable, "-m", "onewafer.cli.cs_python"]


def run(*arguments, cwd):
    return subprocess.run(
        [*MODULE, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_a_script_sees_what_python_gives_it(tmp_path):
    (tmp_path / "neighbour.py").write_text("WORD = 'beside'\n")
    (tmp_path / "run.py").write_text(
        "import sys, neighbour, cerebras.sdk.sdk_utils\n"
        "print(__name__, sys.argv, neighbour.WORD, sys.path[0])\n"
        "print(sys.executable)\n"
    )
    result = run("run.py", "--name", "out dir", cwd=tmp_path)
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first == f"__main__ ['run.py', '--name', 'out dir'] beside {tmp_path.resolve()}"
    assert second == sys.executable


def test_exit_codes_and_tracebacks_are_pythons(tmp_path):
    (tmp_path / "run.py").write_text("raise SystemExit(7)\n")
    assert run("run.py", cwd=tmp_path).returncode == 7
    (tmp_path / "run.py").write_text("def f():\n    raise ValueError('mine')\n\nf()\n")
    ours = run("run.py", cwd=tmp_path)
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
    assert "ValueError: mine" in ours.stderr
    assert run("missing.py", cwd=tmp_path).returncode == 2


@pytest.mark.skipif(
    not (Path(sysconfig.get_path("scripts")) / "cs_python").exists(),
    reason="onewafer is not installed",
)
def test_the_installed_command_finds_its_own_python(tmp_path):
    (tmp_path / "run.py").write_text("import onewafer; print(onewafer.__version__)\n")
    command = Path(sysconfig.get_path("scripts")) / "cs_python"
    result = subprocess.run(
        [str(command), "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == onewafer.__version__


LOOP = """
from onewafer.arch import load_architecture
from onewafer.image import Opcode, ProgramBuilder, SourceLocation, make_image, save
builder = ProgramBuilder("loop.csl")
builder.function("main")
builder.label("again")
builder.emit(Opcode.JUMP, imm="again", location=SourceLocation("loop.csl", 7, 3))
save(make_image(load_architecture("wse3"), builder.build(), uses_memcpy=True), {folder!r})
"""
SCRIPT = """
import os, signal
from cerebras.sdk.runtime.sdkruntimepybind import SdkRuntime

def work():
    with SdkRuntime("out") as runtime:
        runtime.{call}

work()
"""


@pytest.fixture
def endless(tmp_path):
    """Return a folder with a program that never ends in `out`."""
    (tmp_path / "out").mkdir()
    program = LOOP.format(folder="out").replace("'out'", "__import__('pathlib').Path('out')")
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    return tmp_path


def test_our_errors_show_only_the_frames_of_the_script(endless):
    (endless / "run.py").write_text(SCRIPT.format(call="get_id('nope')"))
    result = run("run.py", cwd=endless)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(",")[1] for line in lines if line.startswith("  File")] == [
        " line 9",
        " line 7",
    ]
    assert lines[-1].startswith("onewafer.errors.HostError: the program exports no 'nope'")
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=endless, capture_output=True, text=True, check=False
    )
    assert "sdk_runtime.py" in plain.stderr
    assert plain.stderr.splitlines()[-1] == lines[-1]


def test_errors_of_the_script_keep_every_frame(endless):
    (endless / "run.py").write_text(SCRIPT.format(call="launch(1 / 0)"))
    ours = run("run.py", cwd=endless)
    plain = subprocess.run(
        [sys.executable, "run.py"], cwd=endless, capture_output=True, text=True, check=False
    )
    assert ours.stderr == plain.stderr
    assert "ZeroDivisionError" in ours.stderr


def test_an_endless_program_ends_at_the_limit(endless, monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "5000")
    (endless / "run.py").write_text(SCRIPT.format(call="launch('main')"))
    result = run("run.py", cwd=endless)
    assert result.returncode == 1
    assert "not over after 5,000 cycles" in result.stderr
    assert "PE (0, 0) at loop.csl:7:3" in result.stderr
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "many")
    assert "ONEWAFER_MAX_CYCLES='many': give a whole number" in run("run.py", cwd=endless).stderr


def test_ctrl_c_is_one_sentence(endless):
    # The signal comes when the run is looked at, so that the test needs no clock.
    patch = (
        "import onewafer.host.run_limits as limits\n"
        "limits._Watch.mark = lambda self: os.kill(os.getpid(), signal.SIGINT)\n"
    )
    script = SCRIPT.format(call="launch('main')").replace("def work", patch + "def work")
    (endless / "run.py").write_text(script)
    result = run("run.py", cwd=endless)
    assert result.returncode == -signal.SIGINT  # what a shell calls 130
    assert result.stderr.strip() == (
        "interrupted in the launch of 'main' at cycle 100,000: "
        "1 PE works: PE (0, 0) at loop.csl:7:3"
    )
