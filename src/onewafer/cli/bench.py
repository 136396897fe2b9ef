"""`onewafer bench`: how fast the compiler and the simulator are on this computer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003  # Typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.options import COMMAND_LINE, EngineOption, errors_in
from onewafer.settings import ENGINES
from onewafer.terminal import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.benchmarks import Benchmark, CurveResult, Outcome, Results

_DEFAULT_REPEAT = 5
_DEFAULT_THREADS = 1
"""Rates are by processor second, and the goals are for one core."""


def bench(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run this benchmark; may be repeated."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the benchmarks and end.")] = False,
    large: Annotated[
        bool, typer.Option("--large", help="Also those that take minutes or gigabytes.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that all works; no verdicts.")
    ] = False,
    repeat: Annotated[
        int, typer.Option(metavar="N", help="Timed runs of each; large ones run once.")
    ] = _DEFAULT_REPEAT,
    engine: Annotated[str, typer.Option(metavar="NAME", help="fast or reference.")] = ENGINES[0],
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="Threads that may simulate.")
    ] = _DEFAULT_THREADS,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--page", metavar="FILE", help="Write the page of the manual (Markdown)."),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="FOLDER", help="Measure growth curves, write them as SVG."),
    ] = None,
) -> None:
    """Time programs with known answers, and hold the figures against the goals.

    Each benchmark runs in a process of its own, and every result is compared with NumPy's. The exit
    code is 1 if one could not be measured; a goal that is missed is said, and is no error.
    """
    from onewafer.benchmarks import (  # noqa: PLC0415  # a subcommand loads what it uses
        BENCHMARKS,
        Results,
        find_facts,
        load_average,
        select_benchmarks,
    )

    if list_:
        _print_list(BENCHMARKS)
        return
    benchmarks = select_benchmarks(only or (), with_large=large)
    _check_options(engine, repeat, plots=plots)
    json_file, page = check_output("--json", json_file), check_output("--page", page)
    facts = find_facts()
    outcomes, curves = _run(
        benchmarks, engine, repeat, threads, quick=quick, with_curves=plots is not None
    )
    facts = replace(facts, load_average_after=load_average())
    results = Results(engine=engine, facts=facts, outcomes=outcomes, curves=curves, threads=threads)
    _show(results)
    command = _command(
        only or (), large=large, quick=quick, repeat=repeat, engine=engine, threads=threads
    )
    _write_files(results, command, json_file=json_file, page=page, plots=plots)
    if any(outcome.measurement is None for outcome in outcomes):
        raise typer.Exit(1)


def _show(results: Results) -> None:
    """Print the tables; in full if stdout is no terminal."""
    from onewafer.benchmarks import TABLE_COLUMNS, render  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.terminal import stdout_console  # noqa: PLC0415  # likewise

    stdout_console(TABLE_COLUMNS).print(render(results))


def _print_list(benchmarks: Sequence[Benchmark]) -> None:
    width = max(len(benchmark.name) for benchmark in benchmarks)
    for benchmark in benchmarks:
        note = " (large)" if benchmark.is_large else ""
        typer.echo(f"{benchmark.name:{width}}  {benchmark.describe(benchmark.sizes)}{note}")


def _check_options(engine: str, repeat: int, *, plots: Path | None) -> None:
    """Refuse what cannot work before anything runs; make the folder of the plots."""
    from onewafer.benchmarks import require_matplotlib  # noqa: PLC0415  # NumPy and Numba

    with errors_in(COMMAND_LINE):
        EngineOption(engine=engine)
    if repeat < 1:
        raise ConfigurationError(f"--repeat {repeat}: give a whole number of at least 1")
    if plots is not None:
        require_matplotlib()
        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--plots {plots}: {error.strerror or error}") from error


def _run(
    benchmarks: Sequence[Benchmark],
    engine: str,
    repeat: int,
    threads: int,
    *,
    quick: bool,
    with_curves: bool,
) -> tuple[tuple[Outcome, ...], tuple[CurveResult, ...]]:
    """Run benchmarks, then curves, with a progress line on a terminal."""
    from onewafer.benchmarks import (  # noqa: PLC0415  # a subcommand loads what it uses
        growth_curves,
        measure_curve,
        run_benchmark,
    )

    outcomes: list[Outcome] = []
    with progress_bar() as bar:
        for number, benchmark in enumerate(benchmarks, 1):
            place = f"{number} of {len(benchmarks)}, {benchmark.name}"
            outcomes.append(
                run_benchmark(
                    benchmark,
                    benchmark.quick_sizes if quick else benchmark.sizes,
                    engine=engine,
                    repeat=0 if benchmark.is_large else repeat,
                    note=_teller(bar.say, place),
                    threads=threads,
                )
            )
        curves = [
            measure_curve(curve, engine=engine, repeat=repeat, note=bar.say, threads=threads)
            for curve in (growth_curves(quick=quick) if with_curves else ())
        ]
    return tuple(outcomes), tuple(curves)


def _teller(say: Callable[[str], None], place: str) -> Callable[[str], None]:
    return lambda text: say(f"{place}: {text}")


def _command(
    names: Sequence[str], *, large: bool, quick: bool, repeat: int, engine: str, threads: int
) -> str:
    options = [
        *(f"--only {name}" for name in names),
        *(["--large"] * large),
        *(["--quick"] * quick),
        *([f"--repeat {repeat}"] * (repeat != _DEFAULT_REPEAT)),
        *([f"--engine {engine}"] * (engine != ENGINES[0])),
        *([f"--threads {threads}"] * (threads != _DEFAULT_THREADS)),
    ]
    return " ".join(["onewafer bench", *options])


def _write_files(
    results: Results,
    command: str,
    *,
    json_file: Path | None,
    page: Path | None,
    plots: Path | None,
) -> None:
    from onewafer.benchmarks import draw, render_page, to_json  # noqa: PLC0415  # as above

    pictures: dict[str, Path] = {}
    if plots is not None:
        pictures = {curve.curve.title: draw(curve, plots) for curve in results.curves}
    if json_file is not None:
        write_output(json_file, to_json(results))
    if page is not None:
        write_output(page, render_page(results, command=command, plots=pictures, page=page))
