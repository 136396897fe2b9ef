"""The error of an answer against published figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from onewafer.errors import InternalError
from onewafer.perf.jobs import Precision
from onewafer.perf.report.quantities import QUANTITIES

if TYPE_CHECKING:
    from onewafer.perf.answer import Answer
    from onewafer.perf.published import PublishedFigure

_PRECISIONS = {precision.value: precision for precision in Precision}


def error_of(answer: Answer, figure: PublishedFigure) -> float | None:
    """Return (ours − theirs) / theirs; None if the answer does not have the quantity.

    None, too, for another job, system or precision, whose rates cannot be compared.
    """
    if differences(answer, figure):
        return None
    for quantity in QUANTITIES:
        if quantity.name == figure.quantity:
            ours = quantity.read(answer)
            return None if ours is None else (ours - figure.value) / figure.value
    raise InternalError(f"figure {figure.name!r} is of {figure.quantity!r}, which no answer has")


def differences(answer: Answer, figure: PublishedFigure) -> tuple[str, ...]:
    """Return how a published run differs from an answer: in system, precision and job."""
    found = [] if figure.system == answer.system else [figure.system]
    precision = _PRECISIONS.get(str(figure.conditions.get("precision")))
    if precision is not None and precision.num_bytes != answer.precision.num_bytes:
        found.append(precision.value)
    for name, ours in asdict(answer.job).items():
        theirs = figure.conditions.get(name, ours)
        if theirs != ours:
            found.append(f"{name} {theirs:,}")
    return tuple(found)
