"""Check the pages of long runs against the sources, as far as that needs no run.

Figures on such a page are of the computer and the hour of the run; `.ci/full` and the command named
on the page print them anew. Its prose, its rules and the names in its tables come from the sources,
and a page that has others is out of date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import conformance_page
import cost_table
import training_scripts

from onewafer.benchmarks import BENCHMARKS
from onewafer.benchmarks.page import PAGE_HEAD as BENCHMARKS_HEAD
from onewafer.perf.published import published_figures, topics
from onewafer.perf.report.validation_table import PAGE_HEAD as EQUATIONS_HEAD
from onewafer.validation import FABRIC_CASES
from onewafer.validation.report import PAGE_HEAD as FABRIC_HEAD
from onewafer.validation.report import rule_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FIELD: Final = re.compile(r"\{[^{}]*\}")
_OPENING: Final = 12
"""Lines within which a page says which command wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPage:
    """A page, the command that writes it, and what must stand on it.

    `head` may have fields in braces, which stand for any text.
    """

    path: str
    command: str
    head: str
    parts: tuple[str, ...] = ()

    def faults(self, text: str) -> Iterator[str]:
        """Yield what is missing on the page, one line each."""
        if self.command not in "\n".join(text.splitlines()[:_OPENING]):
            yield f"its first lines do not name `{self.command}`"
        pattern = ".*?".join(map(re.escape, _FIELD.split(self.head)))
        if not re.match(pattern, text, re.DOTALL):
            yield "its opening is not that of the command"
        yield from (f"it lacks {part!r}" for part in self.parts if part not in text)


def _equation_rows() -> tuple[str, ...]:
    figures = (figure for topic in topics() for figure in published_figures(topic))
    return tuple(f"| `{figure.name}` |" for figure in figures)


RECORDED_PAGES: Final = (
    RecordedPage(
        path="docs/explanation/costs.md",
        command="python tools/cost_table.py",
        head=cost_table.PAGE_HEAD,
    ),
    RecordedPage(
        path="docs/explanation/performance/README.md",
        command="onewafer bench",
        head=BENCHMARKS_HEAD,
        parts=tuple(f" {benchmark.name} " for benchmark in BENCHMARKS),
    ),
    RecordedPage(
        path="docs/explanation/perf-validation.md",
        command="onewafer validate perf",
        head=EQUATIONS_HEAD,
        parts=_equation_rows(),
    ),
    RecordedPage(
        path="docs/explanation/validation.md",
        command="onewafer validate fabric",
        head=FABRIC_HEAD,
        parts=tuple(map(rule_row, FABRIC_CASES)),
    ),
    RecordedPage(
        path="docs/reference/conformance.md",
        command="python tools/conformance.py",
        head=conformance_page.PAGE_HEAD,
    ),
    RecordedPage(
        path="docs/reference/training-scripts.md",
        command="python tools/training_scripts.py",
        head=training_scripts.PAGE_HEAD,
        parts=tuple(f"| [{script.name}]" for script in training_scripts.SCRIPTS),
    ),
)


def stale_pages(root: Path) -> Iterator[str]:
    """Yield a line for each thing that a page lacks."""
    for page in RECORDED_PAGES:
        for fault in page.faults((root / page.path).read_text(encoding="utf-8")):
            yield f"{page.path}: {fault}; run `{page.command}`"
