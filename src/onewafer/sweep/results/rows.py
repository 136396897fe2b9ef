"""Rows of a study's results: one per point, with its inputs, its outcome and the version.

    id, the inputs (axes first), status, reason, the figures, breakdown, notes, version

Nothing in a row depends on when, where or in what order it was computed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from onewafer.errors import ConfigurationError
from onewafer.sweep.studies.points import version
from onewafer.sweep.studies.requirements import arrow
from onewafer.sweep.subjects.outcome import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onewafer.sweep.studies.points import Point
    from onewafer.sweep.studies.study import Study

_FORMAT = "onewafer-study-1"
_ABOUT = b"onewafer"
"""Key of the header in the metadata of the file's schema."""
_ITEM = ("name", "seconds", "limit")


@dataclass(frozen=True, slots=True)
class Header:
    """The description of a study in a file of results."""

    title: str
    axes: tuple[str, ...]
    inputs: tuple[str, ...]
    figures: tuple[str, ...]
    objectives: tuple[tuple[str, str], ...]
    """Figures, with `min` or `max`."""
    num_points: int
    """Points of the study; fewer rows: it was stopped."""

    @classmethod
    def of(cls, study: Study, num_points: int) -> Header:
        """Return the header of a study."""
        return cls(
            title=study.title,
            axes=tuple(axis.name for axis in study.axes),
            inputs=study.input_names,
            figures=tuple(figure.name for figure in study.subject.figures),
            objectives=tuple((one.figure, one.text) for one in study.objectives),
            num_points=num_points,
        )

    def to_json(self) -> str:
        """Return the header as JSON."""
        return json.dumps(
            {
                "format": _FORMAT,
                "title": self.title,
                "axes": self.axes,
                "inputs": self.inputs,
                "figures": self.figures,
                "objectives": self.objectives,
                "num_points": self.num_points,
            },
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> Header:
        """Return the header in a file's metadata; raise ConfigurationError if there is none."""
        try:
            said = json.loads(text)
            is_known = said["format"] == _FORMAT
            pairs = tuple((str(name), str(wanted)) for name, wanted in said["objectives"])
            axes, inputs, figures = (
                tuple(map(str, said[key])) for key in ("axes", "inputs", "figures")
            )
            found = cls(str(said["title"]), axes, inputs, figures, pairs, int(said["num_points"]))
        except (ValueError, KeyError, TypeError):
            is_known, found = False, None
        if not is_known or found is None:
            raise ConfigurationError(
                f"{origin} is no file of `onewafer sweep`, or of another version"
            )
        return found


def write_rows(study: Study, answered: Iterable[tuple[Point, Outcome]], header: Header) -> Any:  # noqa: ANN401  # pyarrow has no types
    """Return the Arrow table of points with their outcomes, in the order given."""
    pa = arrow()

    rows = [*answered]
    columns: dict[str, tuple[Sequence[object], Any]] = {
        "id": ([p.key for p, _ in rows], pa.string())
    }
    for name in study.input_names:
        values = [point.inputs[name] for point, _ in rows]
        columns[name] = _typed(values)
    columns["status"] = [outcome.status.value for _, outcome in rows], pa.string()
    columns["reason"] = [outcome.reason or None for _, outcome in rows], pa.string()
    for figure in study.subject.figures:
        of_rows = [outcome.figures.get(figure.name) for _, outcome in rows]
        columns[figure.name] = of_rows, pa.string() if figure.is_text else pa.float64()
    types = (pa.string(), pa.float64(), pa.string())
    item = pa.struct([pa.field(name, kind) for name, kind in zip(_ITEM, types, strict=True)])
    columns["breakdown"] = [_items(outcome) for _, outcome in rows], pa.list_(item)
    columns["notes"] = [[*outcome.notes] for _, outcome in rows], pa.list_(pa.string())
    columns["version"] = [version()] * len(rows), pa.string()
    schema = pa.schema(
        [pa.field(name, kind) for name, (_, kind) in columns.items()],
        metadata={_ABOUT: header.to_json().encode()},
    )
    return pa.table({name: values for name, (values, _) in columns.items()}, schema=schema)


def read_header(schema: Any, *, origin: str) -> Header:  # noqa: ANN401  # pyarrow has no types
    """Return the header of a file of results; raise ConfigurationError if it has none."""
    metadata = cast("dict[bytes, bytes]", schema.metadata or {})
    return Header.from_json(metadata.get(_ABOUT, b"{}").decode(), origin=origin)


def outcome_of(row: Mapping[str, Any], figures: Sequence[str]) -> Outcome:
    """Return the outcome that a row holds."""
    return Outcome.from_mapping(
        {
            "status": Status(row["status"]).value,
            "reason": row["reason"] or "",
            "figures": {name: row[name] for name in figures if row[name] is not None},
            "breakdown": row["breakdown"],
            "notes": row["notes"],
        }
    )


def _items(outcome: Outcome) -> list[dict[str, object]]:
    return [
        dict(zip(_ITEM, (item.name, item.seconds, item.limit), strict=True))
        for item in outcome.breakdown
    ]


def _typed(values: Sequence[object]) -> tuple[list[object], Any]:
    """Return values of an input with the narrowest type that holds all of them."""
    pa = arrow()
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return [*values], pa.bool_()
    if kinds == {int}:
        return [*values], pa.int64()
    if kinds <= {int, float}:
        return [float(cast("float", value)) for value in values], pa.float64()
    return [str(value) for value in values], pa.string()
