"""The emission of instructions of one function, with its frame, registers and constants.

`expressions` emits the code of values; code on values that are already computed (`wide`) needs
only this class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.csl import ir
from onewafer.csl.codegen.object_code import (
    ZERO,
    Constant,
    DsdShapeWord,
    Instruction,
    Label,
    Register,
    ResultRegister,
    Word,
    Words,
    to_int32,
)
from onewafer.image import Opcode, ScalarType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.csl.codegen.frame import Frame
    from onewafer.csl.codegen.object_code import Operand
    from onewafer.diagnostics import Span

SHORT_BITS: Final = 16
"""Bits of a number in an instruction."""


def is_short(word: int) -> bool:
    """Tell whether an instruction can hold a word."""
    return -1 << SHORT_BITS - 1 <= to_int32(word) < 1 << SHORT_BITS


@dataclass(slots=True)
class Emitter(ABC):
    """Emits instructions of one function."""

    function: ir.Function
    frame: Frame
    items: list[Instruction | Label] = field(default_factory=list["Instruction | Label"])
    registers: dict[ir.Local, Register] = field(default_factory=dict[ir.Local, Register])
    hoisted: dict[Words, Register] = field(default_factory=dict[Words, Register])
    """Constants that the enclosing loop keeps in registers."""
    wanted: dict[Words, None] = field(default_factory=dict[Words, None])
    """Constants that were loaded into temporaries: candidates for hoisting."""
    optimizes: bool = True
    """True if instructions may have immediate operands, and descriptors share a register."""
    span: Span | None = None

    @abstractmethod
    def evaluate(self, expression: ir.Expression, dest: Register | None = None) -> Register:
        """Compute a value into `dest`, or the cheapest register; return the register."""

    @abstractmethod
    def evaluate_all(self, values: Sequence[ir.Expression]) -> list[Register]:
        """Compute several values; return their registers."""

    def emit(
        self,
        opcode: Opcode,
        type_: int = 0,
        *,
        rd: Operand = None,
        ra: Operand = None,
        rb: Operand = None,
        rc: Operand = None,
        imm: int | Word | Label | ir.Function = 0,
        aux: DsdShapeWord | ResultRegister | int = 0,
    ) -> None:
        """Append an instruction at the current source place."""
        self.items.append(Instruction(opcode, type_, rd, ra, rb, rc, imm, aux, self.span))

    def bind(self, label: Label) -> None:
        """Define a label at the current place."""
        self.items.append(label)

    def move(self, source: Register, dest: Register, width: int) -> None:
        """Copy a value unless it is already there.

        The word that the other move would overwrite goes first; `link` orders moves between frames.
        """
        moves = [(source, dest), (source.second, dest.second)][:width]
        if dest == source.second:
            moves.reverse()
        for word, place in moves:
            if word != place:
                self.emit(Opcode.MOVE, rd=place, ra=word)

    def constant(
        self, words: Words, dest: Register | None, type_: ScalarType = ScalarType.U32
    ) -> Register:
        """Return a register (pair) that holds constant words."""
        held = ZERO if words == (Constant(0),) else self.hoisted.get(words)
        if held is not None:
            return self.deliver(held, dest, len(words))
        if dest is None:
            self.wanted[words] = None
            dest = self.frame.allocate(len(words))
        for register, word in zip((dest, dest.second), words, strict=False):
            if word == Constant(0):
                self.emit(Opcode.MOVE, rd=register, ra=ZERO)
            else:
                self.emit(Opcode.LOAD_IMMEDIATE, type_, rd=register, imm=word)
        return dest

    def deliver(self, source: Register, dest: Register | None, width: int) -> Register:
        """Move a value to `dest`, if one is given; return its register."""
        if dest is None:
            return source
        self.move(source, dest, width)
        return dest

    def short_word(self, value: ir.Expression, type_: ScalarType) -> int | None:
        """Return the word of a constant that fits into an instruction; None otherwise.

        The operands of an unsigned operation may be signed, as in a difference of signed numbers.
        """
        match value:
            case ir.Immediate(per_pe=None, word=word) if self.optimizes:
                word = ir.canonical_word(word, type_)
                return word if is_short(word) else None
            case _:
                return None

    def with_number(
        self, opcode: Opcode, type_: ScalarType, ra: Register, number: int, dest: Register | None
    ) -> Register:
        """Emit an operation whose second operand is a constant."""
        dest = dest or self.frame.allocate()
        if self.optimizes and is_short(number):
            self.emit(opcode, type_, rd=dest, ra=ra, rb=ZERO, imm=number)
        else:
            rb = self.constant((Constant(number),), None, ScalarType.U16)
            self.emit(opcode, type_, rd=dest, ra=ra, rb=rb)
        return dest
