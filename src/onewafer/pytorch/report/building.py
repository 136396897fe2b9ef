"""From the ledger of a session to a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onewafer import __version__
from onewafer.errors import ConfigurationError
from onewafer.execution.report import ProgramReport, report_program
from onewafer.process.worker_calls import WorkerCalls
from onewafer.pytorch.report.host import give_advice, report_causes, report_flop
from onewafer.pytorch.report.table import render
from onewafer.pytorch.report.values import Advice, HostCause, InnerCalls, RunValues, to_json
from onewafer.pytorch.report.work import report_work
from onewafer.terminal import Shown, frame_of_entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance
    from rich.console import RenderableType

    from onewafer.pytorch.ledger import Ledger
    from onewafer.pytorch.report.work import Refuse


def build_report(
    ledger: Ledger,
    *,
    ended: str | None = None,
    is_over: bool = False,
    refuse: Refuse | None = None,
    against: Sequence[str] = (),
) -> Report:
    """Return the report of everything that a ledger holds.

    `ended` says what ended the script early; a script that `is_over` has come to its end. `against`
    are systems that the work is compared with: ConfigurationError if there was none. With `refuse`,
    which gets errors of our own, it takes up to a second more, and has the fastest rectangle and
    one H100.
    """
    programs = tuple(report_program(record) for record in ledger.programs)
    flop = report_flop(ledger)
    causes = report_causes(ledger, flop)
    return Report(
        version=__version__,
        ended=ended,
        flop=flop,
        advice=give_advice(ledger, flop, causes, is_over=is_over),
        wafer_calls=sum(program.calls for program in programs),
        compilations=len(programs),
        recompilations=sum(not record.is_first for record in ledger.programs),
        host=causes,
        inner_calls=tuple(
            InnerCalls(module, whole, calls) for (module, whole), calls in ledger.part_calls.items()
        ),
        workers=ledger.workers.calls,
        programs=programs,
        work=report_work(ledger.programs, programs, refuse=refuse, against=against),
        notes=tuple(ledger.notes),
    )


_TABLES: dict[str, type[DataclassInstance]] = {
    "programs": ProgramReport,
    "host": HostCause,
    "advice": Advice,
    "inner_calls": InnerCalls,
    "workers": WorkerCalls,
}
"""Field of a report that is a table → the class of its entries."""
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
