"""The values that describe a finding in a source file. Rendering lives in `render`."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

_ONCE_A_FILE = frozenset({"unbound-task"})
"""Codes of which the first place in a file is enough: one line mends all."""
MOST_KEPT = 100
"""The number of errors, and of warnings, that a sink keeps."""


class Severity(StrEnum):
    """The severity of a finding. Only errors stop the compilation."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    """Not a problem: output that the program asked for."""


@dataclass(frozen=True)
class SourceFile:
    """A source text and the path to show for it."""

    path: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        """Offsets at which lines start; line 1 starts at offset 0."""
        starts = [0]
        starts.extend(i + 1 for i, character in enumerate(self.text) if character == "\n")
        return starts

    def line_column(self, offset: int) -> tuple[int, int]:
        """Return the 1-based (line, column) of a character offset."""
        line = bisect.bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """Return the text of a 1-based line without its newline."""
        start = self.line_starts[line - 1]
        end = self.line_starts[line] - 1 if line < len(self.line_starts) else len(self.text)
        return self.text[start:end]


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range `[start, end)` of characters of one source file."""

    source: SourceFile
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other` (same file)."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        """Return `path:line:column`."""
        line, column = self.source.line_column(self.start)
        return f"{self.source.path}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span with a label that explains it."""

    span: Span
    label: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a stable kebab-case `code`, one sentence, one primary span, notes and a help."""

    code: str
    message: str
    primary: Annotation | None = None
    secondary: tuple[Annotation, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = Severity.ERROR


@dataclass(slots=True)
class DiagnosticSink:
    """Collects findings, in order, without repeats: the same code, place and sentence.

    For a few codes the place is the file.

    It keeps the first `MOST_KEPT` errors and warnings and counts the others, so that the output for
    a source of any length is bounded. Notes, which a program asks for, are all kept.
    """

    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    num_left_out: int = 0
    """Findings that were only counted."""
    _num_kept: Counter[Severity] = field(default_factory=Counter[Severity])
    _seen: set[int] = field(default_factory=set[int])
    """Hashes of the findings: a tenth of the memory of their texts."""

    def report(self, diagnostic: Diagnostic) -> None:
        """Add a finding."""
        span = diagnostic.primary.span if diagnostic.primary else None
        place = "" if span is None else str(span)
        if span is not None and diagnostic.code in _ONCE_A_FILE:
            place = span.source.path
        key = hash((diagnostic.code, place, diagnostic.message))
        if key in self._seen:
            return
        self._seen.add(key)
        severity = diagnostic.severity
        if severity is not Severity.NOTE and self._num_kept[severity] >= MOST_KEPT:
            self.num_left_out += 1
            return
        self._num_kept[severity] += 1
        self.diagnostics.append(diagnostic)

    def extend(self, other: DiagnosticSink) -> None:
        """Add the findings of another sink, and the number of findings that it left out."""
        for diagnostic in other.diagnostics:
            self.report(diagnostic)
        self.num_left_out += other.num_left_out

    @property
    def num_findings(self) -> int:
        """Number of findings, including those left out."""
        return len(self.diagnostics) + self.num_left_out

    @property
    def has_errors(self) -> bool:
        """True if any finding is an error."""
        return self._num_kept[Severity.ERROR] > 0
