"""Live recordings, read again whenever their files change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, RecordingError
from onewafer.recording import RecordingFile
from onewafer.viewer.compared_runs import ComparedParts
from onewafer.viewer.page_parts import PageParts, Parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

State = tuple[int, int]
"""The inode of a file, and its modification time in nanoseconds."""


class FollowedRuns(Parts):
    """The parts of the page of one or two recordings whose files may change."""

    def __init__(self, runs: Sequence[RecordingFile]) -> None:
        """Take recordings that were just opened.

        Raises:
            ConfigurationError: their rectangles differ.
        """
        self._paths = [run.path for run in runs]
        self._states = [state_of(path) for path in self._paths]
        self._parts = _parts_of(runs)
        self._version = 0

    def find(self, path: str) -> bytes | None:
        return self._parts.find(path)

    def paths(self) -> Iterator[str]:
        return self._parts.paths()

    def look(self) -> int:
        """Read changed files; return a number that changes with their contents.

        If they cannot be read, the earlier contents stay.
        """
        states = [state_of(path) for path in self._paths]
        if states != self._states and None not in states:
            try:
                self._parts = _parts_of([RecordingFile(path) for path in self._paths])
            except (RecordingError, ConfigurationError):  # e.g. of another version, or rectangle
                return self._version
            self._states = states
            self._version += 1
        return self._version


def _parts_of(runs: Sequence[RecordingFile]) -> Parts:
    first, *others = runs
    return ComparedParts(first, *others) if others else PageParts(first)


def state_of(path: Path) -> State | None:
    """Return the state of a file, different after each write; None: it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
