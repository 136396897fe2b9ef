"""Options of every command that simulates, and the settings that they replace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from onewafer.api import as_option, simulation_settings

if TYPE_CHECKING:
    from onewafer.settings import Settings

EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="Simulator: fast or reference [default: ONEWAFER_ENGINE, or fast].",
    ),
]
MaxCyclesOption = Annotated[
    int | None,
    typer.Option(
        "--max-cycles",
        metavar="N",
        min=1,
        help="Let a run of more cycles fail [default: ONEWAFER_MAX_CYCLES, or no limit].",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="Most threads that simulate [default: ONEWAFER_THREADS, or the cores].",
    ),
]
CheckOption = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="LIST",
        help="Check accesses to memory: bounds, uninitialised, or all [default: ONEWAFER_CHECK].",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Turn the warnings at the end of a run into errors [default: ONEWAFER_STRICT].",
    ),
]


def read_settings(
    *,
    engine: str | None = None,
    max_cycles: int | None = None,
    threads: int | None = None,
    quiet: bool = False,
    strict: bool = False,
    checks: str | None = None,
) -> Settings:
    """Return the settings of the environment, with what the command line says instead.

    Raises:
        ConfigurationError: an option or a variable has no usable value.
    """
    return simulation_settings(
        engine=engine,
        max_cycles=max_cycles,
        threads=threads,
        check=checks,
        strict=strict,
        progress=not quiet,
        naming=as_option,
    )
