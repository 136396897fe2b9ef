"""How often Python looks for unreachable cycles of objects."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_ALLOCATIONS_BETWEEN_COLLECTIONS = 200_000


@contextmanager
def rare_collection() -> Generator[None]:
    """Look for cycles seldom in a block that makes many objects and keeps most of them.

    Looking at all of them again and again takes a third of the time of a compilation. Where nobody
    looks for cycles at all, nobody does in the block. What somebody froze before stays frozen.
    """
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS, *thresholds[1:])
    is_frozen = gc.get_freeze_count() > 0
    if not is_frozen:
        gc.freeze()
    try:
        yield
    finally:
        if not is_frozen:
            gc.unfreeze()
        gc.set_threshold(*thresholds)
