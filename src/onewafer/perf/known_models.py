"""Models known by name: the classes and configurations that their authors published.

In: `catalog/*.toml`, one file a family. Out: entries, from which `pytorch.describe_model` builds
the model without its weights. Unknown here: torch; what a model computes.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = "onewafer.perf.catalog"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model as its authors describe it."""

    name: str
    """The name that users write: `llama-3.1-8b`."""
    title: str
    """The authors' name for it."""
    architecture: str
    """A class of transformers, without its package: `LlamaForCausalLM`."""
    num_weights: int
    """Elements of all weights."""
    published_weights: str
    """The number that the authors print, rounded: `70.6B`."""
    max_context: int | None = None
    """Longest sequence in tokens; None: the model does not work on sequences."""
    source: str
    """Where to read the configuration."""
    note: str = ""
    without: tuple[str, ...] = ()
    """Fields of the class' configuration that are set to nothing."""
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    """Fields of the class' configuration that differ from its defaults or that matter here."""


@lru_cache
def known_models() -> Mapping[str, KnownModel]:
    """Return all models by name, in the order of the files.

    Raises ConfigurationError for an entry that does not describe a model.
    """
    entries: dict[str, KnownModel] = {}
    files = sorted(resources.files(_FOLDER).iterdir(), key=lambda file: file.name)
    for file in files:
        if not file.name.endswith(".toml"):
            continue
        for fields in tomllib.loads(file.read_text(encoding="utf-8"))["model"]:
            entry = _entry(file.name, fields)
            if entry.name in entries:
                raise ConfigurationError(f"catalog/{file.name}: {entry.name} is there twice")
            entries[entry.name] = entry
    return entries


def find_model(name: str) -> KnownModel:
    """Return the model of that name, whatever its case.

    Raises ConfigurationError with the nearest names if there is none.
    """
    known = known_models()
    entry = known.get(name.lower())
    if entry is not None:
        return entry
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}"
    raise ConfigurationError(f"there is no model {name!r} in the catalogue; {hint}")


def _entry(file: str, fields: dict[str, object]) -> KnownModel:
    try:
        return KnownModel(**{**fields, "without": tuple(fields.get("without", ()))})  # pyright: ignore[reportArgumentType]  # from TOML
    except TypeError as error:
        name = fields.get("name", "a model")
        raise ConfigurationError(f"catalog/{file}: {name}: {error}") from None
