"""The beginning of a GGUF file: how many weights it holds, read without loading any.

    magic "GGUF", u32 version, u64 tensors, u64 fields
    field:  text key, u32 type, value        text: u64 length, UTF-8
    tensor: text name, u32 dimensions, u64 each, u32 type, u64 offset

The layout is that of version 2 and 3 (ggml-org/ggml, docs/gguf.md). Package `gguf` reads the same,
and every weight and word besides, which takes seconds.
"""

from __future__ import annotations

import math
import struct
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_TEXT, _ARRAY = 8, 9
_BYTES_OF_TYPE: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_MOST_DIMENSIONS: Final = 8


def count_weights(path: Path) -> int:
    """Return the number of elements of all tensors.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no GGUF file, or it is cut off.
    """
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, num_tensors, num_fields = _unpack(file, "<IQQ")
        if version not in _VERSIONS:
            raise ValueError(f"it has version {version} of GGUF")
        for _ in range(num_fields):
            _skip(file, _unpack(file, "<Q")[0])
            _skip_value(file, _unpack(file, "<I")[0])
        return sum(_elements_of_tensor(file) for _ in range(num_tensors))


def _elements_of_tensor(file: IO[bytes]) -> int:
    _skip(file, _unpack(file, "<Q")[0])
    (num_dimensions,) = _unpack(file, "<I")
    if num_dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor has {num_dimensions} dimensions")
    shape = _unpack(file, f"<{num_dimensions}Q")
    _skip(file, 4 + 8)
    return math.prod(shape)


def _skip_value(file: IO[bytes], kind: int) -> None:
    if kind == _TEXT:
        _skip(file, _unpack(file, "<Q")[0])
    elif kind == _ARRAY:
        inner, length = _unpack(file, "<IQ")
        if inner in _BYTES_OF_TYPE:
            _skip(file, length * _BYTES_OF_TYPE[inner])
            return
        for _ in range(length):
            _skip_value(file, inner)
    elif kind in _BYTES_OF_TYPE:
        _skip(file, _BYTES_OF_TYPE[kind])
    else:
        raise ValueError(f"a field has the unknown type {kind}")


def _unpack(file: IO[bytes], form: str) -> tuple[int, ...]:
    """Return the next numbers."""
    size = struct.calcsize(form)
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it ends in the middle")
    return struct.unpack(form, content)


def _skip(file: IO[bytes], num_bytes: int) -> None:
    # Not `seek`: that would throw the buffer away, and texts are short.
    if len(file.read(num_bytes)) < num_bytes:
        raise ValueError("it ends in the middle")
