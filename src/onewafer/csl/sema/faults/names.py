"""Suggestions for misspelt names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def suggest(name: str, candidates: Iterable[str], prefix: str = "") -> str:
    """Return help that names the nearest candidates, or nothing."""
    matches = get_close_matches(name, sorted(candidates), n=3, cutoff=0.6)
    if not matches:
        return ""
    return f"did you mean {' or '.join(f'`{prefix}{match}`' for match in matches)}?"


def list_params(declared: Sequence[str]) -> str:
    """Return help that names the params of a file."""
    if not declared:
        return "the file declares no params"
    return f"its params are {', '.join(f'`{name}`' for name in declared)}"
