"""`onewafer bench` as a user meets it."""

import json
from importlib.util import find_spec

import pytest

from onewafer.benchmarks import curves as curves_module
from onewafer.benchmarks import plots as plots_module
from onewafer.cli.main import execute

QUICK = ["bench", "--quick", "--engine", "reference", "--repeat", "1"]


@pytest.mark.slow
def test_two_benchmarks_with_json_and_page(tmp_path, capsys):
    report, page = tmp_path / "bench.json", tmp_path / "page.md"
    chosen = ["--only", "axpy", "--only", "flood-64"]
    assert execute([*QUICK, *chosen, "--json", str(report), "--page", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Goals: 0 met, 0 missed, 1 not judged. reference engine" in out
    document = json.loads(report.read_text())
    assert [benchmark["name"] for benchmark in document["benchmarks"]] == ["flood-64", "axpy"]
    command = "onewafer bench --only axpy --only flood-64 --quick --repeat 1 --engine reference"
    assert f"\n$ {command}\n" in page.read_text()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="plots are an extra")
def test_plots_are_measured_and_linked(tmp_path, capsys, monkeypatch):
    """With one program a curve: each of its points is a process."""
    monkeypatch.setattr(curves_module, "_PROGRAMS", {"chain reduce": "chain-reduce-64"})
    page = tmp_path / "README.md"
    report = tmp_path / "bench.json"
    files = ["--page", str(page), "--plots", str(tmp_path / "plots"), "--json", str(report)]
    assert execute([*QUICK, "--only", "axpy", *files]) == 0
    capsys.readouterr()
    assert "](plots/over-pes.svg)" in page.read_text()
    assert (tmp_path / "plots" / "over-active-fraction.svg").is_file()
    curves = json.loads(report.read_text())["curves"]
    assert [curve["name"] for curve in curves] == [
        "over-pes",
        "over-wavelets",
        "over-active-fraction",
    ]
    assert curves[0]["series"][0]["points"][0]["x"] == 4


def test_list_names_every_benchmark(capsys):
    assert execute(["bench", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=1) == [
        "chain-reduce-64",
        "chain reduce along rows, 64×64 PEs, 128 words",
    ]
    assert lines[-1].endswith("(large)")


def refusal(arguments, capsys):
    assert execute(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_unknown_names(capsys):
    err = refusal(["--only", "gemv"], capsys)
    assert err.startswith("onewafer: there is no benchmark 'gemv'; the benchmarks are:\n  chain-")
    err = refusal(["--engine", "quick"], capsys)
    assert "--engine quick: there is no such engine; choose from fast, reference" in err


def test_bad_options(tmp_path, capsys):
    assert "--repeat 0: give a whole number of at least 1" in refusal(["--repeat", "0"], capsys)
    assert "Invalid value for '--repeat'" in refusal(["--repeat", "many"], capsys)
    missing = str(tmp_path / "missing" / "file")
    assert "there is no directory" in refusal(["--json", missing], capsys)
    assert "there is no directory" in refusal(["--page", missing], capsys)
    assert "that is a directory" in refusal(["--json", str(tmp_path)], capsys)
    file = tmp_path / "file"
    file.touch()
    assert f"--plots {file}: " in refusal(["--plots", str(file)], capsys)


def test_plots_without_matplotlib_are_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plots_module, "find_spec", lambda _name: None)
    err = refusal(["--plots", str(tmp_path)], capsys)
    assert err == (
        "onewafer: plots need Matplotlib, which is not installed: pip install 'onewafer[view]'\n"
    )


def test_benchmark_that_cannot_be_measured_is_an_error(capsys, monkeypatch):
    monkeypatch.setenv("ONEWAFER_MAX_CYCLES", "-1")
    assert execute([*QUICK, "--only", "starts"]) == 1
    out = capsys.readouterr().out
    assert "Not measured" in out
    assert "ONEWAFER_MAX_CYCLES='-1'" in out
