"""A comparison as tables for people: a column a system, a row a quantity; then where time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.perf.answer import Answer, Refusal
from onewafer.perf.jobs import Decode, Job, Prefill, Serve, Train
from onewafer.perf.report.errors_of_figures import error_of
from onewafer.perf.report.quantities import QUANTITIES
from onewafer.units import format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from onewafer.perf.answer import Comparison

TABLE_COLUMNS = 120
"""Width of the tables where there is no terminal to fit them to."""
_NOTHING = "–"


def render(comparison: Comparison) -> RenderableType:
    """Return the quantities, the breakdown and what should be known of them."""
    answers = [result for result in comparison.results if isinstance(result, Answer)]
    parts: list[RenderableType] = [_quantities(comparison, answers)]
    if answers:
        parts += [Text(), _breakdowns(answers)]
    refused = [result for result in comparison.results if isinstance(result, Refusal)]
    parts += [_labelled(result.system, f"cannot: {result.reason}") for result in refused]
    parts += [Text(), *_remarks(answers)]
    return Group(*parts)


def describe(job: Job) -> str:
    """Return a job in a few words.

    >>> describe(Decode(batch=1, context=4096))
    'decode, batch 1, context 4,096'
    """
    match job:
        case Decode():
            return f"decode, batch {job.batch:,}, context {job.context:,}"
        case Prefill():
            return f"prefill, batch {job.batch:,}, prompts of {job.tokens:,} tokens"
        case Serve():
            return (
                f"serving {job.concurrency:,} requests at a time, prompts of {job.prompt:,} "
                f"and answers of {job.answer:,} tokens"
            )
        case Train():
            return (
                f"training on {format_count(job.tokens)} tokens, sequences of {job.sequence:,}, "
                f"{job.batch:,} a step"
            )


def _quantities(comparison: Comparison, answers: Sequence[Answer]) -> Table:
    table = Table(
        title=f"{comparison.model}: {describe(comparison.job)}",
        title_justify="left",
        show_lines=False,
    )
    table.add_column("", style="cyan", no_wrap=True)
    for answer in answers:
        table.add_column(f"{answer.system}\n{answer.title}", justify="right")
    table.add_row("precision", *(answer.precision.value for answer in answers))
    table.add_row("mapping", *(answer.choice.text for answer in answers))
    for quantity in QUANTITIES:
        numbers = [quantity.read(answer) for answer in answers]
        if any(number is not None for number in numbers):
            table.add_row(quantity.title, *(_cell(quantity.write, number) for number in numbers))
    table.add_row("limit", *(_limit(answer) for answer in answers))
    if any(answer.published for answer in answers):
        table.add_row("published", *(_published(answer) for answer in answers))
    return table


def _cell(write: Callable[[float], str], number: float | None) -> str:
    return _NOTHING if number is None else write(number)


def _limit(answer: Answer) -> str:
    if answer.limit is None:
        return _NOTHING
    seconds = answer.breakdown.by(lambda item: item.limit)[answer.limit]
    return f"{answer.limit} ({100 * seconds / answer.breakdown.seconds:.0f} % of the time)"


def _published(answer: Answer) -> str:
    lines: list[str] = []
    for figure in answer.published:
        error = error_of(answer, figure)
        shown = "" if error is None else f" ({100 * error:+.0f} %)"
        lines.append(f"{figure.value:,.6g} {figure.unit}{shown}")
    return "\n".join(lines) or _NOTHING


def _breakdowns(answers: Sequence[Answer]) -> Table:
    table = Table(
        title="Where the time goes",
        title_justify="left",
        caption="* not cross-checked" if any(_is_unchecked(answer) for answer in answers) else None,
        caption_justify="left",
    )
    table.add_column("work", style="cyan")
    table.add_column("limit")
    for answer in answers:
        table.add_column(answer.system, justify="right")
    groups = [
        answer.breakdown.by(lambda item: (item.name, item.limit, item.is_cross_checked))
        for answer in answers
    ]
    for key in dict.fromkeys(key for group in groups for key in group):
        name, limit, is_checked = key
        cells = [
            _share(group.get(key), answer.breakdown.seconds)
            for group, answer in zip(groups, answers, strict=True)
        ]
        table.add_row(name if is_checked else f"{name} *", limit.value, *cells)
    table.add_section()
    table.add_row("total", "", *(format_seconds(a.breakdown.seconds) for a in answers))
    return table


def _is_unchecked(answer: Answer) -> bool:
    return any(item.seconds and not item.is_cross_checked for item in answer.breakdown.items)


def _share(seconds: float | None, total: float) -> str:
    if seconds is None:
        return ""
    percent = 100 * seconds / total if total else 0.0
    return f"{format_seconds(seconds)} {percent:5.1f} %"


def _remarks(answers: Sequence[Answer]) -> list[Text]:
    remarks: list[Text] = []
    for answer in answers:
        chosen = "pinned" if answer.choice.is_pinned else f"of {answer.choice.num_considered:,}"
        remarks.append(_labelled(answer.system, f"{answer.choice.reason} ({chosen})"))
        remarks.append(_labelled(answer.system, f"energy: {answer.energy_basis}"))
        remarks += [_labelled(answer.system, note) for note in answer.notes]
        remarks += [
            _labelled(answer.system, f"published: {figure.source}") for figure in answer.published
        ]
    return remarks


def _labelled(label: str, text: str) -> Text:
    return Text.assemble((f"{label}: ", "cyan"), text)
