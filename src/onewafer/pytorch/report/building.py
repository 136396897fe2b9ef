"""From the ledger of a session to a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer import __version__
from onewafer.execution.report import report_program
from onewafer.pytorch.report.host import give_advice, report_causes, report_flop
from onewafer.pytorch.report.report import Report
from onewafer.pytorch.report.values import InnerCalls
from onewafer.pytorch.report.work import report_work

if TYPE_CHECKING:
    from collections.abc import Sequence

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
