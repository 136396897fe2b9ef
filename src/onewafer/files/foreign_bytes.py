"""Untrusted files: the size that they claim is checked before memory is allocated."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onewafer.settings import available_memory
from onewafer.units import format_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAMAGES: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(SyntaxError, tokenize.TokenError),  # of the header of an array, which is a Python literal
    *(OverflowError, RecursionError, MemoryError, EOFError, struct.error),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),
)
"""Errors that readers of the standard library and NumPy raise for damaged or crafted bytes."""


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the whole content of an archive's member, which verifies its checksum, too.

    Raises:
        ValueError: it is larger than the memory of this computer.
    """
    info, limit = archive.getinfo(name), available_memory()
    if limit is not None and info.file_size > limit:
        raise ValueError(f"{name} has {format_size(info.file_size)}, more than fits this computer")
    return archive.read(info)


def parse_array(payload: bytes) -> NDArray[Any]:
    """Return the array of a `.npy` file.

    Raises:
        ValueError: it is no `.npy` file, holds Python objects, or has another size than its header.
    """
    file = io.BytesIO(payload)
    version = np.lib.format.read_magic(file)
    read_header = _HEADERS.get(version)
    if read_header is None:
        raise ValueError(f"an array in format {version}")
    shape, _, dtype = read_header(file)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"an array of {dtype} of shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(payload) - file.tell():
        raise ValueError(f"an array of shape {shape} in {len(payload):,} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def inflate(payload: bytes, *, most_bytes: int) -> bytes:
    """Decompress one stream of zlib.

    Raises:
        ValueError: it has more than `most_bytes` when decompressed, or bytes follow it.
        zlib.error: they are damaged.
    """
    stream = zlib.decompressobj()
    content = stream.decompress(payload, most_bytes)
    if stream.unconsumed_tail or stream.unused_data or not stream.eof:
        raise ValueError(f"{len(payload):,} deflated bytes are not one stream of {most_bytes:,}")
    return content
