"""`cs_python` is Python."""

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
