"""Mutated sources end with an image or with errors; and what would not is found."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch):
    path = ROOT / "tools" / "fuzz_compiler.py"
    spec = importlib.util.spec_from_file_location("fuzz_compiler", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz_compiler", module)
    spec.loader.exec_module(module)
    return module


def run(tool, count, first=0):
    fuzzer = tool.Fuzzer(tool.find_seeds())
    failures = fuzzer.run(range(first, first + count), Console(file=io.StringIO()))
    return fuzzer, failures


def test_a_share_of_the_sources(tool):
    """The command runs 10,000."""
    fuzzer, failures = run(tool, 100)
    assert not failures
    assert fuzzer.num_images > 0
    assert len(fuzzer.codes) > 20  # edits reach far behind the parser


def test_seeds_compile_as_they_are(tool):
    whole = [seed for seed in tool.find_seeds() if len(seed.files) > 1]
    assert len(whole) > 20
    names = {seed.name for seed in whole}
    assert {"two_phase", "all_reduce", "division-by-zero"} <= names


def test_a_number_is_always_the_same_source(tool):
    seeds = tool.find_seeds()
    assert tool.mutate(7, seeds) == tool.mutate(7, seeds)
    assert tool.mutate(7, seeds).files != tool.mutate(8, seeds).files


@pytest.mark.parametrize("kind", [ValueError, RecursionError, AssertionError])
def test_an_exception_of_the_compiler_is_a_failure(tool, monkeypatch, kind):
    def fail(*_):
        raise kind("out of range")

    monkeypatch.setattr(tool, "run_stages", fail)
    _, failures = run(tool, 1, first=5)
    assert [failure.number for failure in failures] == [5]
    assert "out of range" in failures[0].reason


def test_silence_is_a_failure(tool, monkeypatch):
    class Nothing:
        image, has_layout = None, True

    monkeypatch.setattr(tool, "run_stages", lambda *_: Nothing)
    assert run(tool, 1)[1][0].reason == "no image, and no error says why"


def test_a_hang_is_a_failure(tool, monkeypatch):
    def hang(*_):
        while True:
            pass

    monkeypatch.setattr(tool, "run_stages", hang)
    monkeypatch.setattr(tool, "SECONDS", 0.05)
    assert "not done within" in run(tool, 1)[1][0].reason


def test_command(tool, capsys, monkeypatch):
    assert tool.main(["--count", "3"]) == 0
    assert "3 of 3 ended as they should" in capsys.readouterr().out
    assert tool.main(["--show", "3"]) == 0
    assert ".csl" in capsys.readouterr().out
    monkeypatch.setattr(tool.Fuzzer, "check", lambda *_: "wrong")
    assert tool.main(["--count", "2", "--first", "9"]) == 1
    assert "--- 9 (" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        tool.main(["--count", "0"])
    assert "at least 1" in capsys.readouterr().err
