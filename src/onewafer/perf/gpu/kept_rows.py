"""A cache of rows of measured tables, read in a millisecond and without PyArrow.

In: the bytes of a table, columns and filters. Out: the columns of the matching rows, from an
earlier read of the same table. A damaged file is ignored, and so is a failure to write one.
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
"""Version of the files: raise it when the rows of a query or the file format change."""
_DIGEST_BYTES = 32
"""Length of the SHA-256 that a file begins with, which is that of the rest."""


class KeptRows:
    """The file that caches one query of one table."""

    def __init__(
        self, table: bytes, columns: Sequence[str], filters: Sequence[tuple[str, object]]
    ) -> None:
        question = json.dumps([_FORMAT, list(columns), [list(pair) for pair in filters]])
        digest = hashlib.sha256(table)
        digest.update(question.encode())
        self._columns = tuple(columns)
        self._name = digest.hexdigest()[:32]

    def read(self) -> Columns | None:
        """Return the columns of the cached rows, empty if no row matched; None: not cached."""
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
        """Cache the columns of the rows, if the cache folder can be written."""
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
