"""A bar on stderr, if it is a terminal."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from onewafer.terminal.progress import LogLines, progress_bar


class Terminal(io.StringIO):
    """What believes to be a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shows"), [(io.StringIO, False), (Terminal, True)])
def test_a_bar_is_shown_to_those_who_watch(monkeypatch, stream, shows):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr", stream())
    with progress_bar() as bar:
        bar.say("[llama] on cs3")
        bar.show(1, 2)
    shown = sys.stderr.getvalue()

    assert ("[llama] on cs3" in shown) == shows
    assert bool(shown) == shows


def test_steps_are_told_in_lines_where_stderr_is_a_file(monkeypatch):
    written, before = threading.Event(), {*threading.enumerate()}

    class File(io.StringIO):
        def flush(self):
            written.set()

    monkeypatch.setattr("sys.stderr", File())
    monkeypatch.setattr(LogLines, "seconds_to_next", lambda _: 0.001)
    with progress_bar(noun="points") as bar:
        bar.say("a\x1b[31m.toml")
        bar.show(0, 640)
        assert written.wait(20)
    lines = sys.stderr.getvalue().splitlines()

    assert lines[0].startswith(r"onewafer: a\x1b[31m.toml: 0 of 640 points (")
    assert before.issuperset(threading.enumerate())  # threads of other tests may have ended


def test_a_line_says_how_much_is_left_and_lines_become_rare():
    now = [100.0]
    log = LogLines("points", clock=lambda: now[0])
    log.say("study.toml")
    log.show(128, 640)
    assert log.seconds_to_next() == 10
    now[0] += 64
    assert log.line() == (
        "study.toml: 128 of 640 points, 2 points/s, about 4:16 min left (1:04 min so far)"
    )
    now[0] += 3600
    assert log.seconds_to_next() == pytest.approx(732.8)
