"""Options of everything that simulates; most replace a setting of the environment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.options.conversion import optional, to_path
from onewafer.options.option import Options, option, options_of
from onewafer.settings import Settings, parse_checks, parse_engine

if TYPE_CHECKING:
    from pathlib import Path


class EngineOption(Options):
    """The simulator."""

    engine: str | None = option(
        default=None,
        converter=optional(parse_engine),
        help="Simulator: fast or reference",
        unset="ONEWAFER_ENGINE, or fast",
        setting="engine",
    )


class LimitOption(Options):
    """The longest run."""

    max_cycles: int | None = option(
        default=None,
        help="Let a run of more cycles fail",
        unset="ONEWAFER_MAX_CYCLES, or no limit",
        setting="max_cycles",
    )


class SimulationOptions(EngineOption, LimitOption):
    """How to simulate."""

    threads: int | None = option(
        default=None,
        help="Most threads that simulate",
        unset="ONEWAFER_THREADS, or the cores",
        setting="threads",
    )


class StrictOption(Options):
    """The treatment of warnings."""

    strict: bool = option(
        default=False,
        help="Turn the warnings at the end of a run into errors, as ONEWAFER_STRICT does",
        setting="is_strict",
    )


class CheckOptions(StrictOption):
    """Checks of a run."""

    check: tuple[str, ...] | None = option(
        default=None,
        converter=optional(parse_checks),
        help="Check accesses to memory: bounds, uninitialised, or all",
        unset="ONEWAFER_CHECK",
        metavar="LIST",
        setting="checks",
    )


class RecordOptions(Options):
    """The recording of a run."""

    record: Path | None = option(
        default=None,
        converter=optional(to_path),
        help="Write what every PE did, for `onewafer view FILE`; Parquet, a file a program",
        metavar="FILE",
    )
    sample_every: int | None = option(
        default=None,
        help="Record over time, too: the recording has a window for each N cycles",
        setting="sample_every",
    )


def settings_with(*said: Options, progress: bool = True) -> Settings:
    """Return the settings of the environment, with what options say instead.

    Raises:
        ConfigurationError: a variable has no usable value.
    """
    settings = Settings.from_environment()
    changes = {
        found.setting: value
        for options in said
        for found in options_of(type(options))
        if found.setting and (value := getattr(options, found.name)) not in (None, False)
    }
    return replace(settings, shows_progress=settings.shows_progress and progress, **changes)
