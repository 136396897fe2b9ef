"""FIFOs: rings of elements in PE memory, filled and emptied by DSD operations (M110–M114, M149)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import SimulationError
from onewafer.image import NO_TASK, FifoAction, fifo_length
from onewafer.simulator.protocol.messages import fifo_width

if TYPE_CHECKING:
    from onewafer.image import FifoBuffer, TileProgram
    from onewafer.simulator.reference.compute_element.memory import Memory
    from onewafer.simulator.reference.fabric.units import User


class Fifo:
    """One FIFO of a PE."""

    __slots__ = (
        "_buffer",
        "_memory",
        "activated",
        "count",
        "found_empty",
        "found_full",
        "head",
        "lengths",
        "number",
        "reader",
        "width",
        "writer",
    )

    def __init__(
        self, number: int, buffer: FifoBuffer, memory: Memory, lengths: memoryview[int]
    ) -> None:
        self._buffer = buffer
        self._memory = memory
        self.lengths = lengths
        """Lengths of all FIFOs of the PE, by `fifo_length()` (M149)."""
        self.number = number
        self.head = 0
        """Place of the oldest element."""
        self.count = 0
        self.width = 0
        """Bytes of an element, set by the first one."""
        self.activated = 0
        """Bit set of the tasks that the last element activates (M113)."""
        self.found_empty = False
        """True if an operation found the FIFO empty, and no element was added since."""
        self.found_full = False
        """True if an operation found the FIFO full, and no element was taken since."""
        self.reader: User | None = None
        self.writer: User | None = None

    @property
    def is_as_loaded(self) -> bool:
        """True if no operation ever used the FIFO."""
        return not self.width and not self.found_empty and not self.found_full

    def extent(self, *, is_written: bool) -> int | None:
        """Return the length of operations that write, or that read (M149)."""
        return self.lengths[fifo_length(self.number, is_written=is_written)] or None

    def keep_remaining(self, length: int) -> None:
        """Save the remaining length of an operation that this FIFO ends, if it has a length."""
        which = fifo_length(self.number, is_written=self.count > 0)
        if self.lengths[which]:
            self.lengths[which] = length

    def is_full(self, num_bytes: int) -> bool:
        """Tell whether there is no room for an element of `num_bytes`."""
        return self.count == self._capacity(self.width if self.count else num_bytes)

    def note_lack(self) -> FifoAction:
        """Note that an operation lacks an element or a slot; return its action (M115)."""
        if self.count:
            self.found_full = True
            return self._buffer.full_action
        self.found_empty = True
        return self._buffer.empty_action

    def put(self, word: int, num_bytes: int) -> None:
        """Append an element to a FIFO that is not full."""
        if not self.count:
            self.width = num_bytes
            self.head = 0
        if self.found_empty:
            self.found_empty = False
            self._activate(self._buffer.activate_push)
        self._check(num_bytes)
        place = (self.head + self.count) % self._capacity(num_bytes)
        self._memory.write(self._buffer.address + place * num_bytes, word, num_bytes)
        self.count += 1

    def take(self, num_bytes: int) -> int:
        """Remove and return the oldest element of a FIFO that is not empty."""
        self._check(num_bytes)
        if self.found_full:
            self.found_full = False
            self._activate(self._buffer.activate_pop)
        word = self._memory.read(self._buffer.address + self.head * num_bytes, num_bytes)
        self.head = (self.head + 1) % self._capacity(num_bytes)
        self.count -= 1
        return word

    def _capacity(self, num_bytes: int) -> int:
        return self._buffer.num_bytes // num_bytes

    def _check(self, num_bytes: int) -> None:
        if num_bytes != self.width:
            raise SimulationError(fifo_width(self.width, num_bytes))

    def _activate(self, task_id: int) -> None:
        if task_id != NO_TASK:
            self.activated |= 1 << task_id


def make_fifos(program: TileProgram, memory: Memory, lengths: memoryview[int]) -> list[Fifo]:
    """Return the FIFOs of a PE, by number."""
    return [Fifo(number, buffer, memory, lengths) for number, buffer in enumerate(program.fifos)]


class FifoOperand:
    """A FIFO as an operand: reading takes an element, writing adds one."""

    __slots__ = ("extent", "fifo", "num_bytes", "stride")

    def __init__(self, fifo: Fifo, num_bytes: int) -> None:
        self.fifo = fifo
        self.num_bytes = num_bytes
        self.extent = fifo.extent(is_written=False)
        """Length of an operation with this FIFO as a source."""
        self.stride = 1

    def read(self, k: int) -> int:
        """Take the oldest element."""
        del k
        return self.fifo.take(self.num_bytes)

    def write(self, k: int, word: int) -> None:
        """Put an element in."""
        del k
        self.fifo.put(word, self.num_bytes)
