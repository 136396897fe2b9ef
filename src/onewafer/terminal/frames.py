"""pandas frames: pandas is imported only when one is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onewafer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def make_frame(rows: Sequence[Mapping[str, object]], *, index: str | None = None) -> Any:  # noqa: ANN401  # pandas is not a requirement
    """Return a `pandas.DataFrame`; `index` is the column that names the rows.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ConfigurationError("frames need pandas, which is not installed: pip install pandas")
    pandas: Any = import_module("pandas")  # optional, and without types here
    frame = pandas.DataFrame([*rows])
    return frame if index is None else frame.set_index(index)
