"""A line that stands below what a script prints: erased before each print, drawn between them.

In: words, as often as there are some. Out: at most four lines a second, on the terminal of stderr.
`sys.stdout` and `sys.stderr`, as far as they are terminals, get files that erase the line before
they write. It is drawn only where a line begins, so that it never meets half a line, as that of
another progress bar.
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
from contextlib import contextmanager, suppress
from time import perf_counter  # decides what is seen; results do not know
from typing import TYPE_CHECKING

from onewafer.terminal.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TextIO

    from _typeshed import ReadableBuffer

_INTERVAL_SECONDS = 0.25
_ERASE = b"\r\x1b[2K"


class StandingLine:
    """The line, and what is known of the terminal that it stands on."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        """Take what tells the time."""
        self._clock = clock
        self._due = 0.0
        self._file: io.FileIO | None = None
        self._is_shown = False
        self._is_at_start = True
        """True if the cursor is where a line begins."""
        self._lock = threading.RLock()

    def show(self, say: Callable[[], str]) -> None:
        """Renew the line if it is time to; only then its words are asked for."""
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
        """Take the line away until it is shown again."""
        with self._lock, suppress(OSError):
            if self._is_shown and self._file is not None:
                self._is_shown = False
                self._file.write(_ERASE)

    def note(self, written: bytes) -> None:
        """Note what was written on the terminal."""
        if written:
            self._is_at_start = written.endswith(b"\n")

    @contextmanager
    def giving_way(self) -> Generator[None]:
        """Leave the terminal to another line of ours, which leaves nothing behind."""
        self.erase()
        was_at_start = self._is_at_start
        try:
            yield
        finally:
            self._is_at_start = was_at_start

    @contextmanager
    def below(self) -> Generator[None]:
        """Stand below what is printed inside, if stderr is a terminal."""
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
    """A terminal that takes the line away before anything is written on it."""

    def __init__(self, descriptor: int, line: StandingLine) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._line = line

    def write(self, data: ReadableBuffer, /) -> int:
        self._line.erase()
        count = super().write(data)
        self._line.note(bytes(memoryview(data)[:count]))
        return count

    def fileno(self) -> int:
        self._line.erase()  # whoever asks writes by itself: `input`, a process
        return super().fileno()


def _is_plain_terminal(stream: TextIO | None) -> bool:
    """Tell whether it is the file of a terminal as Python opens it, not one in its place."""
    try:
        return type(stream) is io.TextIOWrapper and stream.isatty() and stream.fileno() >= 0
    except (OSError, ValueError):  # closed
        return False


def _beside(stream: io.TextIOWrapper, line: StandingLine) -> io.TextIOWrapper:
    """Return a file like that of a terminal, beside which a line stands."""
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
