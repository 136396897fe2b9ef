"""How messages name an argument: as in a Python call, or as an option of a command line."""

from __future__ import annotations

from collections.abc import Callable

Naming = Callable[[str], str]
"""Name of an argument → how its user writes it."""


def as_argument(name: str) -> str:
    """Return the name as in Python.

    >>> as_argument("max_cycles")
    'max_cycles'
    """
    return name


def as_option(name: str) -> str:
    """Return the name as on a command line.

    >>> as_option("max_cycles")
    '--max-cycles'
    """
    return f"--{name.replace('_', '-')}"
