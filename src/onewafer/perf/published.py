"""Published figures as values, read from `figures/*.toml`.

A figure is *validation* if no constant of ours was fitted on it, *calibration* otherwise. Every
figure has its source.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = "onewafer.perf.figures"


class Role(StrEnum):
    """The role of a published figure: a test of the equations, or a source of their constants."""

    VALIDATION = "validation"
    CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One published number."""

    name: str
    """Unique, as `cerebras-2024-08-llama-3.1-8b`."""
    model: str
    """A name of the catalogue of models."""
    system: str
    """A system as the user writes it: `cs3`, `h100x8192`."""
    quantity: str
    """The measured quantity, a field of `Answer`: `tokens_per_second_per_user`, `mfu`."""
    value: float
    unit: str
    source: str
    date: str
    confidence: str
    """`A` primary source, cross-checked; `B` one source; `C` recalled."""
    role: Role
    conditions: Mapping[str, object]
    """All other known conditions of the run: precision, batch, sequence, plan."""
    note: str = ""


def topics() -> tuple[str, ...]:
    """Return the names of the files of figures, sorted."""
    files = (file.name for file in resources.files(_FOLDER).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


@lru_cache
def published_figures(topic: str) -> tuple[PublishedFigure, ...]:
    """Return the figures of one file, in its order; raise ConfigurationError for a bad entry."""
    text = resources.files(_FOLDER).joinpath(f"{topic}.toml").read_text(encoding="utf-8")
    return tuple(_figure(topic, entry) for entry in tomllib.loads(text)["figure"])


def _figure(topic: str, entry: dict[str, object]) -> PublishedFigure:
    try:
        return PublishedFigure(
            **cast("dict[str, object]", {**entry, "role": Role(str(entry["role"]))}),  # pyright: ignore[reportArgumentType]  # from TOML
        )
    except (KeyError, TypeError, ValueError) as error:
        name = entry.get("name", "a figure")
        raise ConfigurationError(f"figures/{topic}.toml: {name}: {error}") from None
