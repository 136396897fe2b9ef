"""The tutorials do what they say: each block is run in order, and prints what the page shows."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from onewafer.cli.main import execute
from tools.notebooks import pages
from tools.tutorials import Kind, parse_tutorial, prints

ROOT = Path(__file__).parents[2]
PAGES = pages("docs/tutorials")
HOW_TOS = [ROOT / "docs" / "how-to" / f"adding-a-{what}.md" for what in ("machine", "gpu")]
LONG = {"first-script", *(path.stem for path in HOW_TOS)}
"""Pages of minutes, or whose script the README runs, too: they are slow tests."""
ONE_COMMAND = re.compile(r"onewafer [\w. /-]+")
MEASURED_KERNELS = find_spec("aiconfigurator_core") is not None


def run_shell(text):
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path}
    result = subprocess.run(
        ["bash", "-c", f"set -e\n{text}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return result.stdout


def run_onewafer(text):
    """Run one command in this process, which has imported PyTorch; return what it shows."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        assert execute(shlex.split(text)[1:]) == 0
    return shown.getvalue()


def run_python(text, names):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(text, "<tutorial>", "exec"), names)  # noqa: S102  # our own page
    return shown.getvalue()


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in LONG else [])
        for page in [*PAGES, *HOW_TOS]
    ],
)
def test_each_block_prints_what_the_page_shows(page, tmp_path, monkeypatch):
    if page.stem == "first-comparison" and MEASURED_KERNELS:
        pytest.skip("the page shows rooflines of GPUs, and here are measured kernels")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    if page.stem in LONG:  # no other test's launches are known to its report
        monkeypatch.setenv("ONEWAFER_CACHE_DIR", str(tmp_path / "cache"))
    names = {"__name__": "__main__"}
    for step in parse_tutorial(page.read_text(encoding="utf-8")):
        match step.kind:
            case Kind.FILE:
                Path(step.name).write_text(step.text, encoding="utf-8")
                continue
            case Kind.PYTHON:
                actual = run_python(step.text, names)
            case Kind.SHELL if ONE_COMMAND.fullmatch(step.text.strip()):
                actual = run_onewafer(step.text)
            case Kind.SHELL:
                actual = run_shell(step.text)
            case _:
                continue
        if step.output is not None:
            assert prints(step.output, actual), f"{step.text}\nprinted\n{actual}"
