"""Packages that studies need beside the core; an error names those that are missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from onewafer.errors import ConfigurationError

_WHY = {
    "pyarrow": "a sweep keeps its results as Parquet, which needs PyArrow",
    "ray": "--ray needs Ray",
    "matplotlib": "--plot needs Matplotlib",
}


def require(module: str) -> None:
    """Raise ConfigurationError where a package is not installed."""
    if find_spec(module) is None:
        raise ConfigurationError(
            f"{_WHY[module]}; it is not installed: pip install 'onewafer[sweep]'"
        )


def arrow() -> Any:  # noqa: ANN401  # PyArrow has no types
    """Return PyArrow; raise ConfigurationError where it is not installed."""
    require("pyarrow")
    return import_module("pyarrow")


def parquet() -> Any:  # noqa: ANN401  # likewise
    """Return PyArrow's reader and writer of Parquet; likewise."""
    require("pyarrow")
    return import_module("pyarrow.parquet")


def ray() -> Any:  # noqa: ANN401  # likewise
    """Return Ray; raise ConfigurationError where it is not installed."""
    require("ray")
    return import_module("ray")
