"""How often Python looks for unreachable cycles of objects."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_ALLOCATIONS_BETWEEN_COLLECTIONS = 200_000


def keep_what_is_there() -> None:
    """Leave all objects that are there by now out of later collections: they stay to the end.

    Looking at a model's modules again and again takes some hundredths of a server's time.
    """
    gc.freeze()


@contextmanager
def rare_collection() -> Generator[None]:
    """Collect garbage rarely in a block that makes many objects and keeps most of them.

    Looking at all of them again and again takes a third of the time of a compilation. If collection
    is disabled, it stays so.
    """
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
