"""Fingerprints: equal for servers that give the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onewafer import __version__
from onewafer.files.digests import digest

if TYPE_CHECKING:
    from onewafer.server.models.sources import ModelSource

_DIGITS: Final = 12


def fingerprint(*parts: str) -> str:
    """Return a short hash of the parts and the version of onewafer.

    >>> fingerprint("smollm2", "host") == fingerprint("smollm2", "none")
    False
    """
    return f"ow_{digest(chr(0).join((__version__, *parts)))[:_DIGITS]}"


def fingerprint_of_files(source: ModelSource) -> str:
    """Return a short hash of the names and sizes of a model's weight files."""
    files = (f"{file.name} {file.stat().st_size}" for file in source.weight_files)
    return fingerprint(source.id, *files)
