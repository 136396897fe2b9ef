"""Object code: what `generate` hands to `plan` and `link`.

In: the typed IR. Out: instructions with every opcode, operand and constant decided. Unknown at
this point: program counters, numbers of registers, addresses of variables.

    program     := ObjectFunction* DsdDescriptor* DsdConfig* message*             (ObjectProgram)
    function    := (Instruction | Label)*                                         (ObjectFunction)
    operand     := Register | DsrOperand | ScalarOperand | Condition | None
    immediate   := int | Word | Label | ir.Function
    word        := Constant | Address | DsdBaseWord | DsdShapeWord

A `Register` is a slot of the frame of a function; frames are placed once the call graph is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onewafer.image import IMMEDIATE_BYTES, IMMEDIATE_OPCODES, INSTRUCTIONS, Opcode

if TYPE_CHECKING:
    from onewafer.csl import ir
    from onewafer.diagnostics import Span
    from onewafer.image import DsdConfig, DsdDescriptor, OperandMode


@dataclass(frozen=True, slots=True)
class Register:
    """Slot `slot` of the frame of `function`; without a function, the register that is zero."""

    function: ir.Function | None
    slot: int

    @property
    def second(self) -> Register:
        """The other register of a pair: of a DSD, or the high word of a wide integer."""
        return Register(self.function, self.slot + 1)


ZERO: Final = Register(None, 0)


@dataclass(frozen=True, slots=True)
class DsrOperand:
    """A data structure register of a DSD instruction."""

    mode: OperandMode
    index: int


@dataclass(frozen=True, slots=True)
class ScalarOperand:
    """A register of a DSD instruction: the scalar itself (REGISTER) or its address (POINTER)."""

    mode: OperandMode
    register: Register


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of an instruction's effect, in `rc` (M153): the register is zero, or not."""

    register: Register
    is_set: bool
    """True: the register is not zero."""


Operand = Register | DsrOperand | ScalarOperand | Condition | None


@dataclass(frozen=True, slots=True)
class Constant:
    """A canonical word; with `per_pe`, a row of `ir.InstanceIr.per_pe`."""

    word: int
    per_pe: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Byte address of a variable plus an offset."""

    variable: ir.Global
    offset: int = 0
    array: tuple[int, int] | None = None
    """See `ir.AddressOf`."""


@dataclass(frozen=True, slots=True)
class DsdBaseWord:
    """Word 0 of a DSD value: base address and extent."""

    base: Constant | Address
    extent: Constant


@dataclass(frozen=True, slots=True)
class DsdShapeWord:
    """Word 1 of a DSD value: stride and number of the descriptor."""

    stride: Constant
    descriptor: int
    saves_address: bool = False
    """Allowed in a DSR only."""


Word = Constant | Address | DsdBaseWord | DsdShapeWord
Words = tuple[Word, ...]
"""One word, or the two of a pair."""


@dataclass(frozen=True, slots=True)
class ResultRegister:
    """The register that gets the result of a DSD instruction."""

    register: Register


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A place in the code of one function; identity is the object."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One row of the instruction table before its fields are numbers."""

    opcode: Opcode
    type: int = 0
    """`ScalarType`, or `DsdOperation` for DSD."""
    rd: Operand = None
    ra: Operand = None
    rb: Operand = None
    rc: Operand = None
    imm: int | Word | Label | ir.Function = 0
    aux: DsdShapeWord | ResultRegister | int = 0
    """Equal on all PEs: patches cannot change it."""
    span: Span | None = None

    @property
    def has_immediate(self) -> bool:
        """True if its second operand, or the stored value, is an immediate."""
        if self.rb != ZERO:
            return False
        if self.opcode is Opcode.STORE:
            return self.aux != 0
        return self.imm != 0 and self.opcode in IMMEDIATE_OPCODES

    @property
    def num_bytes(self) -> int:
        """Size in PE memory."""
        own = INSTRUCTIONS[self.opcode].num_bytes
        return own + IMMEDIATE_BYTES if self.has_immediate else own

    @property
    def ends_flow(self) -> bool:
        """True if the next instruction is reached only through a label."""
        return self.opcode in _ENDS_FLOW


_ENDS_FLOW: Final = frozenset({Opcode.JUMP, Opcode.RETURN, Opcode.END_TASK})


@dataclass(frozen=True, slots=True, eq=False)
class ObjectFunction:
    """The code of one function and the size of its frame."""

    function: ir.Function
    items: tuple[Instruction | Label, ...]
    num_slots: int
    parameters: tuple[Register, ...]
    slots_at_calls: dict[ir.Function, int] = field(default_factory=dict["ir.Function", int])
    """Callees → live slots during the call; all slots, for callees that are not listed."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectProgram:
    """The code of one instance and the tables that it indexes."""

    instance: ir.InstanceIr
    functions: tuple[ObjectFunction, ...]
    callees: dict[ir.Function, tuple[ir.Function, ...]]
    """Function → the functions that it calls."""
    descriptors: DescriptorTable
    configs: tuple[DsdConfig, ...]
    messages: tuple[str, ...]


@dataclass(slots=True)
class DescriptorTable:
    """Interned descriptors: `number()` of equal ones is equal. Initial data add to it at `link`."""

    rows: list[DsdDescriptor] = field(default_factory=list["DsdDescriptor"])
    _number: dict[DsdDescriptor, int] = field(default_factory=dict["DsdDescriptor", int])

    def number(self, descriptor: DsdDescriptor) -> int:
        """Return the index of a descriptor, adding it when new."""
        if descriptor not in self._number:
            self._number[descriptor] = len(self.rows)
            self.rows.append(descriptor)
        return self._number[descriptor]


def to_constant(expression: ir.Immediate) -> Constant:
    """Return the word of an immediate."""
    per_pe = expression.per_pe
    return Constant(expression.word, None if per_pe is None else per_pe.index)


def to_int32(word: int) -> int:
    """Return a 32-bit word as a signed number, the form in which tables hold it."""
    return ((word & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000
