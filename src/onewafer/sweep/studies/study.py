"""A study: a TOML file with the subject, the axes and the objectives of its points.

title = "…"                          a line for tables and pictures
about = "…"                          anything else about it
filters = ["sram >= need"]           conditions that a point meets, or it is left out
objectives = { seconds = "min" }     figures, the most important first: "min" or "max"

[compare]                            the subject: inputs that all points share
[axes]                               inputs that differ
[points]                             sampling, count, seed
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError
from onewafer.files.whole_files import check_file
from onewafer.sweep.inputs.axes import read_axis
from onewafer.sweep.inputs.expressions import check_names, parse
from onewafer.sweep.inputs.names import as_list, as_table, check_keys, unknown
from onewafer.sweep.inputs.plain import as_number, as_text, as_whole
from onewafer.sweep.inputs.sampling import Sample, Sampling
from onewafer.sweep.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onewafer.sweep.inputs.axes import Axis
    from onewafer.sweep.inputs.expressions import Expression
    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.subjects.subject import Subject

_KEYS = ("title", "about", "filters", "objectives", "axes", "points", *SUBJECTS)
_POINT_KEYS = ("sampling", "count", "seed")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure to be minimized or maximized."""

    figure: str
    is_largest_best: bool

    @property
    def text(self) -> str:
        """The objective as a study writes it: `min` or `max`."""
        return "max" if self.is_largest_best else "min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its file says."""

    path: Path
    title: str
    subject_name: str
    subject: Subject
    fixed: Mapping[str, Plain]
    """Inputs that all points share."""
    axes: tuple[Axis, ...]
    sample: Sample
    filters: tuple[Expression, ...]
    objectives: tuple[Objective, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs of every point, axes first."""
        return (*(axis.name for axis in self.axes), *self.fixed)


def read_study(path: Path) -> Study:
    """Read a study.

    Raises ConfigurationError for a file that cannot be read or is not a valid study.
    """
    try:
        check_file(path, most_bytes=_MOST_BYTES)
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    try:
        return _study(path, document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _study(path: Path, document: Mapping[str, object]) -> Study:
    check_keys("a study", document, _KEYS)
    name = _subject_name(document)
    subject = SUBJECTS[name](path.absolute().parent)
    fixed = {
        key: subject.parse(key, value)
        for key, value in _inputs(name, as_table(name, document[name]), subject).items()
    }
    written = _inputs("axes", as_table("axes", document.get("axes", {})), subject)
    if twice := sorted({*fixed} & {*written}):
        raise ConfigurationError(
            f"{twice[0]} is under [{name}] and under [axes]; leave one of them out"
        )
    names = (*written, *fixed)
    return Study(
        path=path,
        title=as_text("title", document.get("title", path.stem)),
        subject_name=name,
        subject=subject,
        fixed=fixed,
        axes=tuple(read_axis(key, value, subject.parse) for key, value in written.items()),
        sample=_sample(as_table("points", document.get("points", {}))),
        filters=_filters(as_list("filters", document.get("filters", [])), names, subject),
        objectives=_objectives(as_table("objectives", document.get("objectives", {})), subject),
    )


def _subject_name(document: Mapping[str, object]) -> str:
    named = [name for name in SUBJECTS if name in document]
    tables = " or ".join(f"[{name}]" for name in SUBJECTS)
    if not named:
        raise ConfigurationError(f"the study does not say what its points do; write {tables}")
    if len(named) > 1:
        raise ConfigurationError(f"[{named[0]}] and [{named[1]}]: a study is about one of them")
    return named[0]


def _inputs(where: str, table: Mapping[str, object], subject: Subject) -> dict[str, object]:
    """Return the inputs in a table; those in tables of it (`params.n`) with their whole names."""
    found: dict[str, object] = {}
    for key, value in table.items():
        if key in subject.names():
            found[key] = value
        elif isinstance(value, dict) and any(
            name.startswith(f"{key}.") for name in subject.prefixes()
        ):
            inner = as_table(f"{where}.{key}", cast("object", value))
            found |= {f"{key}.{name}": one for name, one in inner.items()}
        elif any(key.startswith(prefix) for prefix in subject.prefixes()):
            found[key] = value
        else:
            tables = (prefix.rstrip(".") for prefix in subject.prefixes())
            raise unknown(f"input in [{where}]:", key, (*subject.names(), *tables))
    return found


def _sample(table: Mapping[str, object]) -> Sample:
    check_keys("[points]", table, _POINT_KEYS)
    name = as_text("points.sampling", table.get("sampling", Sampling.GRID.value))
    if name not in {*Sampling}:
        raise unknown("sampling", name, [kind.value for kind in Sampling])
    sampling = Sampling(name)
    if sampling.is_by_chance != ("count" in table):
        wrong = "needs a count" if sampling.is_by_chance else "has no count: its axes say how many"
        raise ConfigurationError(f'[points]: sampling = "{sampling}" {wrong}')
    return Sample(
        sampling=sampling,
        count=as_whole("points.count", table["count"]) if "count" in table else 0,
        seed=int(as_number("points.seed", table.get("seed", 0))),
    )


def _filters(
    texts: list[object], names: tuple[str, ...], subject: Subject
) -> tuple[Expression, ...]:
    found = [parse(as_text("filters", text), where="filters") for text in texts]
    known = tuple(dict.fromkeys((*names, *subject.asks(names))))
    for expression in found:
        check_names(expression, known, where="the filter")
    return tuple(found)


def _objectives(table: Mapping[str, object], subject: Subject) -> tuple[Objective, ...]:
    numbers = [figure.name for figure in subject.figures if not figure.is_text]
    for name, wanted in table.items():
        if name not in numbers:
            raise unknown("figure for an objective:", name, numbers)
        if wanted not in ("min", "max"):
            raise ConfigurationError(f'objectives.{name} = {wanted!r}: write "min" or "max"')
    return tuple(Objective(name, wanted == "max") for name, wanted in table.items())
