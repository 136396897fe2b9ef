"""Read a machine description and refuse one that hides where its numbers come from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from onewafer.arch.architecture import Architecture, DataTaskKey
from onewafer.arch.timing import Timing
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CATALOG = "onewafer.arch.catalog"
_TABLE_FIELDS = ("instruction_cycles", "elements_per_cycle")
_EXTENDS = "extends"


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
    """Nobody published it."""


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


def architecture_names() -> tuple[str, ...]:
    """Return the machines in the catalog, sorted."""
    names = (entry.name for entry in resources.files(_CATALOG).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_architecture(name: str, *, profile: str = "sdk") -> Architecture:
    """Return a machine of the catalog under a timing profile.

    `name` is one of `architecture_names()`, `profile` is `sdk` (the figures of the vendor's
    simulator) or `silicon` (measurements on real machines). Raise `ConfigurationError` otherwise.

    >>> load_architecture("wse3").timing.hop_cycles
    2
    """
    document = _read_document(name)
    profiles = _table(document, "timing", name)
    if profile not in profiles:
        raise ConfigurationError(
            f"machine '{name}' has no timing profile '{profile}'; it has: "
            f"{', '.join(sorted(profiles))}"
        )
    facts = {e.path.rsplit(".", 1)[1]: e.value for e in _entries(document, "facts", name)}
    timing = {e.path.split(".", 2)[2]: e.value for e in _timing_entries(document, profile, name)}
    facts["data_task_key"] = DataTaskKey(str(facts["data_task_key"]))
    known: dict[str, object] = {
        **facts,
        "name": name,
        "title": document["title"],
        "profile": profile,
    }
    return Architecture(**_checked(known, Architecture, name), timing=_timing(timing, name))  # pyright: ignore[reportArgumentType]  # from TOML


def catalog_entries(name: str, *, profile: str) -> tuple[CatalogEntry, ...]:
    """Return every sourced number behind `load_architecture(name, profile=profile)`."""
    document = _read_document(name)
    return (*_entries(document, "facts", name), *_timing_entries(document, profile, name))


@lru_cache
def _read_document(name: str) -> Mapping[str, object]:
    if name not in architecture_names():
        raise ConfigurationError(
            f"there is no machine '{name}'; the catalog has: {', '.join(architecture_names())}"
        )
    text = resources.files(_CATALOG).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def _timing_entries(document: Mapping[str, object], profile: str, name: str) -> list[CatalogEntry]:
    """Return the entries of a profile, those it extends included, the profile's own last."""
    table = _table(_table(document, "timing", name), profile, name)
    base = table.get(_EXTENDS)
    inherited = _timing_entries(document, str(base), name) if base else []
    own = _entries(document, f"timing.{profile}", name)
    merged = {entry.path.split(".", 2)[2]: entry for entry in (*inherited, *own)}
    return list(merged.values())


def _entries(document: Mapping[str, object], path: str, name: str) -> list[CatalogEntry]:
    table = document
    for part in path.split("."):
        table = _table(table, part, name)
    entries: list[CatalogEntry] = []
    for key, item in table.items():
        if key == _EXTENDS:
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
            entries.extend(_entries(document, where, name))
    return entries


def _entry(path: str, item: dict[str, object], name: str) -> CatalogEntry:
    missing = [key for key in ("unit", "source", "confidence") if not item.get(key)]
    if missing:
        raise ConfigurationError(f"{name}.toml: {path} does not say its {' and '.join(missing)}")
    value = item["value"]
    if item["confidence"] not in {*Confidence}:
        raise ConfigurationError(
            f"{name}.toml: {path}: '{item['confidence']}' is no confidence; write one of "
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


def _timing(values: dict[str, object], name: str) -> Timing:
    tables: dict[str, dict[str, object]] = {key: {} for key in _TABLE_FIELDS}
    known: dict[str, object] = {}
    for path, value in values.items():
        table, _, key = path.rpartition(".")
        exact = Fraction(value) if isinstance(value, str) else value
        if table:
            tables[table][key] = exact
        else:
            known[key] = exact
    known.update((key, MappingProxyType(table)) for key, table in tables.items())
    return Timing(**_checked(known, Timing, name))  # pyright: ignore[reportArgumentType]  # from TOML


def _checked(known: dict[str, object], target: type, name: str) -> dict[str, object]:
    """Return `known` if it fits the fields of a dataclass, `timing` aside."""
    wanted = {field.name for field in fields(target)} - {"timing"}
    if difference := sorted(wanted ^ set(known)):
        raise ConfigurationError(
            f"{name}.toml: missing or unknown in {target.__name__}: {', '.join(difference)}"
        )
    return known


def _table(parent: Mapping[str, object], key: str, name: str) -> Mapping[str, object]:
    table = parent.get(key)
    if not isinstance(table, dict):
        raise ConfigurationError(f"{name}.toml: there is no table '{key}'")
    return cast("Mapping[str, object]", table)
