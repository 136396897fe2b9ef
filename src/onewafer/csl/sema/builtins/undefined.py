"""The warning about what public text names and does not define, so that it was decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.csl.sema.faults import Fault
from onewafer.diagnostics import Annotation, Diagnostic, Severity

if TYPE_CHECKING:
    from onewafer.csl.sema.instance import InstanceContext
    from onewafer.diagnostics import Span


def warn_of_undefined(
    instance: InstanceContext, what: str, span: Span, unknown: str, instead: str
) -> None:
    """Say that `what` may do another thing on the real machine; `unknown` begins with "where"."""
    instance.report(
        Fault(
            Diagnostic(
                "undefined-result",
                f"what {what} does here is a decision of ours, and may differ on the real machine",
                Annotation(span),
                severity=Severity.WARNING,
                notes=(f"no public text says {unknown}",),
                help=instead,
            )
        )
    )
