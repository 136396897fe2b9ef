"""Run the models of the list on the wafer, write the record and the page.

    python -m tools.model_coverage                        run everything
    python -m tools.model_coverage --resume               go on with a run that was stopped
    python -m tools.model_coverage --only BertModel …     run some again, keep the others
    python -m tools.model_coverage --check                exit with 1 if the page is out of date

The record (docs/reference/coverage.json) is written after every model, the page
(docs/reference/coverage.md) from the record at the end. Needs transformers and timm
(extra `coverage`).

Exit code: 0 everything ran with right values, 1 something did not, or the page is out of date.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from onewafer.execution import Fidelity
from onewafer.files.whole_files import write_text
from tools.model_coverage.model import Group
from tools.model_coverage.models import MODELS
from tools.model_coverage.page import model_rows, render, shares
from tools.model_coverage.record import FIDELITIES, Place, Record, load, new_record, save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tools.model_coverage.model import Model
    from tools.model_coverage.processes import Limits
    from tools.model_coverage.record import Outcome

_ROOT = Path(__file__).resolve().parents[2]
RECORD, PAGE = _ROOT / "docs/reference/coverage.json", _ROOT / "docs/reference/coverage.md"


@dataclass(frozen=True, slots=True)
class _Choice:
    """The models to run, and the file to write."""

    models: Sequence[Model]
    fidelities: Sequence[Fidelity]
    record: Path
    page: Path
    resumes: bool
    keeps_others: bool
    limits: Limits
    num_processes: int


def main(arguments: Sequence[str] | None = None, models: Sequence[Model] = MODELS) -> int:
    """Do what the arguments say; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.check:
        return _check(options.record, options.page)
    from tools.model_coverage.processes import Limits  # noqa: PLC0415  # loads torch: takes seconds

    chosen = _choose(models, options.only)
    if chosen is None or _lacks_timm(chosen):
        return 2
    return _run(
        _Choice(
            models=chosen,
            fidelities=options.fidelity or FIDELITIES,
            record=options.record,
            page=options.page,
            resumes=options.resume,
            keeps_others=options.resume or bool(options.only),
            limits=Limits(cpu_seconds=options.cpu_seconds),
            num_processes=options.processes,
        ),
        [model.name for model in models],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.model_coverage", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--only", nargs="+", metavar="MODEL", help="run these, keep the others of the record")
    add("--resume", action="store_true", help="keep what the record has, run the rest")
    add("--fidelity", action="append", type=Fidelity, choices=FIDELITIES, help="default: both")
    add("--processes", type=int, default=2, metavar="N", help="at a time; default: 2")
    add("--cpu-seconds", type=int, default=240, metavar="S", help="limit of a model; default: 240")
    add("--record", type=Path, default=RECORD, metavar="FILE")
    add("--page", type=Path, default=PAGE, metavar="FILE")
    add("--check", action="store_true", help="only tell whether the page follows from the record")
    return parser


def _choose(models: Sequence[Model], names: Sequence[str] | None) -> Sequence[Model] | None:
    """Return the models of these names, all for None; None, with a message, if there is no such."""
    if names is None:
        return models
    known = {model.name: model for model in models}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no model {', '.join(unknown)} in tools/model_coverage/models.py", file=sys.stderr)
        return None
    return [known[name] for name in names]


def _lacks_timm(models: Sequence[Model]) -> bool:
    """Tell whether timm is needed and not there, and say so then."""
    if find_spec("timm") is not None or all(model.group is not Group.TIMM for model in models):
        return False
    print("models of timm need it: pip install 'onewafer[coverage]'", file=sys.stderr)
    return True


def _check(record: Path, page: Path) -> int:
    if page.read_text(encoding="utf-8") == render(load(record)):
        return 0
    print(f"{page} does not follow from {record}; run `python -m tools.model_coverage --resume`")
    return 1


def _run(choice: _Choice, order: Sequence[str]) -> int:
    from tools.model_coverage.processes import Trial, run_trials, warm_up  # noqa: PLC0415  # as above

    record = _begin(choice)
    trials = [
        Trial(model, fidelity)
        for model in choice.models
        for fidelity in choice.fidelities
        if not (choice.resumes and record.has(model.name, fidelity))
    ]
    console = Console(stderr=True)
    with _progress(console) as progress:
        task = progress.add_task("loading", total=len(trials))
        warm_up(choice.fidelities)
        outcomes = run_trials(trials, choice.limits, num_processes=choice.num_processes)
        for outcome in outcomes:
            record = record.with_outcome(outcome).only(order)
            save(record, choice.record)
            progress.update(task, advance=1, description=outcome.model)
            if not outcome.is_right:
                progress.console.print(_describe(outcome), style="red", markup=False)
    write_text(choice.page, render(record))
    Console().print(_summary(record))
    return 0 if all(outcome.is_right for outcome in record.outcomes) else 1


def _begin(choice: _Choice) -> Record:
    """Return the record to go on with."""
    fresh = new_record()
    if not (choice.keeps_others and choice.record.exists()):
        return fresh
    found = load(choice.record)
    if found.versions != fresh.versions:
        sys.exit(f"{choice.record} was measured with other versions of libraries: run everything")
    return found


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _describe(outcome: Outcome) -> str:
    name = f"{outcome.model} ({outcome.fidelity})"
    if outcome.place is Place.FAILED:
        return f"{name}: {outcome.failure}"
    return f"{name}: wrong values, difference {outcome.difference}"


def _summary(record: Record) -> Table:
    rows = model_rows(record)
    found = shares(rows)
    table = Table("", "models", "wafer", "both", "host", "failed", "right")
    groups = [*dict.fromkeys(row.group for row in rows), None]
    for group in groups:
        members = [row for row in rows if group in (None, row.group)]
        counts = [sum(row.place is place for row in members) for place in Place]
        right = sum(row.is_right for row in members)
        cells = (str(count) for count in (len(members), *counts, right))
        table.add_row(group or "all", *cells, end_section=group == groups[-2:][0])
    table.caption = "the goals are met" if found.meets_goals else "the goals are missed"
    return table


if __name__ == "__main__":
    sys.exit(main())
