"""The report of a run as people use it: shown, as JSON, as a pandas frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError
from onewafer.execution.report import ProgramReport
from onewafer.process.worker_calls import WorkerCalls
from onewafer.pytorch.report.table import render
from onewafer.pytorch.report.values import Advice, HostCause, InnerCalls, RunValues, to_json
from onewafer.terminal import Shown, frame_of_entries

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import RenderableType

_TABLES: dict[str, type[DataclassInstance]] = {
    "programs": ProgramReport,
    "host": HostCause,
    "advice": Advice,
    "inner_calls": InnerCalls,
    "workers": WorkerCalls,
}
"""The fields of a report that are tables → what an entry is."""
_CELLS = ("SourceLine", "Cause", "AdviceKind")
"""Types that fit into a cell as texts."""


@dataclass(frozen=True, slots=True)
class Report(RunValues, Shown):
    """A whole run: a table, JSON, or a pandas frame."""

    def to_json(self) -> str:
        """Return it as JSON, every field under its name."""
        return to_json(self)

    def to_pandas(self, table: str = "programs") -> Any:  # noqa: ANN401  # pandas is not a requirement
        """Return a `pandas.DataFrame` of one table of the report, a row an entry of it.

        Tables are `programs` and the other fields that have several entries. A column is a field
        of the entries that fits into a cell.

        Raises:
            ConfigurationError: there is no such table, or pandas is not installed.
        """
        if table not in _TABLES:
            raise ConfigurationError(
                f"table {table!r}: the report has no such table; choose from {', '.join(_TABLES)}"
            )
        return frame_of_entries(_TABLES[table], getattr(self, table), as_text=_CELLS)

    def __rich__(self) -> RenderableType:
        """Return the lines that `onewafer run` prints."""
        return render(self)

    def in_notebook(self) -> RenderableType:
        """Return these lines and all tables."""
        return render(self, is_verbose=True)
