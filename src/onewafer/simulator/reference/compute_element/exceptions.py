"""Floating point exceptions of a program that can unmask them (M147): raised, masked, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import SimulationError
from onewafer.image import ALL_MASKED, MASKABLE
from onewafer.simulator.arithmetic.exceptions import NAMES, is_exceptions_register
from onewafer.simulator.protocol.messages import unmasked_exceptions
from onewafer.simulator.reference.compute_element.memory import ADDRESS_MASK

if TYPE_CHECKING:
    from onewafer.simulator.state.schema import MachineState


class Raised:
    """The exceptions that the operations of a program have raised since the last query."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = 0

    def add(self, bits: int) -> None:
        """Note exceptions of an operation."""
        self._bits |= bits

    def take(self) -> int:
        """Return the noted exceptions, and clear them."""
        bits, self._bits = self._bits, 0
        return bits


class Exceptions:
    """The exceptions that stop the program of an element."""

    __slots__ = ("_index", "_raised", "_state")

    def __init__(self, raised: Raised, state: MachineState, index: int) -> None:
        self._raised = raised
        self._state = state
        self._index = index

    def is_at(self, address: int, num_bytes: int) -> bool:
        """Tell whether the mask is the register at a byte address."""
        return is_exceptions_register(address & ADDRESS_MASK, num_bytes)

    @property
    def mask(self) -> int:
        """A 0 for each exception that stops the program."""
        return ALL_MASKED ^ int(self._state.unmasked_exceptions[self._index])

    @mask.setter
    def mask(self, word: int) -> None:
        self._state.unmasked_exceptions[self._index] = ~word & MASKABLE

    def check(self) -> None:
        """Raise `SimulationError` if an unmasked exception was raised since the last check."""
        bits = self._raised.take() & ~self.mask
        if bits:
            names = [name for bit, name in NAMES.items() if bits & bit]
            raise SimulationError(unmasked_exceptions(names))


def exceptions_of_element(
    raised: Raised | None, state: MachineState, index: int
) -> Exceptions | None:
    """Return the exceptions of an element, if its program may unmask them."""
    return None if raised is None else Exceptions(raised, state, index)


def check_exceptions(exceptions: Exceptions | None) -> None:
    """Raise `SimulationError` if the last action of an element raised an unmasked exception."""
    if exceptions is not None:
        exceptions.check()
