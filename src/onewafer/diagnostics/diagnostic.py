"""The values that describe a finding in a source file. Rendering lives in `render`."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property


class Severity(StrEnum):
    """How bad a finding is. Only errors stop the compilation."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    """Nothing is wrong: the program asked for it to be shown."""


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
        return self.text[self.line_starts[line - 1] :].split("\n", 1)[0]


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
    """A span with a label that says why it is shown."""

    span: Span
    label: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: a stable kebab-case `code`, one sentence, one primary span, and what helps."""

    code: str
    message: str
    primary: Annotation | None = None
    secondary: tuple[Annotation, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    severity: Severity = Severity.ERROR


@dataclass(slots=True)
class DiagnosticSink:
    """Collects findings, in order, dropping exact repeats (same code, place and sentence)."""

    diagnostics: list[Diagnostic] = field(default_factory=list[Diagnostic])
    _seen: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])

    def report(self, diagnostic: Diagnostic) -> None:
        """Add a finding."""
        place = str(diagnostic.primary.span) if diagnostic.primary else ""
        key = (diagnostic.code, place, diagnostic.message)
        if key not in self._seen:
            self._seen.add(key)
            self.diagnostics.append(diagnostic)

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(d.severity is Severity.ERROR for d in self.diagnostics)
