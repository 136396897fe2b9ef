"""The frequency of Python's garbage collection."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

_WHILE_MAKING = 200_000
_WHILE_SERVING = 50_000
"""New objects before a collection; those that requests leave in cycles take some megabytes."""


def keep_what_is_there() -> None:
    """Exclude all objects that exist now from later collections: they live to the end.

    Traversing a model's modules at each collection takes some hundredths of a server's time.
    """
    gc.freeze()


def collection_while_serving() -> AbstractContextManager[None]:
    """Collect garbage less often in a block that answers requests.

    Traversing the open requests after every 700 objects takes a tenth of the time of short answers.
    """
    return _collection_after(_WHILE_SERVING)


def rare_collection() -> AbstractContextManager[None]:
    """Collect garbage rarely in a block that makes many objects and keeps most of them.

    Traversing them at each collection takes a third of the time of a compilation.
    """
    return _collection_after(_WHILE_MAKING)


@contextmanager
def _collection_after(num_objects: int) -> Generator[None]:
    """Collect garbage after `num_objects` new objects; a disabled collection stays disabled."""
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(num_objects, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
