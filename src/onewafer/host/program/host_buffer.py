"""Host arrays as the SDK's copy calls lay them out: flat, one 32-bit word an element.

The logical tensor is `[height, width, elements_per_pe]`. A 16-bit element sits in the low half of
its word, and PE memory packs it; on the way back the high half is zero.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onewafer.errors import HostError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.geometry import Rectangle

_WORD_BYTES = 4


class MemcpyDataType(IntEnum):
    """Width of an element in PE memory."""

    MEMCPY_32BIT = 0
    MEMCPY_16BIT = 1


class MemcpyOrder(IntEnum):
    """The index of `[height, width, elements_per_pe]` that runs fastest in the host array."""

    ROW_MAJOR = 0
    """Element, then x, then y."""
    COL_MAJOR = 1
    """y, then x, then element."""


class Replication(IntEnum):
    """The axis along which PEs share one block of the host array, if any."""

    NONE = 0
    ALONG_ROWS = 1
    """One block a row of PEs: `[height, elements_per_pe]`."""
    ALONG_COLUMNS = 2
    """One block a column of PEs: `[width, elements_per_pe]`."""


@dataclass(frozen=True, slots=True)
class BufferFormat:
    """The mapping of a copy call's flat host array to the PEs of a rectangle."""

    rectangle: Rectangle
    elements_per_pe: int
    data_type: MemcpyDataType
    order: MemcpyOrder

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned type of an element in PE memory."""
        return np.dtype("<u4" if self.data_type is MemcpyDataType.MEMCPY_32BIT else "<u2")

    def to_tensor(
        self,
        array: NDArray[Any],
        replication: Replication = Replication.NONE,
        *,
        caller_level: int = 1,
    ) -> NDArray[Any]:
        """Return `[height, width, elements_per_pe]` raw elements of a host array.

        A dimension along which blocks are shared has size 1: `Device.write_raw` replicates it.
        Numbers that lose bits are warned of at the call that is `caller_level` calls up (1: the
        call of this method); unsigned words may have anything in their upper halves.

        Raises:
            HostError: the array is not one of 32-bit words, or has fewer than the call moves.
        """
        height, width = self.rectangle.height, self.rectangle.width
        match replication:
            case Replication.NONE:
                blocks = (height, width)
            case Replication.ALONG_ROWS:
                blocks = (height, 1)
            case Replication.ALONG_COLUMNS:
                blocks = (1, width)
        self._check(array, blocks)
        count = blocks[0] * blocks[1] * self.elements_per_pe
        elements = np.ascontiguousarray(array).reshape(-1)[:count]
        words = elements.view("<u4")
        if self.data_type is MemcpyDataType.MEMCPY_16BIT and elements.dtype.kind != "u":
            _warn_of_lost_bits(elements, words, caller_level + 2)
        return self._unflatten(words.astype(self.dtype), blocks)

    def store(self, tensor: NDArray[Any], array: NDArray[Any]) -> None:
        """Write raw elements `[height, width, elements_per_pe]` into a host array, in place.

        Further elements of a larger array are unchanged.

        Raises:
            HostError: the array cannot hold them: read-only, not 32-bit, or too small.
        """
        self.check(array)
        if self.order is MemcpyOrder.COL_MAJOR:
            tensor = tensor.transpose(2, 1, 0)
        words = tensor.astype("<u4").reshape(-1)
        array.flat[: words.size] = words.view(array.dtype)

    def check(self, array: NDArray[Any]) -> None:
        """Refuse a host array into which `store` cannot write.

        Raises:
            HostError: as `store`.
        """
        self._check(array, (self.rectangle.height, self.rectangle.width))
        if not array.flags.writeable:
            raise HostError("the destination array is read-only: pass a writable one")

    def _unflatten(self, words: NDArray[Any], blocks: tuple[int, int]) -> NDArray[Any]:
        height, width = blocks
        if self.order is MemcpyOrder.ROW_MAJOR:
            return words.reshape(height, width, self.elements_per_pe)
        return words.reshape(self.elements_per_pe, width, height).transpose(2, 1, 0)

    def _check(self, array: NDArray[Any], blocks: tuple[int, int]) -> None:
        given = cast("object", array)  # user code is not type-checked
        if not isinstance(given, np.ndarray):
            raise HostError(
                f"a copy moves a NumPy array, not {type(given).__name__}: "
                f"pass for example np.array(values, dtype=np.float32)"
            )
        if array.dtype.itemsize != _WORD_BYTES or array.dtype.kind not in "iuf":
            raise HostError(
                f"host arrays hold 32-bit words, this one is {array.dtype}: use a uint32, int32 "
                f"or float32 array (input_array_to_u32 widens 16-bit ones, memcpy_view reads them)"
            )
        expected = blocks[0] * blocks[1] * self.elements_per_pe
        if array.size < expected:
            raise HostError(
                f"the array has {_elements(array.size)}, the call moves {expected}: "
                f"{blocks[1]}×{blocks[0]} blocks of {self.elements_per_pe}"
            )


def _warn_of_lost_bits(elements: NDArray[Any], words: NDArray[Any], stacklevel: int) -> None:
    """Warn of words that are no 16-bit numbers: their upper half is neither zeros nor signs."""
    lossy = np.flatnonzero(words + np.uint32(0x8000) >= 0x8000 + (1 << 16))
    if lossy.size:
        more = f", as {lossy.size:,} have," if lossy.size > 1 else ""
        warnings.warn(
            f"element {lossy[0]:,} of the array, {elements[lossy[0]]}, has bits above the low "
            f"16{more} which MEMCPY_16BIT drops",
            stacklevel=stacklevel,
        )


def _elements(number: int) -> str:
    return "1 element" if number == 1 else f"{number} elements"
