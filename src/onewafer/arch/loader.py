"""Read a machine description; refuse one whose numbers have no source."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from onewafer.arch.architecture import Architecture, DataTaskKey
from onewafer.arch.sourced import (
    EXTENDS,
    CatalogEntry,
    entries_of,
    fitted,
    names_in,
    read_document,
    table,
)
from onewafer.arch.timing import Timing
from onewafer.arch.variant import split_variant, varied
from onewafer.arch.wafer_system import wafer_of
from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CATALOG = "onewafer.arch.catalog"
_TABLE_FIELDS = ("instruction_cycles", "elements_per_cycle")


def architecture_names() -> tuple[str, ...]:
    """Return the machines in the catalog, sorted."""
    return names_in(_CATALOG)


@lru_cache(maxsize=1024)
def load_architecture(name: str, *, profile: str = "sdk") -> Architecture:
    """Return a machine of the catalog under a timing profile.

    `name` is one of `architecture_names()`, a variant as `wse3:hop_cycles=1`, or a system as `cs3`,
    which means its wafer. `profile` is `sdk` (the figures of the vendor's simulator) or `silicon`
    (measurements on real machines). Raise `ConfigurationError` otherwise.

    >>> load_architecture("wse3").timing.hop_cycles
    2
    >>> load_architecture("wse3:hop_cycles=1").timing.hop_cycles
    1
    """
    machine, changes = split_variant(name)
    if machine not in architecture_names() and (wafer := wafer_of(machine)) != machine:
        return load_architecture(wafer + name.removeprefix(machine), profile=profile)
    if changes:
        return varied(load_architecture(machine, profile=profile), changes)
    document = _read_document(name)
    profiles = table(document, "timing", name)
    if profile not in profiles:
        raise ConfigurationError(
            f"machine '{name}' has no timing profile '{profile}'; it has: "
            f"{', '.join(sorted(profiles))}"
        )
    facts = {e.path.rsplit(".", 1)[1]: e.value for e in entries_of(document, "facts", name)}
    timing = {e.path.split(".", 2)[2]: e.value for e in _timing_entries(document, profile, name)}
    facts["data_task_key"] = DataTaskKey(str(facts["data_task_key"]))
    known: dict[str, object] = {
        **facts,
        "name": name,
        "title": document["title"],
        "profile": profile,
    }
    checked = fitted(known, Architecture, name, apart=frozenset({"timing"}))
    return Architecture(**checked, timing=_timing(timing, name))  # pyright: ignore[reportArgumentType]  # from TOML


def catalog_entries(name: str, *, profile: str) -> tuple[CatalogEntry, ...]:
    """Return every sourced number behind `load_architecture(name, profile=profile)`."""
    document = _read_document(name)
    return (*entries_of(document, "facts", name), *_timing_entries(document, profile, name))


def _read_document(name: str) -> Mapping[str, object]:
    return read_document(_CATALOG, name, "machine")


def _timing_entries(document: Mapping[str, object], profile: str, name: str) -> list[CatalogEntry]:
    """Return the entries of a profile, which override those of the profile that it extends."""
    profiles = table(table(document, "timing", name), profile, name)
    base = profiles.get(EXTENDS)
    inherited = _timing_entries(document, str(base), name) if base else []
    own = entries_of(document, f"timing.{profile}", name)
    merged = {entry.path.split(".", 2)[2]: entry for entry in (*inherited, *own)}
    return list(merged.values())


def _timing(values: dict[str, object], name: str) -> Timing:
    tables: dict[str, dict[str, object]] = {key: {} for key in _TABLE_FIELDS}
    known: dict[str, object] = {}
    for path, value in values.items():
        where, _, key = path.rpartition(".")
        exact = Fraction(value) if isinstance(value, str) else value
        if where:
            tables[where][key] = exact
        else:
            known[key] = exact
    known.update((key, MappingProxyType(entries)) for key, entries in tables.items())
    return Timing(**fitted(known, Timing, name))  # pyright: ignore[reportArgumentType]  # from TOML
