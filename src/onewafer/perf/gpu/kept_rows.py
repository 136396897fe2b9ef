"""Rows of measured tables as files of ours: read in a millisecond, and without PyArrow.

In: the bytes of a table, and what is asked of it. Out: the columns of the rows that fit, as they
were read before from a table of the same bytes. A file that is damaged counts as none; one that
cannot be written is not missed.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer.files.whole_files import whole_file
from onewafer.settings import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

_FORMAT = 2
"""Changes with the answers to a question, or with the form in which they are kept."""
_DIGEST_BYTES = 32
"""At the beginning of a file, of the rest of it."""


class KeptRows:
    """Answers to earlier questions to a table."""

    def __init__(
        self, table: bytes, columns: Sequence[str], filters: Sequence[tuple[str, object]]
    ) -> None:
        question = json.dumps([_FORMAT, list(columns), [list(pair) for pair in filters]])
        digest = hashlib.sha256(table)
        digest.update(question.encode())
        self._columns = tuple(columns)
        self._name = digest.hexdigest()[:32]

    def read(self) -> Columns | None:
        """Return the columns of the rows, empty ones if none fits; None: nothing is kept."""
        try:
            content = self._path().read_bytes()
        except OSError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != hashlib.sha256(body).digest():
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as kept:
            return {name: kept[name] for name in self._columns}

    def write(self, rows: Columns) -> None:
        """Keep the columns of the rows for later, where that is possible."""
        if any(values.dtype.hasobject for values in rows.values()):
            return
        body = io.BytesIO()
        np.savez(body, **cast("dict[str, Any]", rows))
        try:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(hashlib.sha256(body.getvalue()).digest() + body.getvalue())
        except OSError:
            pass  # a cache that cannot be written costs time, nothing else

    def _path(self) -> Path:
        return cache_folder() / "gpu-tables" / self._name
