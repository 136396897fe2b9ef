"""Digests of texts and of our own sources: the keys of cached files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def digest_of_sources(*patterns: str) -> str:
    """Return the SHA-256 of onewafer's source files that match the patterns, sorted by path."""
    root = Path(__file__).parent.parent
    found = {pattern: [*root.glob(pattern)] for pattern in patterns}
    assert all(found.values()), f"a pattern of {found} names no file"
    files = sorted(path for paths in found.values() for path in paths)
    return digest("".join(path.read_text(encoding="utf-8") for path in files))
