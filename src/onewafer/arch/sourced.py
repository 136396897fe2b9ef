"""Numbers that say where they come from, read from TOML.

    entry := key = { value = …, unit = "…", source = "…", confidence = "…", note = "…" }

A file whose entry leaves one of the first four out is refused.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTENDS = "extends"
"""The one key of a table that is no entry: it names a table whose entries hold here, too."""


class Confidence(StrEnum):
    """How far a number can be trusted."""

    PRIMARY = "A"
    """Read in a primary source and cross-checked."""
    SINGLE = "B"
    """Read in one source."""
    RECALLED = "C"
    DERIVED = "D"
    """Derived by arithmetic from A and B facts."""
    ASSUMED = "assumed"
    """There is no published value."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One sourced number (or list, or name) of a machine description."""

    path: str
    """Dotted: `facts.num_colors`, `timing.sdk.instruction_cycles.load`."""
    value: int | float | str | bool | tuple[int, ...]
    unit: str
    source: str
    confidence: Confidence
    note: str = ""


def names_in(folder: str) -> tuple[str, ...]:
    """Return the names of the TOML files of a package, without the ending, sorted."""
    names = (entry.name for entry in resources.files(folder).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@lru_cache
def read_document(folder: str, name: str, what: str) -> Mapping[str, object]:
    """Return a file of a package; raise ConfigurationError that lists all if there is none.

    `what` the files describe is for the message: `machine`, `system`.
    """
    if name not in names_in(folder):
        raise ConfigurationError(
            f"there is no {what} '{name}'; the catalog has: {', '.join(names_in(folder))}"
        )
    text = resources.files(folder).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def table(parent: Mapping[str, object], key: str, name: str) -> Mapping[str, object]:
    """Return a table of the file `name`; raise ConfigurationError if it has none."""
    found = parent.get(key)
    if not isinstance(found, dict):
        raise ConfigurationError(f"{name}.toml: there is no table '{key}'")
    return cast("Mapping[str, object]", found)


def entries_of(document: Mapping[str, object], path: str, name: str) -> list[CatalogEntry]:
    """Return the entries of the table at a dotted path and of those in it, in order."""
    found = document
    for part in path.split("."):
        found = table(found, part, name)
    entries: list[CatalogEntry] = []
    for key, item in found.items():
        if key == EXTENDS:
            continue
        where = f"{path}.{key}"
        if not isinstance(item, dict):
            raise ConfigurationError(
                f"{name}.toml: {where} is a bare value; write "
                f'{key} = {{ value = …, unit = "…", source = "…", confidence = "…" }}'
            )
        fields_of_item = cast("dict[str, object]", item)
        if "value" in fields_of_item:
            entries.append(_entry(where, fields_of_item, name))
        else:
            entries.extend(entries_of(document, where, name))
    return entries


def fitted(
    known: Mapping[str, object], target: type, name: str, *, apart: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Return `known` if it has exactly the fields of a dataclass but those that are read `apart`.

    Raises ConfigurationError that names what is missing or unknown.
    """
    wanted = {field.name for field in fields(target)} - apart
    if difference := sorted(wanted ^ set(known)):
        raise ConfigurationError(
            f"{name}.toml: missing or unknown in {target.__name__}: {', '.join(difference)}"
        )
    return dict(known)


def _entry(path: str, item: dict[str, object], name: str) -> CatalogEntry:
    missing = [key for key in ("unit", "source", "confidence") if not item.get(key)]
    if missing:
        raise ConfigurationError(f"{name}.toml: {path} does not say its {' and '.join(missing)}")
    value = item["value"]
    if item["confidence"] not in {*Confidence}:
        raise ConfigurationError(
            f"{name}.toml: {path}: '{item['confidence']}' is not a confidence; write one of "
            f"{', '.join(Confidence)}"
        )
    return CatalogEntry(
        path=path,
        value=tuple(cast("list[int]", value)) if isinstance(value, list) else value,  # pyright: ignore[reportArgumentType]  # from TOML
        unit=str(item["unit"]),
        source=str(item["source"]),
        confidence=Confidence(str(item["confidence"])),
        note=str(item.get("note", "")),
    )
