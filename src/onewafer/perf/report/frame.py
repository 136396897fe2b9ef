"""A comparison as a pandas frame: a row a system, a column a quantity, units in the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onewafer.perf.answer import Refusal
from onewafer.perf.report.quantities import QUANTITIES
from onewafer.terminal import make_frame

if TYPE_CHECKING:
    from onewafer.perf.answer import Comparison


def to_pandas(comparison: Comparison) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame` indexed by system; a system that cannot has only a reason.

    Raises ConfigurationError if pandas is not installed.
    """
    rows: list[dict[str, Any]] = []
    for result in comparison.results:
        row: dict[str, Any] = {"system": result.system, "title": result.title, "refused": None}
        if isinstance(result, Refusal):
            row["refused"] = result.reason
        else:
            row |= {"precision": result.precision.value, "mapping": result.choice.text}
            row |= {quantity.name: quantity.read(result) for quantity in QUANTITIES}
            row["limit"] = None if result.limit is None else result.limit.value
        rows.append(row)
    return make_frame(rows, index="system")
