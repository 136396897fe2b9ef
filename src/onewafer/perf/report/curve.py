"""The curve of serving as a table: with more requests at a time, rate and latency grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.perf.answer import Answer
from onewafer.perf.jobs import Serve
from onewafer.perf.report.table import remarks, render_refusals
from onewafer.units import format_rate, format_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from onewafer.perf.answer import Comparison, Refusal

_NOTHING = "–"


def render_curve(comparisons: Sequence[Comparison]) -> RenderableType:
    """Return a table of comparisons that differ in the number of requests, and what to know."""
    table = Table(
        title=f"{comparisons[0].model}: {describe_curve(comparisons)}",
        title_justify="left",
        caption="tokens/s of the system, tokens/s per user, time to first token; mapping",
        caption_justify="left",
    )
    table.add_column("requests", justify="right", style="cyan")
    for result in comparisons[0].results:
        table.add_column(f"{result.system}\n{result.title}", justify="right")
    for comparison in comparisons:
        assert isinstance(comparison.job, Serve), "a curve is of serving"
        cells = [_cell(result) for result in comparison.results]
        table.add_row(f"{comparison.job.concurrency:,}", *cells)
    last: dict[str, Answer] = {}
    refusals: dict[str, Refusal] = {}
    for comparison in comparisons:
        last |= {answer.system: answer for answer in comparison.answers}
        for refusal in comparison.refusals:
            refusals.setdefault(refusal.system, refusal)
    return Group(table, *render_refusals([*refusals.values()]), Text(), *remarks([*last.values()]))


def describe_curve(comparisons: Sequence[Comparison]) -> str:
    """Return what the points of a curve have in common."""
    job = comparisons[0].job
    assert isinstance(job, Serve), "a curve is of serving"
    return f"serving prompts of {job.prompt:,} and answers of {job.answer:,} tokens"


def _cell(result: Answer | Refusal) -> str:
    if not isinstance(result, Answer):
        return _NOTHING
    rate, first = result.tokens_per_second_per_user, result.ttft_seconds
    numbers = (
        format_rate(result.tokens_per_second),
        _NOTHING if rate is None else format_rate(rate),
        _NOTHING if first is None else format_seconds(first),
    )
    return f"{' · '.join(numbers)}\n{result.choice.text}"
