"""The error of an answer against published figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import InternalError
from onewafer.perf.jobs import Forward, Precision
from onewafer.perf.report.quantities import QUANTITIES

if TYPE_CHECKING:
    from onewafer.perf.answer import Answer
    from onewafer.perf.published import PublishedFigure

_PRECISIONS = {precision.value: precision for precision in Precision}


def error_of(answer: Answer, figure: PublishedFigure) -> float | None:
    """Return (ours − theirs) / theirs; None if the answer does not have the quantity.

    None, too, for a pass over samples on other devices or with another batch, and for numbers of
    another width, since these rates cannot be compared.
    """
    if isinstance(answer.job, Forward) and not _is_same_run(answer, answer.job, figure):
        return None
    precision = _PRECISIONS.get(str(figure.conditions.get("precision")))
    if precision is not None and precision.num_bytes != answer.precision.num_bytes:
        return None
    for quantity in QUANTITIES:
        if quantity.name == figure.quantity:
            ours = quantity.read(answer)
            return None if ours is None else (ours - figure.value) / figure.value
    raise InternalError(f"figure {figure.name!r} is of {figure.quantity!r}, which no answer has")


def _is_same_run(answer: Answer, job: Forward, figure: PublishedFigure) -> bool:
    return answer.system == figure.system and figure.conditions.get("batch") == job.batch
