"""How often Python looks for unreachable cycles of objects."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

_WHILE_MAKING = 200_000
_WHILE_SERVING = 50_000
"""Objects that requests leave behind in cycles until a collection: some megabytes at most."""


def keep_what_is_there() -> None:
    """Leave all objects that are there by now out of later collections: they stay to the end.

    Looking at a model's modules again and again takes some hundredths of a server's time.
    """
    gc.freeze()


def collection_while_serving() -> AbstractContextManager[None]:
    """Collect garbage less often in a block that answers requests.

    Looking at the open ones after every 700 objects takes a tenth of the time of short answers.
    """
    return _collection_after(_WHILE_SERVING)


def rare_collection() -> AbstractContextManager[None]:
    """Collect garbage rarely in a block that makes many objects and keeps most of them.

    Looking at all of them again and again takes a third of the time of a compilation.
    """
    return _collection_after(_WHILE_MAKING)


@contextmanager
def _collection_after(num_objects: int) -> Generator[None]:
    """Collect garbage when so many objects are new; if collection is disabled, it stays so."""
    thresholds = gc.get_threshold()
    if thresholds[0]:
        gc.set_threshold(num_objects, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
