"""`onewafer validate`: how close machine and equations are to published figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.cli.options.output_files import check_output, write_output
from onewafer.errors import ConfigurationError
from onewafer.options import COMMAND_LINE, EngineOption, errors_in
from onewafer.process.garbage import rare_collection
from onewafer.settings import ENGINES
from onewafer.terminal import progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.perf import Model, PerfValidation
    from onewafer.validation import Case, CaseResult

_JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")
]
_PageOption = Annotated[
    Path | None,
    typer.Option("--page", metavar="FILE", help="Write the page of the manual (Markdown)."),
]

validate = typer.Typer(
    name="validate",
    help="Compare the simulated machine and the equations with published figures.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@validate.command()
def fabric(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run this case and show its points; may be repeated."),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="fast or reference.")] = ENGINES[0],
    json_file: _JsonOption = None,
    page: _PageOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if a case misses its target.")
    ] = False,
) -> None:
    """Run published measurements of fabric and PE, and print theirs, ours and the error.

    A case is *validation* if no constant of the machine model comes from its figures, *calibration*
    otherwise. A miss is shown with the reason that was found; only --strict makes it an error.
    """
    from onewafer.terminal import stdout_console  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.validation import (  # noqa: PLC0415  # likewise
        TABLE_COLUMNS,
        render,
        render_details,
        render_page,
        select_cases,
        to_json,
    )

    json_file, page = check_output("--json", json_file), check_output("--page", page)
    with errors_in(COMMAND_LINE):
        EngineOption(engine=engine)
    results = _run(select_cases(only or ()), engine)
    console = stdout_console(TABLE_COLUMNS)
    console.print(render(results, engine=engine))
    if only:
        for result in results:
            console.print(render_details(result))
    if json_file is not None:
        write_output(json_file, to_json(results, engine=engine))
    if page is not None:
        options = [
            *(f"--only {case}" for case in only or ()),
            *([f"--engine {engine}"] * (engine != ENGINES[0])),
        ]
        command = " ".join(["onewafer validate fabric", *options])
        write_output(page, render_page(results, engine=engine, command=command))
    if strict and not all(result.is_hit for result in results):
        raise typer.Exit(1)


def _run(cases: Sequence[Case], engine: str) -> list[CaseResult]:
    """Run cases in order, with a progress line on a terminal."""
    from onewafer.validation import Bench, run_case  # noqa: PLC0415  # a subcommand loads what it uses

    bench = Bench(engine)
    results: list[CaseResult] = []
    with progress_bar() as bar:
        for number, case in enumerate(cases):
            bar.show(number, len(cases))
            bar.say(case.name)
            results.append(run_case(case, bench))
    return results


@validate.command()
def perf(
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="wafer, serving, samples, wafer-training or gpu-training."
        ),
    ] = None,
    json_file: _JsonOption = None,
    page: _PageOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 if a validation misses its target.")
    ] = False,
) -> None:
    """Recompute published figures of wafers and GPUs by the equations of `onewafer compare`.

    Measured serving runs count if no constant was fitted on them. A miss is shown with its reason
    as far as known; only --strict makes it an error.
    """
    from onewafer.perf.report import (  # noqa: PLC0415  # a subcommand loads what it uses
        VALIDATION_COLUMNS,
        render_validation,
        render_validation_page,
        validation_to_json,
    )
    from onewafer.terminal import stdout_console  # noqa: PLC0415  # likewise

    json_file, page = check_output("--json", json_file), check_output("--page", page)
    validation = _validate_perf(only or ())
    stdout_console(VALIDATION_COLUMNS).print(render_validation(validation))
    if json_file is not None:
        write_output(json_file, validation_to_json(validation))
    if page is not None:
        command = " ".join(["onewafer validate perf", *(f"--only {name}" for name in only or ())])
        write_output(page, render_validation_page(validation, command=command))
    if strict and not validation.is_hit:
        raise typer.Exit(1)


def _validate_perf(only: Sequence[str]) -> PerfValidation:
    """Return the rows of the topics, with a progress line on a terminal."""
    from onewafer.api.models import load_model  # noqa: PLC0415  # a subcommand loads what it uses
    from onewafer.perf import PerfValidation, gpu, wafer  # noqa: PLC0415  # likewise

    topics = {
        "wafer": wafer.validate,
        "serving": gpu.validate,
        "samples": gpu.validate_samples,
        "wafer-training": wafer.validate_training,
        "gpu-training": gpu.validate_training,
    }
    if unknown := [name for name in only if name not in topics]:
        raise ConfigurationError(f"--only {unknown[0]!r}: choose from {', '.join(topics)}")
    validation = PerfValidation()
    chosen = only or (*topics,)
    with progress_bar() as bar, rare_collection():

        def load(name: str) -> Model:
            return load_model(name, bar.say)

        for number, name in enumerate(chosen):
            bar.show(number, len(chosen))
            bar.say(name)
            validation += topics[name](load, progress=bar.say)
    return validation
