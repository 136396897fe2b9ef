"""The memory of all PEs as one array that costs only its touched pages.

A whole wafer has 40 GB of SRAM; a program uses some pages of each PE's. The operating system gives
a page when it is first written, and 48 KiB is a whole number of pages, so `[pe, address]` needs no
table of our own. Reading an unwritten page gives zeros and takes no memory.
"""

from __future__ import annotations

import mmap
import sys
from typing import TYPE_CHECKING, Final

import numpy as np

from onewafer.errors import SimulationError
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_BYTES: Final = mmap.PAGESIZE
_LINUX_MAP_NORESERVE: Final = 0x4000
"""`mmap.MAP_NORESERVE`, which Python names from 3.13 on (x86 and ARM)."""


def allocate(num_pes: int, memory_bytes: int) -> NDArray[np.uint8]:
    """Return `[num_pes, memory_bytes]` zeros without any page allocated yet.

    Raise `SimulationError` if not even the address space is available.
    """
    try:
        if sys.platform == "linux":
            return _map(num_pes, memory_bytes)
        # Elsewhere zeroed memory is lazy by itself, as far as it is at all.
        return np.zeros((num_pes, memory_bytes), np.uint8)
    except (OSError, MemoryError) as error:
        raise SimulationError(
            f"there is no address space for {num_pes:,} PEs of {format_bytes(memory_bytes)}: "
            f"{error}; use a smaller rectangle, or lift the limit of the process (ulimit -v)"
        ) from None


def _map(num_pes: int, memory_bytes: int) -> NDArray[np.uint8]:
    # Without a reservation the system does not compare 40 GB with the memory that it has.
    no_reserve = getattr(mmap, "MAP_NORESERVE", _LINUX_MAP_NORESERVE)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    num_bytes = max(1, num_pes * memory_bytes)
    area = mmap.mmap(-1, num_bytes, flags=flags)
    # A huge page is 42 PEs: touching one byte of it would take all their memory.
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        area.madvise(mmap.MADV_NOHUGEPAGE)
    array = np.frombuffer(area, np.uint8, count=num_pes * memory_bytes)
    return array.reshape(num_pes, memory_bytes)


def nonzero_stretches(data: NDArray[np.uint8], address: int) -> list[tuple[int, int]]:
    """Return `[first, end)` of the parts of initial data to write at `address`, at most one a page.

    Zeros outside of the parts are omitted: memory is zero already.

    >>> nonzero_stretches(np.array([0, 0, 7, 0, 8, 0], np.uint8), address=100)
    [(2, 5)]
    """
    places = np.flatnonzero(data)
    if not len(places):
        return []
    pages = (places + address) // PAGE_BYTES
    starts = np.flatnonzero(np.diff(pages, prepend=-1))
    ends = np.append(starts, len(places))[1:]
    return [
        (int(places[start]), int(places[end - 1]) + 1)
        for start, end in zip(starts, ends, strict=True)
    ]
