"""The queues that the host fills (M72): as long as needed, at the end of the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.simulator.arithmetic.control import CONTROL_MARK
from onewafer.simulator.fast.build.building import make_arena, route_table
from onewafer.simulator.fast.build.tables import fifo_words, log2_places
from onewafer.simulator.fast.state import fields as f

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.simulator.fast.build.wiring import Fabric
    from onewafer.simulator.fast.state.arrays import Arrays

_MAX_LOG2 = 0x1F
_WORD = 0xFFFF_FFFF
Wavelet = tuple[int, int, int]
"""The earliest cycle in which it can leave, its color, its word."""


class Injector:
    """Puts wavelets into host queues. A full queue moves to the end of the arena."""

    def __init__(self, fabric: Fabric) -> None:
        """Note the end of the arena."""
        self._fabric = fabric
        self._end = fabric.places.end

    def inject(self, s: Arrays, pe: int, color: int, words: Sequence[int], *, cycle: int) -> Arrays:
        """Append wavelets that can leave from `cycle` on; return the new arrays."""
        streams = self._fabric.streams
        is_stream = bool(((streams.pe == pe) & (streams.color == color)).any())
        number = f.HOST_QUEUE + 1 + color if is_stream else f.HOST_QUEUE
        entering = color ^ (int(s.swapped_ramps[pe]) >> color & 1)
        return self.put(s, pe, number, entering, words, cycle=cycle)

    def put(
        self, s: Arrays, pe: int, number: int, color: int, words: Sequence[int], *, cycle: int
    ) -> Arrays:
        """As `inject`, for a queue by its number, with the color after the ramp."""
        if len(s.ramp_routes) < len(s.blocks):
            s = s._replace(ramp_routes=route_table(self._fabric))
        row = self._row_of(s, pe, number)
        queue = int(s.fifos[row, f.FIFOS_OFFSET])
        waiting = _wavelets(s, queue) if queue else []
        ready = cycle - int(s.clock[f.BASE])
        wavelets = [*waiting, *((ready, color, word & _WORD) for word in words)]
        s = self._make_room(s, fifo_words(len(wavelets), has_tags=True))
        self._move_queue(s, row, pe, number, len(wavelets))
        _fill(s, self._end, wavelets)
        self._end += fifo_words(len(wavelets), has_tags=True)
        return s

    def _row_of(self, s: Arrays, pe: int, number: int) -> int:
        """Return the row of a host queue: of one color, or of all other colors."""
        streams = self._fabric.streams
        num_streams, num_pes = len(streams.pe), len(s.blocks)
        if number == f.HOST_QUEUE:
            return len(s.fifos) - num_streams - num_pes + pe
        found = np.flatnonzero((streams.pe == pe) & (streams.color == number - f.HOST_QUEUE - 1))
        return len(s.fifos) - num_streams + int(found[0])

    def _make_room(self, s: Arrays, num_words: int) -> Arrays:
        """Return arrays with an arena that has `num_words` free words."""
        if self._end + num_words <= len(s.arena):
            return s
        arena = make_arena(2 * len(s.arena) + num_words)
        arena[: self._end] = s.arena[: self._end]
        return s._replace(arena=arena)

    def _move_queue(
        self, s: Arrays, row: int, pe: int, queue_number: int, num_wavelets: int
    ) -> None:
        """Write the header of a host queue at the end of the arena, without wavelets."""
        block, old, queue = int(s.blocks[pe]), int(s.fifos[row, f.FIFOS_OFFSET]), self._end
        number = _source_number(s, block, old)
        s.arena[queue + f.FIFO_HEAD] = s.arena[queue + f.FIFO_TAIL] = 0
        s.arena[queue + f.FIFO_OWNER] = block
        shape = log2_places(num_wavelets) << 8 | number % f.SOURCE_GROUPS
        s.arena[queue + f.FIFO_SHAPE] = shape | f.HAS_TAGS
        s.arena[queue + f.FIFO_STATE] = s.arena[old + f.FIFO_STATE] if old else 0
        s.arena[queue + f.FIFO_ROUTE] = f.ANY_COLOR
        s.arena[queue + f.FIFO_LAST_MOVE] = s.arena[old + f.FIFO_LAST_MOVE] if old else f.NOT_YET
        s.arena[queue + f.FIFO_ROW] = row
        s.fifos[row, f.FIFOS_OFFSET] = queue
        s.fifos[row, f.FIFOS_PE] = pe
        s.fifos[row, f.FIFOS_COLOR] = f.ANY_COLOR
        s.fifos[row, f.FIFOS_NUMBER] = queue_number
        s.fifos[row, f.FIFOS_PORT] = int(Direction.RAMP)
        s.fifos[row, f.FIFOS_WRITER] = f.NONE
        s.arena[block + f.BLOCK_SOURCES + number] = queue
        s.arena[block + f.BLOCK_NUM_SOURCES] = max(number + 1, s.arena[block + f.BLOCK_NUM_SOURCES])
        s.arena[block + f.BLOCK_IS_CONTENDED] |= 1
        s.arena[block + f.BLOCK_ACTIVE] |= 1 << number % f.SOURCE_GROUPS


def _source_number(s: Arrays, block: int, queue: int) -> int:
    """Return the source number of a queue in its router; a new queue (0) gets the next one."""
    num_sources = int(s.arena[block + f.BLOCK_NUM_SOURCES])
    if not queue:
        return num_sources
    first = block + f.BLOCK_SOURCES
    return s.arena[first : first + num_sources].tolist().index(queue)


def _places(s: Arrays, queue: int) -> int:
    return 1 << (int(s.arena[queue + f.FIFO_SHAPE]) >> 8 & _MAX_LOG2)


def _wavelets(s: Arrays, queue: int) -> list[Wavelet]:
    """Return the wavelets that wait in a host queue."""
    places = _places(s, queue)
    head, tail = int(s.arena[queue + f.FIFO_HEAD]), int(s.arena[queue + f.FIFO_TAIL])
    numbers = np.arange(head, tail) % places
    ring = queue + f.FIFO_RING
    ready = s.arena[ring + 2 * numbers].tolist()
    words = (s.arena[ring + 2 * numbers + 1].astype(np.int64) & _WORD).tolist()
    colors = s.arena[ring + 2 * places + numbers].tolist()
    return list(zip(ready, colors, words, strict=True))


def _fill(s: Arrays, queue: int, wavelets: Sequence[Wavelet]) -> None:
    """Put wavelets into an empty host queue."""
    ring, tags = queue + f.FIFO_RING, queue + f.FIFO_RING + 2 * _places(s, queue)
    for i, (ready, color, word) in enumerate(wavelets):
        s.arena[ring + 2 * i] = ready
        s.arena[ring + 2 * i + 1] = (word ^ 0x8000_0000) - 0x8000_0000
        s.arena[tags + i] = color
    s.arena[queue + f.FIFO_TAIL] = len(wavelets)


class Collector:
    """Empties the channels of the host (M73)."""

    def __init__(self, fabric: Fabric) -> None:
        """Note the places of the host's channels."""
        channels = fabric.host_channels
        offsets = fabric.places.channels[channels.pe] + channels.distance
        keys = zip(channels.pe.tolist(), channels.color.tolist(), offsets.tolist(), strict=True)
        self._channels = {(pe, color): offset for pe, color, offset in keys}

    def collect(
        self, s: Arrays, pe: int, color: int, most: int, *, cycle: int
    ) -> tuple[list[int], bool]:
        """Take wavelets in `cycle`; tell, too, whether the router waits for a free slot."""
        channel = self._channels[pe, color]
        head, tail = int(s.arena[channel + f.FIFO_HEAD]), int(s.arena[channel + f.FIFO_TAIL])
        taken = np.arange(head, min(tail, head + most))
        places = _places(s, channel)
        at = channel + f.FIFO_RING + 2 * (taken % places)
        words = s.arena[at + 1].astype(np.int64) & _WORD
        if s.arena[channel + f.FIFO_SHAPE] & f.HAS_TAGS:
            tag_places = channel + f.FIFO_RING + 2 * places + np.arange(places)
            tags = s.arena[tag_places[taken % places]]
            words |= np.where(tags & f.CONTROL_TAG, CONTROL_MARK, 0)
            s.arena[tag_places[taken % places]] = 0
            if not s.arena[tag_places].any():
                s.arena[channel + f.FIFO_SHAPE] &= ~f.HOLDS_MARKED
        s.arena[at] = cycle - int(s.clock[f.BASE])
        s.arena[channel + f.FIFO_HEAD] = head + len(taken)
        is_awaited = bool(len(taken)) and s.arena[channel + f.FIFO_STATE] != 0
        if is_awaited:
            s.arena[channel + f.FIFO_STATE] = 0
        return words.tolist(), is_awaited
