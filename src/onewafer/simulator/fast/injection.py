"""The queues that the host fills (M72): as long as needed, at the end of the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.geometry import Direction
from onewafer.simulator.fast.building import make_arena, route_table
from onewafer.simulator.fast.fields import (
    ANY_COLOR,
    BASE,
    BLOCK_ACTIVE,
    BLOCK_IS_CONTENDED,
    BLOCK_NUM_SOURCES,
    BLOCK_SOURCES,
    FIFO_HEAD,
    FIFO_LAST_MOVE,
    FIFO_OWNER,
    FIFO_RING,
    FIFO_ROUTE,
    FIFO_ROW,
    FIFO_SHAPE,
    FIFO_STATE,
    FIFO_TAIL,
    FIFOS_COLOR,
    FIFOS_NUMBER,
    FIFOS_OFFSET,
    FIFOS_PE,
    FIFOS_PORT,
    FIFOS_WRITER,
    HOST_QUEUE,
    NONE,
    NOT_YET,
    SOURCE_GROUPS,
)
from onewafer.simulator.fast.tables import fifo_words, log2_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.simulator.fast.arrays import Arrays
    from onewafer.simulator.fast.wiring import Fabric

_MAX_LOG2 = 0x1F
_WORD = 0xFFFF_FFFF
Wavelet = tuple[int, int, int]
"""From when it can leave, color, word."""


class Injector:
    """Puts wavelets into host queues. A queue that is too short moves to the end of the arena."""

    def __init__(self, fabric: Fabric) -> None:
        """Remember where the arena ends."""
        self._fabric = fabric
        self._end = fabric.places.end

    def inject(self, s: Arrays, pe: int, color: int, words: Sequence[int], *, cycle: int) -> Arrays:
        """Append wavelets that can leave from `cycle` on; return the arrays to go on with."""
        if len(s.ramp_routes) < len(s.blocks):
            s = s._replace(ramp_routes=route_table(self._fabric))
        row = len(s.fifos) - len(s.blocks) + pe
        queue = int(s.fifos[row, FIFOS_OFFSET])
        waiting = _wavelets(s, queue) if queue else []
        ready = cycle - int(s.clock[BASE])
        wavelets = [*waiting, *((ready, color, word & _WORD) for word in words)]
        s = self._make_room(s, fifo_words(len(wavelets), has_tags=True))
        self._move_queue(s, row, pe, len(wavelets))
        _fill(s, self._end, wavelets)
        self._end += fifo_words(len(wavelets), has_tags=True)
        return s

    def _make_room(self, s: Arrays, num_words: int) -> Arrays:
        """Return arrays with an arena that has `num_words` left."""
        if self._end + num_words <= len(s.arena):
            return s
        arena = make_arena(2 * len(s.arena) + num_words)
        arena[: self._end] = s.arena[: self._end]
        return s._replace(arena=arena)

    def _move_queue(self, s: Arrays, row: int, pe: int, num_wavelets: int) -> None:
        """Write the header of a host queue at the end of the arena, without wavelets."""
        block, old, queue = int(s.blocks[pe]), int(s.fifos[row, FIFOS_OFFSET]), self._end
        number = int(self._fabric.num_sources[pe])
        s.arena[queue + FIFO_HEAD] = s.arena[queue + FIFO_TAIL] = 0
        s.arena[queue + FIFO_OWNER] = block
        s.arena[queue + FIFO_SHAPE] = log2_places(num_wavelets) << 8 | number % SOURCE_GROUPS
        s.arena[queue + FIFO_STATE] = s.arena[old + FIFO_STATE] if old else 0
        s.arena[queue + FIFO_ROUTE] = ANY_COLOR
        s.arena[queue + FIFO_LAST_MOVE] = s.arena[old + FIFO_LAST_MOVE] if old else NOT_YET
        s.arena[queue + FIFO_ROW] = row
        s.fifos[row, FIFOS_OFFSET] = queue
        s.fifos[row, FIFOS_PE] = pe
        s.fifos[row, FIFOS_COLOR] = ANY_COLOR
        s.fifos[row, FIFOS_NUMBER] = HOST_QUEUE
        s.fifos[row, FIFOS_PORT] = int(Direction.RAMP)
        s.fifos[row, FIFOS_WRITER] = NONE
        s.arena[block + BLOCK_SOURCES + number] = queue
        s.arena[block + BLOCK_NUM_SOURCES] = number + 1
        s.arena[block + BLOCK_IS_CONTENDED] = 1
        s.arena[block + BLOCK_ACTIVE] |= 1 << number % SOURCE_GROUPS


def _places(s: Arrays, queue: int) -> int:
    return 1 << (int(s.arena[queue + FIFO_SHAPE]) >> 8 & _MAX_LOG2)


def _wavelets(s: Arrays, queue: int) -> list[Wavelet]:
    """Return what waits in a host queue."""
    places = _places(s, queue)
    numbers: NDArray[np.int64] = (
        np.arange(s.arena[queue + FIFO_HEAD], s.arena[queue + FIFO_TAIL]) % places
    )
    ring = queue + FIFO_RING
    ready = s.arena[ring + 2 * numbers].tolist()
    words = (s.arena[ring + 2 * numbers + 1].astype(np.int64) & _WORD).tolist()
    colors = s.arena[ring + 2 * places + numbers].tolist()
    return list(zip(ready, colors, words, strict=True))


def _fill(s: Arrays, queue: int, wavelets: Sequence[Wavelet]) -> None:
    """Put wavelets into an empty host queue."""
    ring, tags = queue + FIFO_RING, queue + FIFO_RING + 2 * _places(s, queue)
    for i, (ready, color, word) in enumerate(wavelets):
        s.arena[ring + 2 * i] = ready
        s.arena[ring + 2 * i + 1] = (word ^ 0x8000_0000) - 0x8000_0000
        s.arena[tags + i] = color
    s.arena[queue + FIFO_TAIL] = len(wavelets)
