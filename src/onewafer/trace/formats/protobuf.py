"""The part of the protocol buffers encoding that a trace needs: fields in, bytes out.

Source: protobuf.dev, "Encoding". There are no signed numbers.
"""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_LOW_BITS, _GOES_ON = 0x7F, 0x80
_DOUBLE = struct.Struct("<d")


def varint(number: int) -> bytes:
    r"""Return a number of at least 0 in base 128, low digits first.

    >>> varint(300)
    b'\xac\x02'
    """
    digits = bytearray()
    while number > _LOW_BITS:
        digits.append(number & _LOW_BITS | _GOES_ON)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def number_field(field: int, number: int) -> bytes:
    """Return an integer, boolean or enum field."""
    return varint(field << 3 | _VARINT) + varint(number)


def double_field(field: int, number: float) -> bytes:
    """Return a field of type `double`."""
    return varint(field << 3 | _FIXED64) + _DOUBLE.pack(number)


def bytes_field(field: int, payload: bytes) -> bytes:
    """Return a message, or bytes."""
    return varint(field << 3 | _LENGTH) + varint(len(payload)) + payload


def text_field(field: int, text: str) -> bytes:
    """Return a string field."""
    return bytes_field(field, text.encode())
