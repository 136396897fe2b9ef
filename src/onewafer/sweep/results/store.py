"""The store of a study's outcomes: a folder beside it, whose files are never half-written.

    points.parquet   the points of the study, in its order
    earlier.parquet  outcomes of points that the study no longer has, by their keys
    running.jsonl    outcomes since these files were written, a line each, with the inputs

A run writes the Parquet files at its beginning, appends to `running.jsonl`, and writes them anew
at its end, however it ends. If it is killed, the next one finds the lines. A page that follows a
study reads both.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import naming, whole_file
from onewafer.sweep.inputs.plain import to_json
from onewafer.sweep.results.rows import Header, outcome_of, read_header, write_rows
from onewafer.sweep.studies.requirements import arrow, parquet
from onewafer.sweep.subjects.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from onewafer.sweep.studies.points import Point
    from onewafer.sweep.studies.study import Study

POINTS, RUNNING = "points.parquet", "running.jsonl"
_EARLIER = "earlier.parquet"


def folder_of(study: Path) -> Path:
    """Return the folder of a study's results: `study.toml` has `study.sweep` beside it."""
    return study.with_suffix(".sweep")


@dataclass(slots=True)
class Store:
    """The known outcomes, by the keys of their points."""

    folder: Path
    lines: IO[str]
    known: dict[str, Outcome] = field(default_factory=dict[str, Outcome])

    def keep(self, point: Point, outcome: Outcome) -> None:
        """Keep an outcome; it is on disk when this returns."""
        self.known[point.key] = outcome
        line = {"key": point.key, "inputs": {**point.inputs}, **outcome.to_mapping()}
        with naming(self.folder / RUNNING):
            self.lines.write(to_json(line) + "\n")
            self.lines.flush()

    def write(self, study: Study, points: tuple[Point, ...]) -> Path:
        """Write the files of a study with the points that are known; return the first."""
        header = Header.of(study, len(points))
        answered = [(p, self.known[p.key]) for p in points if p.key in self.known]
        target = self.folder / POINTS
        table = write_rows(study, answered, header)
        current = {point.key for point in points}
        others = sorted((k, o) for k, o in self.known.items() if k not in current)
        texts = [to_json(outcome.to_mapping()) for _, outcome in others]
        earlier = arrow().table({"id": [key for key, _ in others], "outcome": texts})
        _write(earlier if others else None, self.folder / _EARLIER)
        _write(table, target)
        if os.fstat(self.lines.fileno()).st_size:  # a device, such as a full one, has no size
            self.lines.truncate(0)
        return target


@contextmanager
def open_store(folder: Path, *, is_fresh: bool) -> Generator[Store]:
    """Yield the store of a folder, which no other sweep has open; `is_fresh` forgets what it has.

    Raises ConfigurationError if another sweep works there, or files there are not a study's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lines = (folder / RUNNING).open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"{folder}: another sweep works on this study; wait for it, or stop it first"
            ) from None
        store = Store(folder, lines)
        if not is_fresh:
            store.known.update(_read_points(folder / POINTS))
            store.known.update(_read_earlier(folder / _EARLIER))
            store.known.update(_read_lines(lines))
        yield store
    finally:
        with naming(folder / RUNNING):  # closing writes the rest of the buffer
            lines.close()


def read_table(path: Path) -> tuple[Any, Header]:
    """Return the table and the header of a file of results.

    Raises ConfigurationError for a file that is none.
    """
    table = _read(path)
    return table, read_header(table.schema, origin=str(path))


def _read_points(path: Path) -> Mapping[str, Outcome]:
    if not path.exists():
        return {}
    table, header = read_table(path)
    rows = table.to_pylist()
    return {str(row["id"]): outcome_of(row, header.figures) for row in rows}


def _read_earlier(path: Path) -> Mapping[str, Outcome]:
    if not path.exists():
        return {}
    return {
        str(row["id"]): Outcome.from_mapping(json.loads(row["outcome"]))
        for row in _read(path).to_pylist()
    }


def _read_lines(lines: IO[str]) -> Mapping[str, Outcome]:
    """Return the outcomes of whole lines; the last line may be cut off."""
    lines.seek(0)
    found: dict[str, Outcome] = {}
    for line in lines:
        try:
            said = json.loads(line)
            found[said["key"]] = Outcome.from_mapping(said)
        except (ValueError, KeyError, TypeError):
            continue
    lines.write("\n")  # ends a line that was cut off; empty lines are skipped
    return found


def _read(path: Path) -> Any:  # noqa: ANN401  # pyarrow has no types
    try:
        return parquet().read_table(path)
    except (OSError, arrow().ArrowException) as error:
        first = str(error).splitlines()[0]
        raise ConfigurationError(f"{path} cannot be read: {first}") from None


def _write(table: Any, path: Path) -> None:  # noqa: ANN401  # pyarrow has no types
    """Write a table, or remove the file if there is none."""
    if table is None:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as target:
        parquet().write_table(table, target, compression="zstd")


def is_final(outcome: Outcome) -> bool:
    """Tell whether an outcome is kept; a failed point is tried again."""
    return outcome.status is not Status.FAILED
