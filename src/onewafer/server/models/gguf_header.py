"""The header of a GGUF file: contents and completeness, without loading a weight.

    magic "GGUF", u32 version, u64 tensors, u64 fields
    field:  text key, u32 type, value        text: u64 length, UTF-8
    tensor: text name, u32 dimensions, u64 each, u32 type, u64 offset
    the data of tensors, each at its offset from here, which is aligned

The layout is that of versions 2 and 3 (ggml-org/ggml, docs/gguf.md). Package `gguf` also reads all
weights and words, which takes seconds.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_TEXT, _ARRAY = 8, 9
_BYTES_OF_TYPE: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_U32, _U64 = 4, 10
_NUMBERS: Final = {_U32: "<I", _U64: "<Q"}
_MOST_DIMENSIONS: Final = 8
_CONTEXT: Final = b".context_length"
"""The end of the key of the context length; it starts with the architecture's name."""
_ALIGNMENT: Final = b"general.alignment"
_USUAL_ALIGNMENT: Final = 32
BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
    40: (64, 36), 41: (128, 18),
}  # fmt: skip
"""Type of a tensor → elements and bytes of a block (package `gguf`, GGML_QUANT_SIZES)."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """The facts in a file's header."""

    num_weights: int
    """The number of elements of all tensors."""
    context_length: int | None
    """The model's context in tokens; None: not stated."""


def read_header(path: Path) -> GgufHeader:
    """Read the header of a file, and check that the file is complete.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no GGUF file, or it is truncated.
    """
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, num_tensors, num_fields = _unpack(file, "<IQQ")
        if version not in _VERSIONS:
            raise ValueError(f"it has version {version} of GGUF")
        context_length, alignment = None, _USUAL_ALIGNMENT
        for _ in range(num_fields):
            key, kind = _read(file, _unpack(file, "<Q")[0]), _unpack(file, "<I")[0]
            if key.endswith(_CONTEXT) and kind in _NUMBERS:
                (context_length,) = _unpack(file, _NUMBERS[kind])
            elif key == _ALIGNMENT and kind == _U32:
                alignment = max(1, _unpack(file, "<I")[0])
            else:
                _skip_value(file, kind)
        tensors = [_read_tensor(file) for _ in range(num_tensors)]
        data = -(-file.tell() // alignment) * alignment
        needed = data + max((end for _, end in tensors), default=0)
        there = path.stat().st_size
        if there < needed:
            raise ValueError(f"it is cut off: it should have {needed:,} bytes, and has {there:,}")
    return GgufHeader(sum(elements for elements, _ in tensors), context_length)


def _read_tensor(file: IO[bytes]) -> tuple[int, int]:
    """Return the elements of the next tensor, and the offset of its end in the data.

    A tensor of an unknown type counts as empty: packages may know more types.
    """
    _read(file, _unpack(file, "<Q")[0])
    (num_dimensions,) = _unpack(file, "<I")
    if num_dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor has {num_dimensions} dimensions")
    shape = _unpack(file, f"<{num_dimensions}Q")
    kind, offset = _unpack(file, "<IQ")
    elements, (in_block, block_bytes) = math.prod(shape), BLOCKS.get(kind, (1, 0))
    return elements, offset + elements // in_block * block_bytes


def _skip_value(file: IO[bytes], kind: int) -> None:
    if kind == _TEXT:
        _read(file, _unpack(file, "<Q")[0])
    elif kind == _ARRAY:
        inner, length = _unpack(file, "<IQ")
        if inner in _BYTES_OF_TYPE:
            _read(file, length * _BYTES_OF_TYPE[inner])
            return
        for _ in range(length):
            _skip_value(file, inner)
    elif kind in _BYTES_OF_TYPE:
        _read(file, _BYTES_OF_TYPE[kind])
    else:
        raise ValueError(f"a field has the unknown type {kind}")


def _unpack(file: IO[bytes], form: str) -> tuple[int, ...]:
    """Read the next numbers."""
    return struct.unpack(form, _read(file, struct.calcsize(form)))


def _read(file: IO[bytes], num_bytes: int) -> bytes:
    # Skipped texts are read, too: they are short, and `seek` would drop the buffer.
    content = file.read(num_bytes)
    if len(content) < num_bytes:
        raise ValueError("it ends in the middle")
    return content
