"""How simulations run: the environment's settings, with what a call or a command line says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.api.arguments import as_argument
from onewafer.errors import ConfigurationError
from onewafer.settings import Settings, check_engine, parse_checks

if TYPE_CHECKING:
    from onewafer.api.arguments import Naming


def simulation_settings(
    *,
    engine: str | None = None,
    max_cycles: int | None = None,
    threads: int | None = None,
    check: str | None = None,
    sample_every: int | None = None,
    strict: bool = False,
    progress: bool = True,
    naming: Naming = as_argument,
) -> Settings:
    """Return the settings of the environment, with what is said instead; None is not said.

    `naming` says how messages name an argument.

    Raises:
        ConfigurationError: an argument or a variable has no usable value.
    """
    settings = Settings.from_environment()
    if engine is not None:
        settings = replace(settings, engine=check_engine(engine, naming("engine")))
    if max_cycles is not None:
        settings = replace(settings, max_cycles=_positive(naming("max_cycles"), max_cycles))
    if threads is not None:
        settings = replace(settings, threads=_positive(naming("threads"), threads))
    if sample_every is not None:
        settings = replace(settings, sample_every=_positive(naming("sample_every"), sample_every))
    if check is not None:
        settings = replace(settings, checks=parse_checks(check, naming("check")))
    return replace(
        settings,
        shows_progress=settings.shows_progress and progress,
        is_strict=settings.is_strict or strict,
    )


def _positive(name: str, number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # a caller's
        raise ConfigurationError(f"{name}={number!r}: give a whole number of at least 1")
    return number
