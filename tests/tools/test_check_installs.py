"""What the check of installations finds out before it installs anything."""

from __future__ import annotations

import sys

import pytest

from tools import check_installs


def test_the_python_that_runs_is_found():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert check_installs.find_python(version) is not None
    assert check_installs.find_python("3.99") is None


def test_a_shim_that_does_not_start_is_no_python(tmp_path, monkeypatch):
    shim = tmp_path / "python3.77"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_installs.find_python("3.77") is None
    shim.write_text("#!/bin/sh\nexit 0\n")
    assert check_installs.find_python("3.77") == shim


def test_a_python_that_is_not_there_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_installs, "PYTHONS", ("3.98", "3.99"))
    check_installs.check_pythons(tmp_path, tmp_path / "uv")
    said = capsys.readouterr().out.splitlines()
    assert said == [f"Python {version}: not found, left out" for version in ("3.98", "3.99")]


@pytest.mark.parametrize(
    "requirement", ["numpy>=2.1;python_version>='3.13'", "numpy==2.1.0", "NumPy", "numpy @ x"]
)
def test_requirements_have_names(requirement):
    assert check_installs._name(requirement) == "numpy"


def test_a_command_that_fails_is_shown():
    with pytest.raises(check_installs.CheckError, match=r"exit code 3\nout\nerr"):
        check_installs.run("sh", "-c", "echo out; echo err >&2; exit 3")
