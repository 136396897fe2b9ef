"""The header of a safetensors file, checked against its length without loading any weight.

    u64 length of the header, the header as JSON, the bytes of the tensors one after the other
    header: {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}

The layout is that of huggingface/safetensors (README, "Format"). The package checks the same, but
only after PyTorch is imported.
"""

from __future__ import annotations

import json
import math
import struct
from typing import IO, TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LENGTH_BYTES: Final = 8
_MOST_HEADER_BYTES: Final = 100_000_000
"""The package's own limit."""
_POINTER: Final = b"version https://git-lfs"
"""The start of a Git LFS pointer, which stands for a large file."""
_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}
"""Bits of an element; other dtypes are checked by the package."""


def check_header(path: Path) -> None:
    """Check that the tensors in the header fill the file exactly.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged; the message says how.
    """
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        header, header_bytes = _read(file, num_bytes)
    end = 0
    for start, stop in sorted(_spans(header)):
        if start != end:
            raise ValueError(f"no tensor begins at byte {end:,} of the data, where one should")
        end = stop
    there = num_bytes - _LENGTH_BYTES - header_bytes
    if end != there:
        raise ValueError(f"its tensors have {end:,} bytes, and the file has {there:,} of them")


def _read(file: IO[bytes], num_bytes: int) -> tuple[dict[str, Any], int]:
    """Return the header and its length."""
    first = file.read(max(_LENGTH_BYTES, len(_POINTER)))
    if first == _POINTER:
        raise ValueError("it is a pointer of Git LFS: get the file itself with git lfs pull")
    if len(first) < _LENGTH_BYTES:
        raise ValueError(f"it has {num_bytes:,} bytes, and no header")
    (length,) = struct.unpack_from("<Q", first)
    if length > min(num_bytes - _LENGTH_BYTES, _MOST_HEADER_BYTES):
        raise ValueError(f"its header should have {length:,} bytes, and the file has {num_bytes:,}")
    file.seek(_LENGTH_BYTES)
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError("its header is no object of JSON")  # noqa: TRY004  # the file is wrong
    return cast("dict[str, Any]", header), length


def _spans(header: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each tensor's bytes."""
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        span = _span(tensor)
        if span is None:
            raise ValueError(f"its header is wrong about the tensor {name[:80]!r}")
        yield span


def _span(tensor: dict[str, Any]) -> tuple[int, int] | None:
    """Return the start and end of a tensor's bytes; None: they do not match its shape."""
    try:
        start, stop = tensor["data_offsets"]
        num_bits = _BITS.get(tensor["dtype"], 0) * math.prod(tensor["shape"])
        fits = 0 <= start <= stop and num_bits in (0, 8 * (stop - start))
    except (KeyError, TypeError, ValueError):
        return None
    return (start, stop) if fits else None
