"""A bar on stderr, if it is a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from onewafer.terminal.progress import progress_bar


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
