"""What long runs write on stderr."""

import io
import sys

import pytest

from onewafer.host import RunProgress
from onewafer.host.runs.progress_display import (
    LogLines,
    StatusLine,
    WarningsOnly,
    describe_progress,
)


def progress(**changes):
    fields = {
        "what": "the launch of 'main'",
        "cycle": 1_234_567,
        "passed_cycles": 1_234_000,
        "active_pes": 64,
        "wavelets_per_second": 2.5e6,
        "elapsed_seconds": 12.0,
        "activity": "64 PEs work: PE (0, 0) at a.csl:1:1 and 63 more",
    }
    return RunProgress(**{**fields, **changes})


def test_figures():
    assert describe_progress(progress()) == (
        "cycle 1,234,567 · 64 active PEs · 2.5 M wavelets/s · 12 s"
    )
    assert "· 1 active PE ·" in describe_progress(progress(active_pes=1))


def test_a_log_gets_whole_lines(capsys):
    lines = LogLines()
    lines.show(progress())
    lines.done()
    assert capsys.readouterr().err == (
        "onewafer: the launch of 'main': cycle 1,234,567 · 64 active PEs · 2.5 M wavelets/s · 12 s "
        "(64 PEs work: PE (0, 0) at a.csl:1:1 and 63 more)\n"
    )


def test_a_terminal_gets_one_line_that_disappears(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    line = StatusLine()
    line.done()
    assert stream.getvalue() == ""
    line.show(progress())
    line.show(progress(cycle=2_000_000))
    line.say("a sentence")
    line.done()
    text = stream.getvalue()
    assert "cycle 2,000,000 · 64 active PEs" in text
    assert text.endswith("onewafer: a sentence\n")
    assert "\x1b[2K" in text  # the line is taken away before the sentence


@pytest.mark.parametrize("observer", [WarningsOnly(), LogLines(), StatusLine()])
def test_sentences_are_always_said(observer, capsys):
    observer.say("the reference engine runs it")
    assert capsys.readouterr().err == "onewafer: the reference engine runs it\n"


def test_progress_can_be_off(capsys):
    observer = WarningsOnly()
    observer.show(progress())
    observer.done()
    assert capsys.readouterr().err == ""
