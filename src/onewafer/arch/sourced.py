"""Sourced numbers, read from TOML.

    entry := key = { value = …, unit = "…", source = "…", confidence = "…", note = "…" }

A file whose entry leaves one of the first four out is refused. Files of the user's folder
(`ONEWAFER_CATALOG`) are read, too, from the subfolder with the package's name.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from onewafer.errors import ConfigurationError
from onewafer.settings import catalog_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from _typeshed import DataclassInstance

_Facts = TypeVar("_Facts", bound="DataclassInstance")
EXTENDS = "extends"
"""The key that names a table whose entries this one inherits."""


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
    """Return the names of the TOML files of a package, and of the user's, sorted."""
    return tuple(sorted(_files_in(folder)))


@lru_cache
def read_document(folder: str, name: str, what: str) -> Mapping[str, object]:
    """Return a file of a package or of the user; raise ConfigurationError if there is none.

    `what` names the kind of file in the message: `machine`, `system`.
    """
    files = _files_in(folder)
    if name not in files:
        raise ConfigurationError(
            f"there is no {what} '{name}'; the catalog has: {', '.join(sorted(files))}"
        )
    try:
        return MappingProxyType(tomllib.loads(files[name].read_text(encoding="utf-8")))
    except ValueError as error:  # of TOML, or of UTF-8
        raise ConfigurationError(f"{files[name]}: {error}") from None


def _files_in(folder: str) -> dict[str, Traversable]:
    """Return the TOML files of a package, and of the user's folder, by name."""
    files = _toml_files(resources.files(folder))
    catalog = catalog_folder()
    own = None if catalog is None else catalog / folder.rpartition(".")[2]
    if own is None or not own.is_dir():
        return files
    added = _toml_files(own)
    for name in files.keys() & added.keys():
        raise ConfigurationError(f"{added[name]}: onewafer has a {name!r}; choose another name")
    return files | added


def user_catalog() -> str:
    """Return the text of all files of the user's folder; empty if there is none."""
    folder = catalog_folder()
    files = [] if folder is None else sorted(folder.glob("*/*.toml"))
    return "".join(path.read_text(encoding="utf-8") for path in files)


def _toml_files(folder: Traversable) -> dict[str, Traversable]:
    ending = ".toml"
    found = (entry for entry in folder.iterdir() if entry.name.endswith(ending))
    return {entry.name.removesuffix(ending): entry for entry in found}


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
    """Return `known` if its keys are the fields of a dataclass, without those `apart`.

    Raises ConfigurationError that names missing or unknown fields.
    """
    wanted = {field.name for field in fields(target)} - apart
    if difference := sorted(wanted ^ set(known)):
        raise ConfigurationError(
            f"{name}.toml: missing or unknown in {target.__name__}: {', '.join(difference)}"
        )
    return dict(known)


def facts_in(folder: str, name: str, what: str) -> list[CatalogEntry]:
    """Return every sourced number of the table `facts` of a file."""
    return entries_of(read_document(folder, name, what), "facts", name)


def load_facts(target: type[_Facts], folder: str, name: str, what: str) -> _Facts:
    """Return a dataclass of the facts of a file, and of its name and title where it has these."""
    known = {entry.path.split(".", 1)[1]: entry.value for entry in facts_in(folder, name, what)}
    given = {**read_document(folder, name, what), "name": name}
    shown = {field.name for field in fields(target)} & given.keys() & {"name", "title"}
    return target(**fitted({**known, **{key: given[key] for key in shown}}, target, name))


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
