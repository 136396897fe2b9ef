"""The points of a study: their inputs, keys and tasks.

The key of a point is a digest of all that decides its outcome: its task, and this onewafer. So two
studies share equal points, and a study that has changed computes only new points.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from onewafer import __version__
from onewafer.arch import user_catalog
from onewafer.errors import ConfigurationError
from onewafer.files.digests import digest, digest_of_sources
from onewafer.options import STUDY, errors_in
from onewafer.sweep.inputs.plain import to_json
from onewafer.sweep.subjects.outcome import Outcome, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onewafer.sweep.inputs.plain import Plain
    from onewafer.sweep.studies.study import Study
    from onewafer.sweep.subjects.subject import Task

_DIGITS = 12
"""Digits of the sources' digest in a version."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a study."""

    key: str
    """The digest of all that decides the outcome."""
    inputs: Mapping[str, Plain]
    work: Task | Outcome
    """The task that computes the point, or the outcome of a point that has none."""


@cache
def version() -> str:
    """Return the version of this onewafer, with the digest of sources and user's catalog."""
    sources = digest_of_sources("**/*.py", "**/*.toml", "**/*.csl")
    if added := user_catalog():
        sources = digest(sources + added)
    return f"{__version__}+{sources[:_DIGITS]}"


def points_of(study: Study) -> tuple[Point, ...]:
    """Return the points of a study in its order, each once.

    Raises ConfigurationError if there are none, or if none of them is possible.
    """
    found: dict[str, Point] = {}
    reasons: list[str] = []
    for inputs in _that_pass(study):
        point = _point(study, inputs)
        found.setdefault(point.key, point)
        if isinstance(point.work, Outcome):
            reasons.append(point.work.reason)
    if reasons and all(isinstance(point.work, Outcome) for point in found.values()):
        raise ConfigurationError(f"{study.path}: {reasons[0]}")
    return tuple(found.values())


def _point(study: Study, inputs: dict[str, Plain]) -> Point:
    try:
        with errors_in(STUDY):
            task = study.subject.task(inputs)
    except ConfigurationError as error:
        described: Mapping[str, object] = {"subject": study.subject_name, "inputs": inputs}
        work: Task | Outcome = failed(str(error))
    else:
        described, work = task.describe(), task
    return Point(digest(to_json({"version": version(), "task": described})), inputs, work)


def _that_pass(study: Study) -> Iterator[dict[str, Plain]]:
    """Yield the inputs of the points that meet all filters."""
    names = frozenset(name for one in study.filters for name in one.names)
    passed: Counter[str] = Counter()
    total = count = 0
    for values in study.sample.points(study.axes):
        total += 1
        axes = zip(study.axes, values, strict=True)
        inputs = {**{axis.name: value for axis, value in axes}, **study.fixed}
        if study.filters:
            asked = study.subject.values(inputs, names)
            met = [one.text for one in study.filters if one.holds(asked)]
            passed.update(met)
            if len(met) < len(study.filters):
                continue
        count += 1
        yield inputs
    if not count:
        raise ConfigurationError(f"{study.path}: {_why_none(study, passed, total)}")


def _why_none(study: Study, passed: Mapping[str, int], total: int) -> str:
    if not total:
        return "the study has no points"
    each = "; ".join(f"{one.text!r} leaves {passed[one.text]:,}" for one in study.filters)
    never = [one.text for one in study.filters if not passed[one.text]]
    if never:
        return f"no point meets the filter {never[0]!r}: of {total:,} points, {each}"
    return f"the filters contradict each other: of {total:,} points, {each}, and all together none"
