"""Flags of fabric operands, in an encoding shared by all engines.

Destinations. Bit 0: sends control wavelets. Bit 1: has an index (M46), which is in bits
16–31. Bits 2–3: the source that it clears, plus 1 (M47). Bit 4: it makes control wavelets of marked
words (M48). Bit 5: its last wavelet advances the sender's switch (M49). Bit 6: two elements of
16 bits share a wavelet (M150).

Sources. Bit 0: marks the words of control wavelets (M48). Bit 1: drops data wavelets (M99).
With either bit, it takes control wavelets. Bit 6 is as that of a destination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.image import DsdDescriptor

IS_CONTROL, HAS_INDEX = 1, 2
CLEARS_SHIFT, CLEARS_BITS = 2, 3
UNMARKS, ADVANCES = 1 << 4, 1 << 5
INDEX_BITS = 0xFFFF_0000
DATA_BITS = 0xFFFF
"""Data bits of a wavelet that has an index."""


MARKS, DROPS = 1, 2
"""Bits of a source."""
TAKES_CONTROL = MARKS | DROPS
PACKS = 1 << 6
"""A bit of sources and destinations; only has an effect on elements of `HALF_BYTES`."""
HALF_BYTES = 2
NUM_PACKED = 2
"""Elements in a wavelet of such an operand."""


def output_flags(descriptor: DsdDescriptor, base: int) -> int:
    """Return the number of a destination: `base` is the low half of its DSD value's word 0."""
    flags = int(descriptor.is_control) | descriptor.clears + 1 << CLEARS_SHIFT
    if descriptor.has_index:
        flags |= (base & DATA_BITS) << 16 | HAS_INDEX
    if descriptor.keeps_control:
        flags |= UNMARKS
    if descriptor.packs:
        flags |= PACKS
    return flags | ADVANCES if descriptor.advances_switch else flags


def input_flags(descriptor: DsdDescriptor) -> int:
    """Return the number of a source."""
    marks = MARKS * descriptor.keeps_control | DROPS * descriptor.drops_data
    return marks | PACKS * descriptor.packs
