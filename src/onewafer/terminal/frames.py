"""Data frames of pandas, which is imported only when one is made."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from _typeshed import DataclassInstance

_NUMBERS_AND_TEXTS = frozenset(("bool", "float", "int", "str"))


def make_frame(
    rows: Iterable[Mapping[str, object]],
    *,
    columns: Sequence[str] | None = None,
    index: str | None = None,
) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame`; `index` is the column that names the rows.

    Each column of seconds, except `total_seconds`, is followed by one of microseconds, since pandas
    prints only six decimal places.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ConfigurationError("frames need pandas, which is not installed: pip install pandas")
    pandas: Any = import_module("pandas")  # optional, and without types here
    frame = pandas.DataFrame([*rows], columns=columns)
    for name in [one for one in frame.columns if "seconds" in one and one != "total_seconds"]:
        microseconds = 1e6 * frame[name].astype(float)
        twin = name.replace("seconds", "microseconds")
        frame.insert(frame.columns.get_loc(name) + 1, twin, microseconds)
    return frame if index is None else frame.set_index(index)


def frame_of_entries(
    kind: type[DataclassInstance], entries: Iterable[DataclassInstance], *, as_text: Iterable[str]
) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame` with a row for each entry, a dataclass.

    Its columns are the fields annotated as numbers, texts, or a type in `as_text`, which is
    converted to text. Other fields are left out.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    texts = frozenset(as_text)
    fitting = _NUMBERS_AND_TEXTS | texts | {"None"}
    columns = [f.name for f in fields(kind) if fitting.issuperset(_types(f.type))]
    rows = [{name: _cell(getattr(entry, name)) for name in columns} for entry in entries]
    return make_frame(rows, columns=columns)


def _types(annotation: object) -> list[str]:
    """Return the names of types in an annotation, which is a string (PEP 563)."""
    return re.findall(r"\w+", str(annotation))


def _cell(value: object) -> object:
    return value if value is None or isinstance(value, bool | float | int | str) else str(value)
