"""Unwritten parts of a struct may be copied with the rest of it; their use is reported (M14).

A register loaded with unwritten bytes has a *shadow*: its missing bytes and their source. Moves and
stores propagate it; every other instruction that reads the register stops the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onewafer.errors import SimulationError
from onewafer.image import INSTRUCTIONS, Opcode, OperandMode, decode_operand

if TYPE_CHECKING:
    from onewafer.simulator.reference.compute_element.instructions import Instruction


@dataclass(frozen=True, slots=True)
class Missing:
    """The shadow of a register."""

    bytes: int
    """Bit i set: byte i was not written."""
    source: int
    """Address of the original unwritten byte."""
    message: str


_TAKES_PAIR: Final = frozenset(
    {
        *(Opcode.DSD_SET_BASE, Opcode.DSD_SET_LENGTH, Opcode.DSD_SET_STRIDE, Opcode.DSD_ADVANCE),
        *(Opcode.DSR_LOAD, Opcode.MAP_READ, Opcode.MAP_WRITE),
    }
)
"""Instructions whose `ra` is the first of two registers."""
_GIVES_PAIR: Final = _TAKES_PAIR - {Opcode.DSR_LOAD, Opcode.MAP_READ, Opcode.MAP_WRITE}
_NO_REGISTER: Final = frozenset({Opcode.DSD, Opcode.DSR_LOAD, Opcode.DSR_LOAD_CONSTANT})
"""Instructions whose `rd` is not a register."""
_VALUES: Final = (OperandMode.REGISTER, OperandMode.POINTER)


def used_registers(instruction: Instruction) -> tuple[int, ...]:
    """Return the registers that an instruction uses other than by moving their values."""
    opcode = instruction.opcode
    if opcode is Opcode.DSD:
        fields = instruction.rd, instruction.ra, instruction.rb, instruction.rc
        operands = [decode_operand(field) for field in fields if field]
        return tuple(index for mode, index in operands if mode in _VALUES)
    names = INSTRUCTIONS[opcode].operands.split()
    used: list[int] = []
    if "ra" in names and opcode is not Opcode.MOVE:
        used.append(instruction.ra)
        if opcode in _TAKES_PAIR:
            used.append(instruction.ra + 1)
    if "rb" in names and opcode is not Opcode.STORE:
        used.append(instruction.rb)
    return tuple(used)


def set_registers(instruction: Instruction) -> tuple[int, ...]:
    """Return the registers that an instruction writes."""
    opcode = instruction.opcode
    if opcode in _NO_REGISTER or "rd" not in INSTRUCTIONS[opcode].operands.split():
        return ()
    pair = (instruction.rd + 1,) if opcode in _GIVES_PAIR else ()
    return instruction.rd, *pair


class Shadows:
    """The shadows of the registers of an element."""

    __slots__ = ("_missing",)

    def __init__(self) -> None:
        self._missing: dict[int, Missing] = {}

    def __bool__(self) -> bool:
        """Tell whether any register has a shadow."""
        return bool(self._missing)

    def of(self, register: int) -> Missing | None:
        """Return the shadow of a register; None: all of it was written."""
        return self._missing.get(register)

    def set(self, register: int, missing: Missing | None) -> None:
        """Give a register a shadow, or none."""
        if missing is None:
            self._missing.pop(register, None)
        else:
            self._missing[register] = missing

    def use(self, registers: tuple[int, ...]) -> None:
        """Raise `SimulationError` if one of some registers holds unwritten bytes."""
        for register in registers:
            missing = self._missing.get(register)
            if missing is not None:
                raise SimulationError(missing.message)
