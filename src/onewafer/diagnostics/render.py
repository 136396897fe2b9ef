"""Findings as text for people and as JSON for programs.

The text form of one finding::

    error[type-mismatch]: expected `u16`, found `f32`
      --> pe_program.csl:12:9
       |
    11 | var x: u16 = 0;
       |        --- the type is declared here
    12 |     x = y;
       |         ^ this is `f32`
       |
       = note: …
       = help: …

Source lines are shown in the order of the files; carets mark the primary span, dashes the others.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.diagnostics.diagnostic import Annotation, Diagnostic, Severity, SourceFile
from onewafer.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TAB_WIDTH = 4
_LINE_CHARACTERS = 160
"""A longer line is cut to a window of so many characters."""
_LEAD_CHARACTERS = 40
"""Characters of a window before the mark."""
_NEARBY_LINES = 1
"""The most unmarked lines between two marked ones that are shown instead of elided."""

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_BLUE = "\x1b[1;34m"
_SEVERITY_COLOR = {
    Severity.ERROR: "\x1b[1;31m",
    Severity.WARNING: "\x1b[1;33m",
    Severity.NOTE: "\x1b[1;36m",
}


def render(diagnostics: Iterable[Diagnostic], *, num_left_out: int = 0, color: bool = False) -> str:
    """Return findings as text, separated by blank lines; `color` adds ANSI escapes.

    The last line says how many were left out, if any were.
    """
    texts = [_Renderer(diagnostic, color=color).text() for diagnostic in diagnostics]
    if num_left_out:
        texts.append(f"{_left_out(num_left_out)}\n")
    return "\n".join(texts)


def to_json(diagnostics: Iterable[Diagnostic], *, num_left_out: int = 0) -> str:
    """Return findings as a JSON array, an object each, lines and columns counted from 1.

    If some were left out, the last object says how many; its code is `findings-left-out`.
    """
    objects = [_json_object(diagnostic) for diagnostic in diagnostics]
    if num_left_out:
        message = _left_out(num_left_out)
        objects.append(
            _json_object(Diagnostic("findings-left-out", message, severity=Severity.NOTE))
        )
    return json.dumps(objects, indent=2, ensure_ascii=False)


def _left_out(number: int) -> str:
    return f"and {number:,} more"


def _json_object(diagnostic: Diagnostic) -> dict[str, object]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "primary": _json_place(diagnostic.primary) if diagnostic.primary else None,
        "secondary": [_json_place(annotation) for annotation in diagnostic.secondary],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
    }


def _json_place(annotation: Annotation) -> dict[str, object]:
    span = annotation.span
    line, column = span.source.line_column(span.start)
    end_line, end_column = span.source.line_column(span.end)
    return {
        "path": span.source.path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "label": annotation.label,
    }


@dataclass(frozen=True, slots=True)
class _Mark:
    """The underlined part of a line: characters `[start, end)` of its text."""

    start: int
    end: int
    label: str
    is_primary: bool


class _Renderer:
    def __init__(self, diagnostic: Diagnostic, *, color: bool) -> None:
        self._diagnostic = diagnostic
        self._color = color
        self._gutter = len(str(self._last_line()))

    def text(self) -> str:
        return "".join(f"{line.rstrip()}\n" for line in self._lines())

    def _annotations(self) -> Sequence[Annotation]:
        primary = self._diagnostic.primary
        return ((primary,) if primary else ()) + self._diagnostic.secondary

    def _last_line(self) -> int:
        ends = [a.span.source.line_column(a.span.end)[0] for a in self._annotations()]
        return max(ends, default=1)

    def _paint(self, text: str, escape: str) -> str:
        return f"{escape}{text}{_RESET}" if self._color and text else text

    def _bar(self, line: int | None = None) -> str:
        number = "" if line is None else str(line)
        return self._paint(f"{number:>{self._gutter}} |", _BLUE)

    def _lines(self) -> Iterator[str]:
        diagnostic = self._diagnostic
        severity = self._paint(
            f"{diagnostic.severity}[{diagnostic.code}]", _SEVERITY_COLOR[diagnostic.severity]
        )
        yield f"{severity}{self._paint(f': {_visible(diagnostic.message)}', _BOLD)}"
        yield from self._snippets()
        if self._annotations() and (diagnostic.notes or diagnostic.help):
            yield self._bar()
        for note in diagnostic.notes:
            yield from self._footer("note", note)
        if diagnostic.help:
            yield from self._footer("help", diagnostic.help)

    def _footer(self, title: str, text: str) -> Iterator[str]:
        pad = " " * self._gutter
        first, *rest = (_visible(line) for line in text.split("\n"))
        yield f"{pad} {self._paint('=', _BLUE)} {self._paint(f'{title}:', _BOLD)} {first}"
        for line in rest:
            yield f"{pad}   {' ' * len(title)}  {line}"

    def _snippets(self) -> Iterator[str]:
        primary = self._diagnostic.primary
        by_source: dict[SourceFile, list[Annotation]] = {}
        for annotation in self._annotations():
            by_source.setdefault(annotation.span.source, []).append(annotation)
        for source, places in by_source.items():
            is_first = primary is not None and source is primary.span.source
            place = primary if is_first and primary else places[0]
            arrow = self._paint("-->" if is_first else ":::", _BLUE)
            yield f"{' ' * self._gutter}{arrow} {_visible(str(place.span))}"
            yield self._bar()
            yield from self._snippet(source, places)

    def _snippet(self, source: SourceFile, annotations: Sequence[Annotation]) -> Iterator[str]:
        marks: dict[int, list[_Mark]] = {}
        for annotation in annotations:
            line, mark = _mark_of(annotation, is_primary=annotation is self._diagnostic.primary)
            marks.setdefault(line, []).append(mark)
        previous: int | None = None
        for line in sorted(marks):
            if previous is not None and line - previous - 1 > _NEARBY_LINES:
                yield self._paint("." * 3, _BLUE)
            elif previous is not None:
                for between in range(previous + 1, line):
                    shown, _ = _window(source.line_text(between), ())
                    yield f"{self._bar(between)} {_visible(shown)}"
            previous = line
            text, moved = _window(source.line_text(line), marks[line])
            yield f"{self._bar(line)} {_visible(text)}"
            for row in self._underlines(text, moved):
                yield f"{self._bar()} {row}"

    def _underlines(self, text: str, marks: Sequence[_Mark]) -> Iterator[str]:
        """Yield a row for each mark, primary first: carets or dashes, then the label."""
        for mark in sorted(marks, key=lambda m: not m.is_primary):
            indent = " " * _width(text[: mark.start])
            length = max(1, _width(text[mark.start : mark.end]))
            underline = ("^" if mark.is_primary else "-") * length
            severity = self._diagnostic.severity
            escape = _SEVERITY_COLOR[severity] if mark.is_primary else _BLUE
            yield indent + self._paint(f"{underline} {mark.label}".rstrip(), escape)


def _mark_of(annotation: Annotation, *, is_primary: bool) -> tuple[int, _Mark]:
    """Return the 1-based line on which a span starts, and the mark on it."""
    span = annotation.span
    line, column = span.source.line_column(span.start)
    length = len(span.source.line_text(line).rstrip())
    start = column - 1
    end = max(start, min(start + span.end - span.start, length))
    return line, _Mark(start, end, annotation.label, is_primary)


def _window(text: str, marks: Sequence[_Mark]) -> tuple[str, Sequence[_Mark]]:
    """Cut a very long line to a window around its primary mark, and shift the marks."""
    if len(text) <= _LINE_CHARACTERS:
        return text, marks
    leading = min(marks, key=lambda mark: not mark.is_primary, default=None)
    first = leading.start if leading is not None else 0
    start = max(0, min(first - _LEAD_CHARACTERS, len(text) - _LINE_CHARACTERS))
    end = start + _LINE_CHARACTERS
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shown = f"{before}{text[start:end]}{after}"

    def move(position: int) -> int:
        return min(max(position - start + len(before), 0), len(shown) - 1)

    return shown, [replace(mark, start=move(mark.start), end=move(mark.end)) for mark in marks]


def _visible(text: str) -> str:
    """Expand tabs and spell control characters out, which would break the alignment."""
    return visible(text.rstrip("\r").replace("\t", " " * _TAB_WIDTH))


def _width(text: str) -> int:
    """Return the number of terminal columns of a piece of a line."""
    return sum(
        2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in _visible(text)
        if not unicodedata.combining(character)
    )
