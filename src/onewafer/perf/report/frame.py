"""A comparison as a pandas frame: a row a system, a column a quantity, units in the names."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.perf.answer import Refusal
from onewafer.perf.report.quantities import QUANTITIES

if TYPE_CHECKING:
    from onewafer.perf.answer import Comparison


def to_pandas(comparison: Comparison) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame` indexed by system; a system that cannot has only a reason.

    Raises ConfigurationError if pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ConfigurationError("frames need pandas, which is not installed: pip install pandas")
    pandas: Any = import_module("pandas")  # optional, and without types here
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
    return pandas.DataFrame(rows).set_index("system")
