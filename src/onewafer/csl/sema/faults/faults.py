"""The exception for a mistake of the user, which becomes one diagnostic.

A `Fault` unwinds to the nearest point that can go on (the next statement of a run-time function,
the next statement of a top-level comptime block, the next global). On the way up, calls and
imports add the locations that led there. A fault without a diagnostic has been reported before: its
cause is a poisoned name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from onewafer.diagnostics import Annotation, Diagnostic

if TYPE_CHECKING:
    from onewafer.diagnostics import DiagnosticSink, Span

MAX_CHAIN = 8
"""The most locations that a diagnostic shows; the innermost ones matter."""


class Fault(Exception):  # noqa: N818 - a mistake of the input, not of the program
    """A mistake of the user; never leaves `csl.sema`."""

    def __init__(self, diagnostic: Diagnostic | None) -> None:
        super().__init__()
        self.diagnostic = diagnostic

    def add_location(self, span: Span, label: str) -> None:
        """Show one more location that led to the mistake."""
        if self.diagnostic is not None and len(self.diagnostic.secondary) < MAX_CHAIN:
            annotation = Annotation(span, label)
            if annotation not in self.diagnostic.secondary:
                secondary = (*self.diagnostic.secondary, annotation)
                self.diagnostic = replace(self.diagnostic, secondary=secondary)

    def report(self, sink: DiagnosticSink) -> None:
        """Hand the diagnostic to the sink, unless it was reported before."""
        if self.diagnostic is not None:
            sink.report(self.diagnostic)


Chain = tuple[tuple["Span", str], ...]
"""The call and import locations of the current code, innermost first, with labels."""


class Reports:
    """Reports faults to the sink, with the locations of the current code."""

    def __init__(self, sink: DiagnosticSink) -> None:
        self.sink = sink
        self.chain: Chain = ()
        """Call and import locations of the current code."""

    def report(self, fault: Fault, chain: Chain | None = None) -> None:
        """Hand a fault to the sink with the locations that led here, or those of `chain`."""
        for span, label in self.chain if chain is None else chain:
            fault.add_location(span, label)
        fault.report(self.sink)


def fail(
    code: str,
    message: str,
    span: Span | None,
    *,
    label: str = "",
    secondary: tuple[Annotation, ...] = (),
    notes: tuple[str, ...] = (),
    help: str = "",  # noqa: A002 - the name of the diagnostic's field
) -> NoReturn:
    """Raise the `Fault` of one diagnostic."""
    primary = Annotation(span, label) if span is not None else None
    raise Fault(Diagnostic(code, message, primary, secondary, notes, help))
