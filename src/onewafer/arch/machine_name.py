"""Names of machines: one of the catalog, or a variant of it."""

from __future__ import annotations

SEPARATOR = ":"
"""Separates the machine from its changes in a name."""


def split_variant(name: str) -> tuple[str, str]:
    """Return the machine of the catalog, and the changes as text.

    >>> split_variant("wse3:hop_cycles=1"), split_variant("wse2")
    (('wse3', 'hop_cycles=1'), ('wse2', ''))
    """
    machine, _, changes = name.partition(SEPARATOR)
    return machine, changes
