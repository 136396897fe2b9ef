"""The memory of one PE: little-endian words at any byte address (M10, M11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import SimulationError
from onewafer.simulator.protocol.messages import outside_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ADDRESS_MASK = 0xFFFF


class Memory:
    """Reads and writes unsigned words of 1, 2 or 4 bytes."""

    __slots__ = ("_bytes", "_halves", "_size", "_words")

    def __init__(self, row: NDArray[np.uint8]) -> None:
        """Wrap one row of `MachineState.memory`."""
        self._bytes = memoryview(row)  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self._halves = self._bytes[: len(row) & ~1].cast("H")
        self._words = self._bytes[: len(row) & ~3].cast("I")
        self._size = len(row)

    def read(self, address: int, num_bytes: int) -> int:
        """Return the word at `address`, which wraps at 64 KiB."""
        address &= ADDRESS_MASK
        if address + num_bytes > self._size:
            raise self._outside(address, num_bytes)
        if num_bytes == 4 and not address & 3:  # noqa: PLR2004  # bytes
            return self._words[address >> 2]
        if num_bytes == 2 and not address & 1:  # noqa: PLR2004  # bytes
            return self._halves[address >> 1]
        return int.from_bytes(self._bytes[address : address + num_bytes], "little")

    def write(self, address: int, word: int, num_bytes: int) -> None:
        """Store the low bytes of `word` at `address`, which wraps at 64 KiB."""
        address &= ADDRESS_MASK
        if address + num_bytes > self._size:
            raise self._outside(address, num_bytes)
        if num_bytes == 4 and not address & 3:  # noqa: PLR2004  # bytes
            self._words[address >> 2] = word & 0xFFFF_FFFF
        elif num_bytes == 2 and not address & 1:  # noqa: PLR2004  # bytes
            self._halves[address >> 1] = word & 0xFFFF
        else:
            payload = (word & ((1 << 8 * num_bytes) - 1)).to_bytes(num_bytes, "little")
            self._bytes[address : address + num_bytes] = payload

    def _outside(self, address: int, num_bytes: int) -> SimulationError:
        return SimulationError(outside_memory(address, num_bytes, self._size))
