"""A line below what a script prints: at the end the terminal has what the script has printed."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onewafer.terminal import StandingLine


class Screen:
    """What a terminal shows of text, ends of lines, and sequences that erase a line."""

    def __init__(self) -> None:
        self.lines, self._row, self._column = [""], 0, 0

    def feed(self, data: bytes) -> None:
        text = data.decode()
        while text:
            if text.startswith("\x1b[2K"):
                self.lines[self._row], text = "", text[4:]
                continue
            letter, text = text[0], text[1:]
            if letter == "\r":
                self._column = 0
            elif letter == "\n":
                self._row, self._column = self._row + 1, 0
                self.lines += [""] * (self._row + 1 - len(self.lines))
            else:
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
                self._column += 1


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch):
    """Let stdout and stderr be a terminal; yield what reads all that is written on it."""
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # as it is written
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    for name in ("stdout", "stderr"):
        file = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(theirs, "w", closefd=False)),
            encoding="utf-8",
            line_buffering=True,
        )
        monkeypatch.setattr(sys, name, file)

    def read() -> bytes:
        os.write(theirs, b"\0")
        found = b""
        while not found.endswith(b"\0"):
            found += os.read(ours, 65536)
        return found[:-1]

    try:
        yield read
    finally:
        os.close(ours)
        os.close(theirs)


PARTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]), st.sampled_from(["a\n", "bcd", "\n", "x\ny"])
        ),
        st.tuples(st.just("show"), st.sampled_from(["step 1", "step 10, loss 0.5, 12 samples/s"])),
        st.just(("give way", "")),
    ),
    max_size=12,
)


@settings(max_examples=30)
@given(PARTS)
def test_a_terminal_has_what_was_printed_and_the_line_only_below_it(parts):
    with pytest.MonkeyPatch.context() as patch, terminal(patch) as read:
        clock = iter(range(1000))
        line, screen, alone, shown = StandingLine(lambda: next(clock)), Screen(), Screen(), ""
        before = sys.stdout, sys.stderr
        with line.below():
            for what, text in parts:
                if what == "show":
                    line.show(lambda text=text: text)
                    shown = text
                elif what == "give way" and alone.lines[-1]:
                    continue  # those lines are drawn over half a line, too
                elif what == "give way":
                    with line.giving_way():
                        sys.stderr.write("compiling\r\x1b[2K")
                        sys.stderr.flush()
                else:
                    file = getattr(sys, what)
                    file.write(text)
                    file.flush()
                    alone.feed(text.encode())
                screen.feed(read())
                last = alone.lines[-1]
                is_below = not last and screen.lines[-1] == shown != ""
                assert screen.lines[:-1] == alone.lines[:-1]
                assert is_below or screen.lines[-1] == last
                assert what != "show" or bool(last) or is_below
        screen.feed(read())
        assert screen.lines == alone.lines
        assert (sys.stdout, sys.stderr) == before


def test_words_are_asked_for_four_times_a_second_and_cut_at_the_edge(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    now, asked = [0.0], list[float]()

    def say() -> str:
        asked.append(now[0])
        return "step 1, loss\x1b 0.5"

    with terminal(monkeypatch) as read:
        line = StandingLine(lambda: now[0])
        line.show(say)  # there is no terminal yet
        with line.below():
            for _ in range(100):
                line.show(say)
                now[0] += 0.01
        assert asked == pytest.approx([0.0, 0.25, 0.5, 0.75], abs=0.011)
        assert read().count(b"step 1, l") == len(asked)


def test_a_file_for_a_terminal_is_like_python_s_own(monkeypatch):
    with terminal(monkeypatch) as read:
        line = StandingLine()
        with line.below():
            for file in (sys.stdout, sys.stderr):
                assert type(file) is io.TextIOWrapper
                assert file.isatty()
                assert file.encoding == "utf-8"
            line.show(lambda: "step 1")
            sys.stdout.fileno()  # a process writes there by itself
            assert read().endswith(b"\r\x1b[2K")
            kept = sys.stdout
        print("later", file=kept, flush=True)
        assert read().endswith(b"later\n")


def test_no_terminal_is_left_as_it_is(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    line = StandingLine()
    with line.below():
        line.show(lambda: "step 1")
        assert sys.stderr is file
    assert file.getvalue() == ""
