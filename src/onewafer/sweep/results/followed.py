"""The page of a study, which follows a sweep while it computes.

In: the folder of its store. Out: `study.json`, with the points that have an outcome by now. All
texts in it are data.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, cast

from onewafer.errors import ConfigurationError
from onewafer.sweep.inputs.plain import spelled, unit_of
from onewafer.sweep.results.pareto import pareto_front
from onewafer.sweep.results.results import varying_inputs
from onewafer.sweep.results.store import POINTS, RUNNING, folder_of, read_table
from onewafer.sweep.subjects.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from onewafer.sweep.results.results import Row
    from onewafer.sweep.results.rows import Header

_PART = "study.json"


def is_study(path: Path) -> bool:
    """Tell whether a path names a study: its TOML file, its folder or its file of results."""
    return path.suffix in (".toml", ".sweep") or path.is_dir() or path.name == POINTS


class FollowedStudy:
    """The points of a study as they are computed: the `Parts` of a page."""

    def __init__(self, path: Path) -> None:
        """Take a study by its TOML file, which may have no results yet, or by its folder.

        Raises ConfigurationError where there is no study.
        """
        is_file = path.suffix == ".toml"
        self.folder = folder_of(path) if is_file else path.parent if path.name == POINTS else path
        self._files = [self.folder / POINTS, self.folder / RUNNING]
        self._seen: list[tuple[int, int] | None] = []
        self._version = 0
        if not (path.is_file() if is_file else any(file.is_file() for file in self._files)):
            raise ConfigurationError(
                f"{path} is no study; write a study's TOML file, or the folder STUDY.sweep that "
                "onewafer sweep STUDY.toml makes"
            )
        if self._files[0].is_file():
            read_table(self._files[0])  # refuses a damaged file before the page is shown

    def paths(self) -> Iterator[str]:
        """Yield the paths of all parts."""
        yield _PART

    def look(self) -> int:
        """Return a number that changes with the files."""
        seen = [_state(file) for file in self._files]
        if seen != self._seen:
            self._seen = seen
            self._version += 1
        return self._version

    def find(self, path: str) -> bytes | None:
        """Return the page part at a path, or None."""
        if path != _PART:
            return None
        points, running = self._files
        if not points.is_file():
            return json.dumps({"title": self.folder.stem, "is_awaited": True}).encode()
        table, header = read_table(points)
        rows: dict[str, Row] = {row["id"]: row for row in table.to_pylist()}
        rows.update(_rows_of_lines(running))
        return json.dumps(_page(header, [*rows.values()])).encode()


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _rows_of_lines(file: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of whole lines; the last line may be half-written."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            said = json.loads(line)
            row = {**said["inputs"], **said["figures"], "id": said["key"]}
            yield said["key"], row | {key: said[key] for key in ("status", "reason", "breakdown")}
        except (ValueError, KeyError, TypeError):
            continue


def _page(header: Header, rows: list[Row]) -> dict[str, object]:
    """Return the study as its page shows it: columns, and a row a point."""
    known = (*header.inputs, *header.figures)
    full: list[Row] = [{**dict.fromkeys(known), **row} for row in rows]
    is_whole = len(full) == header.num_points  # before that an axis may have one value by chance
    inputs = (varying_inputs(full, header) if is_whole else ()) or header.axes
    wanted = dict(header.objectives)
    seen = {name for name in known if any(row[name] is not None for row in full)}
    others = [name for name in header.figures if name in seen and name not in wanted]
    names = [*inputs, *wanted, *others]
    answered = [row for row in full if wanted and row["status"] == Status.ANSWERED.value]
    on_front = {row["id"] for row in pareto_front(answered, header.objectives)}
    return {
        "title": header.title,
        "num_points": header.num_points,
        "fixed": [[n, spelled(full[0][n], n)] for n in header.inputs if n not in inputs and full],
        "columns": [_column(name, full, name in inputs, wanted.get(name)) for name in names],
        "rows": [_row(row, names, is_on_front=row["id"] in on_front) for row in full],
    }


def _column(name: str, rows: list[Row], is_input: bool, wanted: str | None) -> dict[str, object]:  # noqa: FBT001  # one caller
    is_number = all(isinstance(row[name], int | float | None) for row in rows)
    kind = {"is_input": is_input, "is_number": is_number, "wanted": wanted}
    return {"name": name, "unit": unit_of(name).value, **kind}


def _row(row: Row, names: list[str], *, is_on_front: bool) -> dict[str, object]:
    return {
        "id": row["id"],
        "status": row["status"],
        "reason": row["reason"] or "",
        "front": is_on_front,
        "values": [_finite(row[name]) for name in names],
        "texts": [spelled(row[name], name) for name in names],
        "breakdown": [
            [one["name"], _finite(one["seconds"]), one["limit"] or ""]
            for one in cast("list[Mapping[str, Any]]", row["breakdown"] or [])
        ],
    }


def _finite(value: object) -> object:
    """Return a value as JSON has it, which knows no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
