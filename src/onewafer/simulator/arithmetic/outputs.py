"""What a fabric destination does beside sending its elements: one number that engines share.

Bit 0: it sends control wavelets. Bit 1: it has an index (M46), which is in bits 16–31. Bits 2–3:
the source that it clears, plus 1 (M47).
"""

from __future__ import annotations

IS_CONTROL, HAS_INDEX = 1, 2
CLEARS_SHIFT, CLEARS_BITS = 2, 3
INDEX_BITS = 0xFFFF_0000
DATA_BITS = 0xFFFF
"""Of a wavelet that has an index."""


def output_flags(*, is_control: bool, has_index: bool, clears: int, base: int) -> int:
    """Return the number of a destination: `base` is the low half of its DSD value's word 0."""
    index = (base & DATA_BITS) << 16 | HAS_INDEX if has_index else 0
    return int(is_control) | index | clears + 1 << CLEARS_SHIFT
