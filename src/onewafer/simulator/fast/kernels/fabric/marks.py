"""Marked wavelets: control wavelets (M91), and those that advance the sender's switch (M49).

Few wavelets are marked, and other wavelets only need to know if a marked one precedes them. So a
FIFO with tags has a flag for marked wavelets (`HOLDS_MARKED`), and tags are only read if it is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.simulator.fast.kernels.fabric.fifo import tag_place
from onewafer.simulator.fast.machine_code.compilation import kernel, shared
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.fast.state.arrays import int64

if TYPE_CHECKING:
    from onewafer.simulator.fast.state.arrays import Arrays


@kernel
def set_tag(s: Arrays, fifo: int, number: int, tag: int) -> None:
    """Set the tag of wavelet `number` of a FIFO with tags."""
    s.arena[tag_place(s, fifo, number)] = tag
    if tag & f.MARK_TAGS:
        s.arena[fifo + f.FIFO_SHAPE] |= f.HOLDS_MARKED


@kernel
def tag_from_ramp(s: Arrays, pe: int, tag: int) -> int:
    """Return the tag of a wavelet that comes from the ramp, where colors may be swapped (M59)."""
    return tag ^ (int64(s.swapped_ramps[pe]) >> (tag & f.COLOR_MASK) & 1)


@shared
def unmark(s: Arrays, fifo: int, count: int) -> None:
    """Clear the tags of the wavelets that were just taken, and update `HOLDS_MARKED`."""
    head = s.arena[fifo + f.FIFO_HEAD]
    for number in range(head - count, head):
        s.arena[tag_place(s, fifo, number)] = 0
    for number in range(head, s.arena[fifo + f.FIFO_TAIL]):
        if s.arena[tag_place(s, fifo, number)] & f.MARK_TAGS:
            return
    s.arena[fifo + f.FIFO_SHAPE] &= ~f.HOLDS_MARKED


@kernel
def holds_marked(s: Arrays, fifo: int) -> bool:
    """Tell whether a FIFO holds a marked wavelet."""
    return s.arena[fifo + f.FIFO_SHAPE] & f.HOLDS_MARKED != 0


@kernel
def is_control_next(s: Arrays, channel: int) -> bool:
    """Tell whether the oldest wavelet of a non-empty channel is a control wavelet."""
    if not holds_marked(s, channel):
        return False
    return s.arena[tag_place(s, channel, s.arena[channel + f.FIFO_HEAD])] & f.CONTROL_TAG != 0
