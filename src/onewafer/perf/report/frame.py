"""A comparison as a pandas frame: a row a system, a column a quantity, units in the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.perf.answer import Refusal
from onewafer.perf.jobs import Serve
from onewafer.perf.report.quantities import QUANTITIES
from onewafer.terminal import make_frame

if TYPE_CHECKING:
    from onewafer.perf.answer import Answer, Comparison


def to_pandas(*comparisons: Comparison) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame` indexed by system; a system that cannot has only a reason.

    Several comparisons are the points of a curve of serving, and have a column `concurrency`.

    Raises ConfigurationError if pandas is not installed.
    """
    rows: list[dict[str, Any]] = []
    for comparison in comparisons:
        job = comparison.job
        point = {"concurrency": job.concurrency} if isinstance(job, Serve) else {}
        rows += [_row(result) | point for result in comparison.results]
    return make_frame(rows, index="system")


def _row(result: Answer | Refusal) -> dict[str, Any]:
    row: dict[str, Any] = {"system": result.system, "title": result.title, "refused": None}
    if isinstance(result, Refusal):
        return row | {"refused": result.reason}
    row |= {"precision": result.precision.value, "mapping": result.choice.text}
    row |= {quantity.name: quantity.read(result) for quantity in QUANTITIES}
    return row | {"limit": None if result.limit is None else result.limit.value}
