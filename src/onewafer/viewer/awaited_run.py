"""The page of a run that was opened before its recording exists.

If the run has several programs, each has a recording (`file_of_program`): the page shows the one
that is running, and at the end the longest.
"""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

from onewafer.errors import RecordingError
from onewafer.recording import RecordingFile, file_of_program
from onewafer.viewer.followed_runs import State, state_of
from onewafer.viewer.page_parts import PageParts, Parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NOTHING = json.dumps({"is_awaited": True}).encode()


def states_of_programs(path: Path) -> dict[Path, State]:
    """Return the existing recordings of a run's programs: path → state of the file."""
    states: dict[Path, State] = {}
    for number in count(1):
        file = file_of_program(path, number)
        state = state_of(file)
        if state is not None:
            states[file] = state
        elif number > 1:
            return states
    raise AssertionError("counting has no end")


class AwaitedRun(Parts):
    """The parts of the page of a run; empty until something is recorded."""

    def __init__(self, path: Path, before: Mapping[Path, State]) -> None:
        """Wait for the recording at a path; files in their state `before` are not shown."""
        self._path = path
        self._before = before
        self._opened: dict[Path, tuple[State, RecordingFile]] = {}
        self._shown: tuple[Path, State] | None = None
        self._parts: PageParts | None = None
        self._version = 0

    def find(self, path: str) -> bytes | None:
        if self._parts is None:
            self.look()
        if self._parts is None:
            return _NOTHING if path == "run.json" else None
        return self._parts.find(path)

    def paths(self) -> Iterator[str]:
        return iter(()) if self._parts is None else self._parts.paths()

    def look(self) -> int:
        """Read changed files; return a number that changes with the shown recording."""
        for path, state in states_of_programs(self._path).items():
            known = self._opened.get(path, (self._before.get(path), None))[0]
            if state != known:
                self._open(path, state)
        if self._opened:
            path, (state, recording) = max(self._opened.items(), key=self._rank)
            if self._shown != (path, state):
                self._shown, self._parts = (path, state), PageParts(recording)
                self._version += 1
        return self._version

    def _open(self, path: Path, state: State) -> None:
        try:
            self._opened[path] = state, RecordingFile(path)
        except RecordingError:  # removed, for example: the earlier recording stays
            return

    @staticmethod
    def _rank(found: tuple[Path, tuple[State, RecordingFile]]) -> tuple[bool, int]:
        """Return the sort key of a recording: the one with the highest key is shown."""
        (_, written_at), recording = found[1]
        header = recording.header
        if not header.is_over:
            return True, written_at
        return False, header.num_pes * header.cycles
