"""Decoding of the 48-bit time stamps of `<time>` from 16-bit words."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STAMP_WORDS = 3
"""16-bit words of a time stamp, the low one first."""
_PACKED_WORDS = 3
"""32-bit words that hold two timestamps: start, then end."""


def make_u48(words: Sequence[int] | NDArray[Any]) -> int:
    """Join three 16-bit words, the low one first, to a number.

    >>> make_u48([1, 2, 0])
    131073

    Raises:
        HostError: there are not three words.
    """
    if len(words) != _STAMP_WORDS:
        raise HostError(f"a time stamp has {_STAMP_WORDS} words of 16 bits, not {len(words)}")
    return sum((int(word) & 0xFFFF) << 16 * place for place, word in enumerate(words))


def sub_ts(words: Sequence[int] | NDArray[Any]) -> int:
    """Return the cycles between two time stamps: six 16-bit words, the start first.

    >>> sub_ts([10, 0, 0, 25, 0, 0])
    15

    Raises:
        HostError: there are not six words.
    """
    if len(words) != 2 * _STAMP_WORDS:
        raise HostError(f"two time stamps have {2 * _STAMP_WORDS} words, not {len(words)}")
    return make_u48(words[_STAMP_WORDS:]) - make_u48(words[:_STAMP_WORDS])


def float_to_hex(number: float) -> str:
    """Return the bits of a number as f32, in hexadecimal.

    >>> float_to_hex(1.0)
    '0x3f800000'
    """
    return hex(struct.unpack("<I", struct.pack("<f", number))[0])


def calculate_cycles(timestamp_buf: NDArray[Any]) -> np.int64:
    """Return the cycles between two time stamps that a program packed into three 32-bit words.

    The six 16-bit words are in order, low halves first; the array may have any 32-bit type, since
    programs pass it as f32.

    >>> int(calculate_cycles(np.array([10, 25 << 16, 0], np.uint32)))
    15

    Raises:
        HostError: there are not three words of 32 bits.
    """
    words = np.ascontiguousarray(timestamp_buf).reshape(-1)
    if words.size != _PACKED_WORDS or words.dtype.itemsize != 4:  # noqa: PLR2004 - bytes of a word
        raise HostError(
            f"two time stamps are {_PACKED_WORDS} words of 32 bits, not {words.size} of "
            f"{words.dtype}: pass those of one PE"
        )
    return np.int64(sub_ts(words.view("<u2")))
