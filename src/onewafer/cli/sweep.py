"""`onewafer sweep`: the points of a study, computed and shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from onewafer.cli.options.output_files import check_output
from onewafer.errors import ConfigurationError
from onewafer.terminal import SHOWN_COLUMNS, progress_bar, stdout_console, visible

if TYPE_CHECKING:
    from onewafer.sweep import Drawing, Executor, Study, Summary

_RUN = "run"
_Study = Annotated[Path, typer.Argument(metavar="STUDY", help="A TOML file that says what to ask.")]

_Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw it instead: .png, .svg or .pdf."),
]
_Form = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --plot: heat, lines or pareto [default: fits]."),
]
_X = Annotated[
    str | None, typer.Option("--x", metavar="NAME", help="With --plot: what goes right.")
]
_Y = Annotated[
    str | None, typer.Option("--y", metavar="NAME", help="With --plot: the figure that is drawn.")
]
_By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="With --plot: lines, or the heat map's rows."),
]


class _StudyFirst(TyperGroup):
    """Commands of which the first may be left out: `onewafer sweep study.toml`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  # click's, or Typer's copy
        """Take anything but the name of a command for a study."""
        if args and args[0] not in self.commands:
            args = [_RUN, *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # likewise
        """Let options of the first command stand before the study."""
        if args and args[0].startswith("-") and args[0] != "--help":
            args = [_RUN, *args]
        return super().parse_args(ctx, args)


sweep = typer.Typer(
    name="sweep",
    cls=_StudyFirst,
    help="""Ask many questions at once: axes over models, jobs and numbers of the machine.

    `onewafer sweep STUDY` is `onewafer sweep run STUDY`.
    """,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@sweep.command()
def run(
    study: _Study,
    *,
    resume: Annotated[
        bool,
        typer.Option("--resume/--fresh", help="Keep what is known; forget it and begin anew."),
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes [default: what cores and memory allow]."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Of a worker, e.g. 8GB [default: what points need]."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Workers of a Ray cluster: HOST:PORT, auto, or local."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="For the results [default: STUDY.sweep]."
        ),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say how many points there are, and end.")
    ] = False,
) -> None:
    """Compute the points of a study that are not known yet.

    Results are rows of a Parquet file, `STUDY.sweep/points.parquet`. A sweep that was stopped goes
    on where it was. The exit code is 1 if a point failed.
    """
    from onewafer.sweep import folder_of, points_of, read_study, require  # noqa: PLC0415  # a subcommand loads what it uses

    found = read_study(study)
    if dry:
        typer.echo(f"{visible(found.title)}: {len(points_of(found)):,} points")
        return
    require("pyarrow")
    summary = _sweep(
        found,
        output or folder_of(study),
        _Workers(workers, _bytes(memory), ray),
        is_fresh=not resume,
    )
    typer.echo(_describe(summary))
    if summary.first_failure is not None:
        failed = f"{_count_failed(summary):,} of {summary.num_points:,} points failed"
        typer.echo(f"onewafer: {failed}; the first: {summary.first_failure}", err=True)
        raise typer.Exit(1)


@sweep.command()
def show(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="The study, its folder, or a file of results.")
    ],
    *,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With commas [default: axes and objectives]."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help='Rows, as in "batch < 8".')
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="NAME", help="Smallest first; with - largest first.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only points that no other beats in all objectives.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", help="Rows at most; 0: all.")] = 40,
    plot: _Plot = None,
    form: _Form = None,
    x: _X = None,
    y: _Y = None,
    by: _By = None,
) -> None:
    """Print the results of a study as a table, or draw them."""
    from onewafer.sweep import (  # noqa: PLC0415  # a subcommand loads what it uses
        Choice,
        draw_results,
        find_results,
        read_results,
        require,
    )

    require("pyarrow")
    choice = Choice(
        columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
        where=where,
        sort=sort,
        is_pareto=pareto,
        limit=limit or None,
    )
    drawing = _drawing(form, x=x, y=y, by=by, is_drawn=plot is not None)
    target = check_output("--plot", plot)
    results = read_results(find_results(study), choice)
    if target is None:
        stdout_console(SHOWN_COLUMNS).print(results)
    else:
        draw_results(results, target, drawing)


def _drawing(
    form: str | None, *, x: str | None, y: str | None, by: str | None, is_drawn: bool
) -> Drawing:
    from onewafer.sweep import Drawing, Form  # noqa: PLC0415  # when it is used

    said = {"--form": form, "--x": x, "--y": y, "--by": by}
    named = [option for option, value in said.items() if value is not None]
    if named and not is_drawn:
        raise ConfigurationError(f"{named[0]} is about a picture; name its file: --plot FILE")
    if form is not None and form not in {*Form}:
        raise ConfigurationError(f"--form {form!r}: choose from {', '.join(Form)}")
    return Drawing(form=None if form is None else Form(form), x=x, y=y, by=by)


@dataclass(frozen=True, slots=True)
class _Workers:
    """The workers that the user asked for."""

    number: int | None
    memory: int | None
    ray: str | None


def _sweep(study: Study, folder: Path, workers: _Workers, *, is_fresh: bool) -> Summary:
    from onewafer.sweep import sweep as compute  # noqa: PLC0415  # when it is used

    with progress_bar(noun="points") as bar:
        bar.say(study.path.name)
        return compute(
            study,
            folder,
            lambda points: _executor(study, points, workers),
            is_fresh=is_fresh,
            report=bar.show,
        )


def _executor(study: Study, points: int, workers: _Workers) -> Executor:
    from onewafer.sweep import InProcess, Processes, RayCluster, Share, choose_workers  # noqa: PLC0415  # when it is used

    asked = workers.number
    if asked is not None and asked < 1:
        raise ConfigurationError(f"--workers {asked}: write a number of at least 1")
    each = workers.memory or study.subject.least_memory
    if workers.ray is not None:
        return RayCluster(workers.ray, asked, each, Share(each, threads=1))
    number = choose_workers(asked, memory=each, batches=points)
    if number == 1:
        return InProcess(Share(workers.memory))
    return Processes(number, Share(each, threads=1))


def _bytes(text: str | None) -> int | None:
    from onewafer.sweep import parse_bytes  # noqa: PLC0415  # when it is used

    return None if text is None else parse_bytes("--memory", text)


def _describe(summary: Summary) -> str:
    ends = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
    known = f", {summary.num_known:,} of them known before" if summary.num_known else ""
    points = "1 point" if summary.num_points == 1 else f"{summary.num_points:,} points"
    return f"{points}{known}: {ends}\n{summary.target}"


def _count_failed(summary: Summary) -> int:
    from onewafer.sweep import Status  # noqa: PLC0415  # when it is used

    return summary.counts[Status.FAILED]
