"""A comparison as tables for people: a column a system, a row a quantity; then where time goes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from onewafer.perf.answer import Answer, Comparison, Refusal
from onewafer.perf.jobs import Decode, Forward, Job, Prefill, Serve, Train
from onewafer.perf.report.errors_of_figures import differences, error_of
from onewafer.perf.report.quantities import QUANTITIES
from onewafer.units import count_of, format_count, format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from onewafer.perf.breakdown import Item
    from onewafer.perf.published import PublishedFigure
    from onewafer.perf.report.quantities import Quantity

TABLE_COLUMNS = 120
"""Width of the tables where there is no terminal to fit them to."""
_NOTHING = "–"
_WHOLE = 1_000
"""From here on, numbers are written without a fraction."""
_NOT_SHOWN = ("job", "is_comparable", "is_count_published", "attention_pairs", "miss")
"""Conditions of published figures that only validations use."""


def render(comparison: Comparison) -> RenderableType:
    """Return the quantities, the breakdown and the notes of a comparison."""
    answers = comparison.answers
    tables = (_quantities(comparison), Text(), _breakdowns(answers)) if answers else ()
    return Group(*tables, *render_refusals(comparison.refusals), Text(), *remarks(answers))


def render_answer(answer: Answer) -> RenderableType:
    """Return the same of one answer, which does not know the name of its model."""
    return render(Comparison(model="", job=answer.job, results=(answer,)))


def render_refusals(refusals: Sequence[Refusal]) -> list[Text]:
    """Return a line for each system that cannot do the job."""
    return [_labelled(refusal.system, f"cannot: {refusal.reason}") for refusal in refusals]


def describe(job: Job) -> str:
    """Return a job in a few words.

    >>> describe(Decode(batch=1, context=4096))
    'decode, batch 1, context 4,096'
    """
    match job:
        case Decode():
            return f"decode, batch {job.batch:,}, context {job.context:,}"
        case Prefill():
            return f"prefill, batch {job.batch:,}, prompts of {count_of(job.tokens, 'token')}"
        case Forward():
            return f"one pass, batch of {count_of(job.batch, 'sample')}"
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


def _quantities(comparison: Comparison) -> Table:
    """Return a row a quantity; a system that cannot do the job has a column that says so."""
    results, answers = comparison.results, comparison.answers
    table = Table(
        title=": ".join(filter(None, (comparison.model, describe(comparison.job)))),
        title_justify="left",
        show_lines=False,
    )
    table.add_column("", style="cyan", no_wrap=True)
    for result in results:
        cannot = ": cannot" if isinstance(result, Refusal) else ""
        table.add_column(f"{result.system}{cannot}\n{result.title}", justify="right")

    def add_row(name: str, show: Callable[[Answer], str]) -> None:
        shown = (show(one) if isinstance(one, Answer) else _NOTHING for one in results)
        table.add_row(name, *shown)

    add_row("precision", lambda answer: answer.precision.value)
    add_row("mapping", lambda answer: answer.choice.text)
    for quantity in QUANTITIES:
        if any(quantity.read(answer) for answer in answers):  # no row for caches of 0 bytes
            add_row(quantity.title, partial(_cell, quantity))
    add_row("limit", _limit)
    if any(answer.published for answer in answers):
        add_row("published", _published)
    return table


def _cell(quantity: Quantity, answer: Answer) -> str:
    number = quantity.read(answer)
    return _NOTHING if number is None else quantity.write(number)


def _limit(answer: Answer) -> str:
    if answer.limit is None:
        return _NOTHING
    ((limit, share),) = answer.breakdown.largest(lambda item: item.limit, 1)
    return f"{limit} ({100 * share:.0f} % of the time)"


def _published(answer: Answer) -> str:
    lines: list[str] = []
    for figure in answer.published:
        error = error_of(answer, figure)
        beside = differences(answer, figure) if error is None else (f"{100 * error:+.1f} %",)
        lines.append(_written(figure) + (f" ({', '.join(beside)})" if beside else ""))
    return "\n".join(lines) or _NOTHING


def _written(figure: PublishedFigure) -> str:
    """Return the number as people write it; shares say what they are shares of."""
    if figure.quantity == "mfu":
        return f"{100 * figure.value:.3g} % of the FLOP/s"
    digits = ",.0f" if figure.value >= _WHOLE else ",.6g"
    return f"{figure.value:{digits}} {figure.unit}"


def _breakdowns(answers: Sequence[Answer]) -> Table:
    table = Table(
        title="Where the time goes",
        title_justify="left",
        caption="* partly or wholly not cross-checked" if _unchecked(answers) else None,
        caption_justify="left",
    )
    table.add_column("", style="cyan")
    for answer in answers:
        table.add_column(answer.system, justify="right")
    unchecked = _unchecked(answers)
    for name, cells in _rows(answers, lambda item: item.name):
        table.add_row(f"{name} *" if name in unchecked else name, *cells)
    table.add_section()
    for limit, cells in _rows(answers, lambda item: item.limit.value):
        table.add_row(f"waiting for {limit}", *cells)
    table.add_section()
    table.add_row("total", *(format_seconds(a.breakdown.seconds) for a in answers))
    return table


def _rows(answers: Sequence[Answer], key: Callable[[Item], str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the groups of items with their time and share on each system."""
    groups = [(answer.breakdown.by(key), answer.breakdown.seconds) for answer in answers]
    names = dict.fromkeys(name for group, _ in groups for name, took in group.items() if took)
    for name in names:
        yield name, [_share(group.get(name), total) for group, total in groups]


def _unchecked(answers: Sequence[Answer]) -> set[str]:
    """Return the names of items that are not cross-checked on some system."""
    items = [item for answer in answers for item in answer.breakdown.items]
    return {item.name for item in items if item.seconds and not item.is_cross_checked}


def _share(seconds: float | None, total: float) -> str:
    if seconds is None:
        return ""
    percent = 100 * seconds / total if total else 0.0
    return f"{format_seconds(seconds)} {percent:5.1f} %"


def remarks(answers: Sequence[Answer]) -> list[Text]:
    """Return lines on the choice, the energy, assumptions and sources of each answer."""
    lines: list[Text] = []
    for answer in answers:
        choice = answer.choice
        how = "you chose it" if choice.is_pinned else f"{choice.num_considered:,} considered"
        lines.append(_labelled(answer.system, f"{choice.text}: {choice.reason} ({how})"))
        lines.append(_labelled(answer.system, f"energy: {answer.energy_basis}"))
        lines += [_labelled(answer.system, note) for note in answer.notes]
        lines += [_labelled(answer.system, _origin(figure)) for figure in answer.published]
    return lines


def _origin(figure: PublishedFigure) -> str:
    """Return where a figure was published and what it was measured on, as far as known."""
    known = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in figure.conditions.items()
        if name not in _NOT_SHOWN
    ]
    return f"published: {figure.system}, {', '.join(known)}: {figure.source}"


def _labelled(label: str, text: str) -> Text:
    return Text.assemble((f"{label}: ", "cyan"), text)
