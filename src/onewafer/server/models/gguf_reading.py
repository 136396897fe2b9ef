# pyright: basic
# The package `gguf` has partial type hints, and is not there with every installation.
"""A cache of readers of GGUF files.

transformers opens a file again for its configuration, its words and its weights, and the reader of
package `gguf` makes an array of each word, which takes seconds each time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def reading_once() -> Generator[None]:
    """Let everything in the block that opens a GGUF file share one reader."""
    try:
        import gguf  # noqa: PLC0415  # optional: only for models in such files
    except ImportError:  # transformers reports it if it is needed
        yield
        return
    usual = gguf.GGUFReader
    readers: dict[str, Any] = {}

    class Reader(usual):
        """A reader with plain arrays: those of a memory-mapped file are slow to slice."""

        @property
        def data(self) -> np.ndarray:
            """The bytes of the file."""
            return self._bytes

        @data.setter
        def data(self, mapped: np.ndarray) -> None:
            self._bytes = np.asarray(mapped)

    def open_once(path: Any, *options: Any) -> Any:  # noqa: ANN401  # as the class has it
        name = str(path)
        if name not in readers:
            readers[name] = Reader(path, *options)
        return readers[name]

    gguf.GGUFReader = open_once
    try:
        yield
    finally:
        gguf.GGUFReader = usual
