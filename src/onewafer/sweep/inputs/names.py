"""Names in a study: an unknown one is refused, with the nearest that are known."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, cast

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def unknown(what: str, name: str, names: Iterable[str]) -> ConfigurationError:
    """Return the error about a name that is not in `names`."""
    known = [*names]
    nearest = get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
    return ConfigurationError(f"there is no {what} {name!r}{hint}. They are {', '.join(known)}")


def check_keys(where: str, table: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise ConfigurationError for a key that a table of a study does not have."""
    known = [*names]
    for key in table:
        if key not in known:
            raise unknown(f"key in {where}:", key, known)


def as_table(where: str, value: object) -> Mapping[str, object]:
    """Return a table of a study; raise ConfigurationError for anything else."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} = {value!r}: that is a table; write [{where}]")
    return cast("dict[str, object]", value)


def as_list(where: str, value: object) -> list[object]:
    """Return a list of a study; raise ConfigurationError for anything else."""
    if not isinstance(value, list):
        raise ConfigurationError(f"{where} = {value!r}: write a list, as in [1, 2, 4]")
    return cast("list[object]", value)
