"""A status line below the output of a script: erased before each print and drawn again after it.

It is drawn on the terminal of stderr, at most four times a second. If `sys.stdout` and `sys.stderr`
are terminals, they are replaced by files that erase the line before they write. The line is drawn
only if the cursor is at the start of a line, so that it never overwrites a part of one, such as
another progress bar.
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
from contextlib import contextmanager, suppress
from time import perf_counter  # affects only what is displayed
from typing import TYPE_CHECKING

from onewafer.terminal.user_text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TextIO

    from _typeshed import ReadableBuffer

_INTERVAL_SECONDS = 0.25
_ERASE = b"\r\x1b[2K"


class StandingLine:
    """The status line, and the state of its terminal."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """Take a clock in seconds."""
        self._clock = clock
        self._due = 0.0
        self._file: io.FileIO | None = None
        self._is_shown = False
        self._is_at_start = True
        """True if the cursor is at the start of a line."""
        self._lock = threading.RLock()

    def show(self, say: Callable[[], str]) -> None:
        """Update the line with the text of `say`, at most once in a quarter of a second."""
        now = self._clock()
        if now < self._due or self._file is None:
            return
        self._due = now + _INTERVAL_SECONDS
        words = printable(say())[: shutil.get_terminal_size().columns - 1]
        with self._lock, suppress(OSError):  # a terminal that is gone
            if self._is_at_start:
                self._file.write(_ERASE + words.encode("utf-8", "replace") + b"\r")
                self._is_shown = True

    def erase(self) -> None:
        """Erase the line until it is shown again."""
        with self._lock, suppress(OSError):
            if self._is_shown and self._file is not None:
                self._is_shown = False
                self._file.write(_ERASE)

    def note(self, written: bytes) -> None:
        """Note from the written bytes whether the cursor is at the start of a line."""
        if written:
            self._is_at_start = written.endswith(b"\n")

    @contextmanager
    def giving_way(self) -> Generator[None]:
        """Leave the terminal to another progress line inside the block, which erases itself."""
        self.erase()
        was_at_start = self._is_at_start
        try:
            yield
        finally:
            self._is_at_start = was_at_start

    @contextmanager
    def below(self) -> Generator[None]:
        """Keep the line below the output of the block, if stderr is a terminal."""
        terminal = sys.stderr
        if not _is_plain_terminal(terminal):
            yield
            return
        self._file = io.FileIO(terminal.fileno(), "w", closefd=False)
        before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        replaced = {
            name: _beside(stream, self)
            for name, stream in before.items()
            if _is_plain_terminal(stream)
        }
        for name, stream in replaced.items():
            before[name].flush()
            setattr(sys, name, stream)
        try:
            yield
        finally:
            for name, stream in replaced.items():
                with suppress(OSError, ValueError):  # closed by the script
                    stream.flush()
                if getattr(sys, name) is stream:
                    setattr(sys, name, before[name])
            self.erase()
            self._file = None


class _Terminal(io.FileIO):
    """A terminal that erases the status line before anything is written."""

    def __init__(self, descriptor: int, line: StandingLine) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._line = line

    def write(self, data: ReadableBuffer, /) -> int:
        self._line.erase()
        count = super().write(data)
        self._line.note(bytes(memoryview(data)[:count]))
        return count

    def fileno(self) -> int:
        self._line.erase()  # callers write to the descriptor themselves: `input`, a process
        return super().fileno()


def _is_plain_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal as Python opened it, not a replacement."""
    try:
        return type(stream) is io.TextIOWrapper and stream.isatty() and stream.fileno() >= 0
    except (OSError, ValueError):  # closed
        return False


def _beside(stream: io.TextIOWrapper, line: StandingLine) -> io.TextIOWrapper:
    """Return a copy of a terminal's stream that erases the status line before it writes."""
    raw = _Terminal(stream.fileno(), line)
    raw.name = stream.name
    found = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    found.mode = "w"  # pyright: ignore[reportAttributeAccessIssue]  # as `open` does
    return found
