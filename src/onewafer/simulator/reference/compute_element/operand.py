"""The operands of a DSD operation: element k of each can be read or written (M35–M37, M44).

The addresses of two sources decide whether they can be read in one cycle (M13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onewafer.image import DSD_NUMBER_MASK, DsdDescriptor, DsdKind
from onewafer.simulator.arithmetic.control import CONTROL_MARK, MEMORY_MARK, is_control, kept_word
from onewafer.simulator.arithmetic.outputs import (
    CLEARS_BITS,
    CLEARS_SHIFT,
    DATA_BITS,
    DROPS,
    HALF_BYTES,
    HAS_INDEX,
    INDEX_BITS,
    IS_CONTROL,
    MARKS,
    NUM_PACKED,
    PACKS,
    TAKES_CONTROL,
    UNMARKS,
)

if TYPE_CHECKING:
    from onewafer.simulator.reference.compute_element.memory import Memory
    from onewafer.simulator.reference.fabric.buffers import Channel, OutputQueue

ENDLESS = 0x7FFF
"""Extent of a fabric DSD that never ends."""
_WORD_BYTES = 4
_CONFLICT_DISTANCE = 4
"""Words: two that are a multiple of this apart cannot be read in one cycle (M13)."""


class Operand(Protocol):
    """A source or destination."""

    stride: int
    """Stride in elements, for the innermost loop; 1 for operands without a stride."""

    @property
    def extent(self) -> int | None:
        """Elements; None: it has no extent, as scalars have none (M35)."""
        ...

    def read(self, k: int) -> int:
        """Return element k."""
        ...

    def write(self, k: int, word: int) -> None:
        """Set element k."""
        ...


class ScalarOperand:
    """A value from a register, copied at issue; or an absent source, zero."""

    __slots__ = ("extent", "stride", "word")

    def __init__(self, word: int) -> None:
        self.word = word
        self.extent: int | None = None
        self.stride = 1

    def read(self, k: int) -> int:
        """Return the value."""
        del k
        return self.word

    def write(self, k: int, word: int) -> None:
        """Replace the value: the running result of a reduction."""
        del k
        self.word = word


class PointerOperand:
    """A scalar destination in memory."""

    __slots__ = ("_memory", "_num_bytes", "address", "extent", "stride")

    def __init__(self, memory: Memory, address: int, num_bytes: int) -> None:
        self._memory = memory
        self.address = address
        self._num_bytes = num_bytes
        self.extent: int | None = None
        self.stride = 1

    def read(self, k: int) -> int:
        """Return the scalar."""
        del k
        return self._memory.read(self.address, self._num_bytes)

    def write(self, k: int, word: int) -> None:
        """Set the scalar, the same for every k."""
        del k
        self._memory.write(self.address, word, self._num_bytes)

    def span(self, length: int) -> tuple[int, int]:
        """Return the first and the last byte."""
        del length
        return self.address, self.address + self._num_bytes - 1


class VectorOperand:
    """A mem1d DSD."""

    __slots__ = ("_memory", "_num_bytes", "_step", "base", "extent", "stride")

    def __init__(self, memory: Memory, words: tuple[int, int], num_bytes: int) -> None:
        self._memory = memory
        self.base = words[0] & 0xFFFF
        self.extent = words[0] >> 16
        self.stride = to_signed16(words[1])
        self._step = self.stride * num_bytes
        self._num_bytes = num_bytes

    def read(self, k: int) -> int:
        """Return element k."""
        return self._memory.read(self.base + k * self._step, self._num_bytes)

    def write(self, k: int, word: int) -> None:
        """Set element k."""
        self._memory.write(self.base + k * self._step, word, self._num_bytes)

    @property
    def walk(self) -> tuple[int, int]:
        """The address of the first element, and the bytes from one element to the next."""
        return self.base, self._step

    def span(self, length: int) -> tuple[int, int]:
        """Return the first and the last byte of `length` elements."""
        other = self.base + self._step * (length - 1)
        return min(self.base, other), max(self.base, other) + self._num_bytes - 1

    def num_wraps(self, length: int) -> int:
        """Return 0: a vector is one row."""
        del length
        return 0


class BlockOperand:
    """A mem4d DSD: nested loops, the last the fastest; the first goes on past its extent."""

    __slots__ = ("_loops", "_memory", "_num_bytes", "base", "extent", "number", "skipped", "stride")

    def __init__(
        self, memory: Memory, words: tuple[int, int], descriptor: DsdDescriptor, num_bytes: int
    ) -> None:
        self._memory = memory
        self.base = words[0] & 0xFFFF
        self.extent = words[0] >> 16
        self.number = words[1] >> 16 & DSD_NUMBER_MASK
        """Number of the descriptor."""
        self.skipped = words[1] & 0xFFFF
        """Elements of the loops before element 0 (M124)."""
        loops = zip(descriptor.extents, descriptor.strides, strict=True)
        self._loops = [(extent, stride * num_bytes) for extent, stride in reversed(list(loops))]
        self.stride = descriptor.strides[-1]
        self._num_bytes = num_bytes

    def read(self, k: int) -> int:
        """Return element k."""
        return self._memory.read(self._address(k), self._num_bytes)

    def write(self, k: int, word: int) -> None:
        """Set element k."""
        self._memory.write(self._address(k), word, self._num_bytes)

    @property
    def walk(self) -> tuple[int, int]:
        """The address of the first element, and the bytes from one to the next in its row."""
        return self.base, self.stride * self._num_bytes

    def span(self, length: int) -> tuple[int, int]:
        """Return the first and the last byte of the first element, as M152 defines."""
        del length
        return self.base, self.base + self._num_bytes - 1

    def num_wraps(self, length: int) -> int:
        """Return the number of restarts of the innermost loop within `length` elements."""
        row = self._loops[0][0]
        if len(self._loops) == 1 or not row or not length:
            return 0
        return (self.skipped % row + length - 1) // row

    def _address(self, k: int) -> int:
        address = self.base
        k += self.skipped
        for extent, step in self._loops[:-1]:
            k, index = divmod(k, extent)
            address += index * step
        return address + k * self._loops[-1][1]


class InputOperand:
    """A fabin DSD."""

    __slots__ = (
        "_mask",
        "_rest",
        "channel",
        "extent",
        "flags",
        "is_packed",
        "is_progress",
        "stride",
        "took_control",
    )

    def __init__(self, channel: Channel, extent: int, num_bytes: int, *, flags: int) -> None:
        self.channel = channel
        self.extent = extent
        self.flags = flags
        """See `arithmetic.outputs`."""
        self.is_packed = bool(flags & PACKS) and num_bytes == HALF_BYTES
        """True if each wavelet has two elements (M150)."""
        self._rest = 0
        self.is_progress = True
        """True if the last taken wavelet is an element, not data to drop (M99)."""
        self.took_control = False
        """True if an element was the word of a control wavelet (M95); its reader resets it."""
        self.stride = 1
        self._mask = (1 << 8 * num_bytes) - 1

    def read(self, k: int) -> int:
        """Take the next wavelet, or return the other element of the last one (M150)."""
        if self.is_packed and k % NUM_PACKED:
            return self._rest
        word = self.channel.words.popleft()[1]
        self._rest = word >> 16
        if is_control(word) and not self.flags & TAKES_CONTROL:
            self.took_control = True
        if self.flags & DROPS:
            self.is_progress = is_control(word)
        if self.flags & MARKS and is_control(word):
            element = self.channel.element
            assert element is not None
            word = kept_word(word, element.control_mask)
        return word & self._mask

    def write(self, k: int, word: int) -> None:
        """Never: a fabin DSD is a source."""
        raise NotImplementedError


class OutputOperand:
    """A fabout DSD. Written elements are collected in `written`; the compute element sends them."""

    __slots__ = (
        *("_mark", "_mask", "color", "extent", "flags", "is_packed"),
        *("queue", "stride", "written"),
    )

    def __init__(
        self, queue: OutputQueue, color: int, extent: int, num_bytes: int, *, flags: int
    ) -> None:
        self.queue = queue
        self.color = color
        self.extent = extent
        self.flags = flags
        """See `arithmetic.outputs`."""
        self.stride = 1
        self.written = 0
        self.is_packed = bool(flags & PACKS) and num_bytes == HALF_BYTES
        """True if each wavelet has two elements (M150)."""
        self._mask = DATA_BITS if flags & HAS_INDEX else (1 << 8 * num_bytes) - 1
        self._mark = flags & INDEX_BITS | (CONTROL_MARK if flags & IS_CONTROL else 0)

    def read(self, k: int) -> int:
        """Never: a fabout DSD is a destination."""
        raise NotImplementedError

    def write(self, k: int, word: int) -> None:
        """Remember the wavelet, or its other element (M150)."""
        word &= self._mask
        if self.is_packed and k % NUM_PACKED:
            self.written |= word << 16
            return
        if self.flags & UNMARKS and word & MEMORY_MARK == MEMORY_MARK:
            word = word & ~MEMORY_MARK | CONTROL_MARK
        self.written = word | self._mark

    @property
    def cleared_source(self) -> int:
        """The source that is zeroed at the end of the operation (M47); −1: none."""
        return (self.flags >> CLEARS_SHIFT & CLEARS_BITS) - 1

    def has_room(self) -> bool:
        """Tell whether the queue has a free place."""
        return len(self.queue.words) < self.queue.capacity


def memory_operand(
    memory: Memory, words: tuple[int, int], descriptor: DsdDescriptor, num_bytes: int
) -> VectorOperand | BlockOperand:
    """Return the operand of a memory DSD value."""
    if descriptor.kind is DsdKind.MEM4D:
        return BlockOperand(memory, words, descriptor, num_bytes)
    return VectorOperand(memory, words, num_bytes)


def share_banks(left: Operand, right: Operand) -> bool:
    """Tell whether two memory sources have equal strides and start in conflicting banks (M13).

    Consecutive 32-bit words lie in consecutive banks; banks that are equal modulo 4 conflict.
    """
    match left, right:
        case ((VectorOperand() | BlockOperand()), (VectorOperand() | BlockOperand())):
            (left_base, left_step), (right_base, right_step) = left.walk, right.walk
            distance = left_base // _WORD_BYTES - right_base // _WORD_BYTES
            return left_step == right_step and distance % _CONFLICT_DISTANCE == 0
        case _:
            return False


def count_wraps(left: Operand, right: Operand, length: int) -> int:
    """Return the number of row ends within an operation with two memory sources (M151)."""
    match left, right:
        case ((VectorOperand() | BlockOperand()), (VectorOperand() | BlockOperand())):
            return max(left.num_wraps(length), right.num_wraps(length))
        case _:
            return 0


def bytes_of(operand: Operand, length: int) -> tuple[int, int] | None:
    """Return the first and the last byte of an operand's elements; None: not in memory (M152)."""
    match operand:
        case PointerOperand() | VectorOperand() | BlockOperand():
            return operand.span(length)
        case _:
            return None


def to_signed16(word: int) -> int:
    """Return the low half of a word as a signed number."""
    return ((word & 0xFFFF) ^ 0x8000) - 0x8000
