"""The instruction table: PE bytecode, its fields, sizes and cost classes.

In: nothing. Out: the vocabulary that `csl.codegen` writes and the simulator executes. A program is
an int32 array `code[num_instructions, 8]`; a row is

    opcode  type  rd  ra  rb  rc  imm  aux          (columns of `Field`)

`rd ra rb rc` name virtual registers (frame slots; those of functions that may run at once do not
overlap, functions that jump to one another share theirs) unless the table says otherwise. `type` is a `ScalarType`, or a `DsdOperation` for DSD.
A program counter is a row index. Register 0 is always zero and is never written.

A DSD value is two consecutive registers (or 8 bytes of memory, low word first):

    word 0   bits 0–15 base byte address, bits 16–31 extent (elements; 0x7fff on fabric: endless)
    word 1   bits 0–15 stride (signed, elements), bits 16–30 index into `TileProgram.dsds`,
             bit 31, in a DSR only: `SAVES_ADDRESS`

and everything else about it (kind, color, queue, mem4d shape) is in that `DsdDescriptor`.

An instruction of `IMMEDIATE_OPCODES` whose `rb` is 0 takes the canonical word in `imm` instead, and
STORE the one in `aux`: a number of 16 bits, which takes `IMMEDIATE_BYTES` more.

An instruction of `CONDITIONAL_OPCODES` has a *condition* (M153) if its `rc` is not 0: a positive
one says that register `rc` must not be zero, a negative one that register `-rc` must be zero.

An operand of a DSD instruction (`rd ra rb rc`) is `OperandMode << 16 | index`, see `operand()`.
The length of the operation is that of src0 if non-zero, else src1, else dest, else 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Field(IntEnum):
    """Columns of an instruction row."""

    OPCODE = 0
    TYPE = 1
    RD = 2
    RA = 3
    RB = 4
    RC = 5
    IMM = 6
    AUX = 7


NUM_FIELDS = len(Field)
SYNCHRONOUS = -1
"""`imm` of a DSD instruction that the main thread waits for."""
IN_MAP = 1
"""A bit of `aux`: a synchronous DSD instruction is part of a map loop."""
RESULT_SHIFT = 1
"""`aux >> RESULT_SHIFT`: register for the result of a synchronous DSD instruction (M116); 0: none."""
SAVES_ADDRESS = 1 << 31
"""Bit of word 1 of a DSR: an operation advances the register past the elements that it used."""
DSD_NUMBER_MASK = 0x7FFF
"""Bits of the descriptor's index in the high half of word 1."""
IMMEDIATE_BYTES = 2
"""Bytes that an operand in the instruction itself adds to its size."""
RETURN_STACK_DEPTH = 32
"""Return addresses that a PE holds (CALL). *assumed*"""


class CostClass(IntEnum):
    """The cost class of an instruction on the main thread; cycles are in `arch` timing profiles."""

    NONE = 0
    INTEGER = 1
    MULTIPLY = 2
    DIVIDE = 3
    FLOAT = 4
    FLOAT_DIVIDE = 5
    LOAD = 6
    STORE = 7
    BRANCH = 8
    """Conditional: two costs, not taken and taken."""
    JUMP = 9
    CALL = 10
    DSR_LOAD = 11
    DSD = 12
    CONTROL = 13
    """activate, block, unblock, coordinates, timestamps."""
    MAP_STEP = 14
    """The step from one element of a map loop to the next."""
    LOAD_WORD = 15
    """A load of 32 bits."""
    STORE_WORD = 16
    """A store of 32 bits."""
    END_TASK = 17
    FLOAT_WAIT = 18
    """A float instruction whose operand is the result of the instruction just before."""
    FLAG_WAIT = 19
    """A conditional branch whose flag is the result of the instruction just before."""
    DSR_WAIT_0 = 20
    """A DSD operation one of whose DSRs the instruction just before loads."""
    DSR_WAIT_1 = 21
    """A DSD operation one of whose DSRs is loaded with one instruction between."""
    DSR_WAIT_2 = 22
    """A DSD operation one of whose DSRs is loaded with two instructions between."""


class Opcode(IntEnum):
    """Operations of the main thread; `INSTRUCTIONS` documents each."""

    # control flow
    END_TASK = 0
    JUMP = 1
    BRANCH_ZERO = 2
    BRANCH_NONZERO = 3
    CALL = 4
    RETURN = 5
    TRAP = 6
    # data movement
    LOAD_IMMEDIATE = 7
    MOVE = 8
    LOAD = 9
    STORE = 10
    # scalar arithmetic, in `type`
    ADD = 11
    SUB = 12
    MUL = 13
    DIV = 14
    REM = 15
    NEG = 16
    AND = 17
    OR = 18
    XOR = 19
    NOT = 20
    SHL = 21
    SHR = 22
    EQUAL = 23
    NOT_EQUAL = 24
    LESS = 25
    LESS_EQUAL = 26
    CONVERT = 27
    # data structure descriptors
    DSD_SET_BASE = 28
    DSD_SET_LENGTH = 29
    DSD_SET_STRIDE = 30
    DSD_ADVANCE = 31
    DSR_LOAD = 32
    DSD = 33
    # tasks and machine
    ACTIVATE = 34
    BLOCK = 35
    UNBLOCK = 36
    UNBLOCK_COMMAND_STREAM = 37
    COORDINATE = 38
    TIMESTAMP = 39
    TIMESTAMP_CONTROL = 40
    DSR_LOAD_CONSTANT = 41
    # map loops
    MAP_BEGIN = 42
    MAP_READ = 43
    MAP_WRITE = 44
    MAP_STEP = 45
    # the simulator's own
    PRINT = 46
    # FIFOs
    FIFO_SET_LENGTH = 47


@dataclass(frozen=True, slots=True)
class InstructionInfo:
    """One row of the instruction table."""

    opcode: Opcode
    operands: str
    """Fields it reads and writes, in assembly order, for the listing."""
    num_bytes: int
    """Size in PE memory. *assumed*: 16-bit words, one per register pair plus one per immediate half."""
    cost: CostClass
    meaning: str


def _row(
    opcode: Opcode, operands: str, num_bytes: int, cost: CostClass, meaning: str
) -> tuple[Opcode, InstructionInfo]:
    return opcode, InstructionInfo(opcode, operands, num_bytes, cost, meaning)


_O, _C = Opcode, CostClass
INSTRUCTIONS: dict[Opcode, InstructionInfo] = dict(
    (
        _row(_O.END_TASK, "", 2, _C.END_TASK, "finish the running task and give the main thread to the picker"),
        _row(_O.JUMP, "imm", 4, _C.JUMP, "pc = imm"),
        _row(_O.BRANCH_ZERO, "ra imm", 4, _C.BRANCH, "if ra == 0: pc = imm"),
        _row(_O.BRANCH_NONZERO, "ra imm", 4, _C.BRANCH, "if ra != 0: pc = imm"),
        _row(_O.CALL, "imm", 4, _C.CALL, f"push pc + 1 on the return stack ({RETURN_STACK_DEPTH} deep), pc = imm"),
        _row(_O.RETURN, "", 2, _C.CALL, "pop pc; with an empty stack: as END_TASK (a launched function)"),
        _row(_O.TRAP, "ra imm", 4, _C.BRANCH, "if ra == 0: stop the simulation with message number imm (@assert)"),
        _row(_O.LOAD_IMMEDIATE, "rd imm", 6, _C.INTEGER, "rd = imm (canonical in `type`)"),
        _row(_O.MOVE, "rd ra", 2, _C.INTEGER, "rd = ra"),
        _row(_O.LOAD, "rd ra imm", 4, _C.LOAD, "rd = memory[(ra + imm) mod 64 KiB] of `type`, canonical"),
        _row(_O.STORE, "ra imm rb", 4, _C.STORE, "memory[(ra + imm) mod 64 KiB] = rb, the low bytes of `type`"),
        _row(_O.ADD, "rd ra rb", 2, _C.INTEGER, "rd = ra + rb, wrapping / rounded to nearest even"),
        _row(_O.SUB, "rd ra rb", 2, _C.INTEGER, "rd = ra − rb"),
        _row(_O.MUL, "rd ra rb", 2, _C.MULTIPLY, "rd = ra · rb"),
        _row(_O.DIV, "rd ra rb", 2, _C.DIVIDE, "rd = ra / rb; integers truncate toward zero, x / 0 = 0"),
        _row(_O.REM, "rd ra rb", 2, _C.DIVIDE, "rd = ra − trunc(ra / rb) · rb; integers only, x % 0 = x"),
        _row(_O.NEG, "rd ra", 2, _C.INTEGER, "rd = −ra; floats flip the sign bit"),
        _row(_O.AND, "rd ra rb", 2, _C.INTEGER, "bitwise and"),
        _row(_O.OR, "rd ra rb", 2, _C.INTEGER, "bitwise or"),
        _row(_O.XOR, "rd ra rb", 2, _C.INTEGER, "bitwise exclusive or"),
        _row(_O.NOT, "rd ra", 2, _C.INTEGER, "bitwise complement; logical for BOOL"),
        _row(_O.SHL, "rd ra rb", 2, _C.INTEGER, "shift left; counts ≥ the width give 0"),
        _row(_O.SHR, "rd ra rb", 2, _C.INTEGER, "shift right, arithmetic for signed types"),
        _row(_O.EQUAL, "rd ra rb", 2, _C.INTEGER, "rd = ra == rb (NaN is unequal)"),
        _row(_O.NOT_EQUAL, "rd ra rb", 2, _C.INTEGER, "rd = ra != rb"),
        _row(_O.LESS, "rd ra rb", 2, _C.INTEGER, "rd = ra < rb in `type`"),
        _row(_O.LESS_EQUAL, "rd ra rb", 2, _C.INTEGER, "rd = ra <= rb in `type`"),
        _row(_O.CONVERT, "rd ra imm", 2, _C.INTEGER, "rd = ra of `type` as ScalarType imm (CSL @as)"),
        _row(_O.DSD_SET_BASE, "rd ra rb", 4, _C.INTEGER, "DSD pair rd = DSD pair ra with base address rb"),
        _row(_O.DSD_SET_LENGTH, "rd ra rb", 4, _C.INTEGER, "DSD pair rd = DSD pair ra with extent rb"),
        _row(_O.DSD_SET_STRIDE, "rd ra rb", 4, _C.INTEGER, "DSD pair rd = DSD pair ra with stride rb"),
        _row(_O.DSD_ADVANCE, "rd ra rb imm", 4, _C.INTEGER, "DSD pair rd = ra with base += rb · imm (imm: element bytes)"),
        _row(_O.DSR_LOAD, "rd ra imm", 4, _C.DSR_LOAD, "DSR rd (operand() of mode DSR_*) = DSD pair ra; with imm 1 it saves its address"),
        _row(_O.DSR_LOAD_CONSTANT, "rd imm aux", 10, _C.DSR_LOAD, "DSR rd = the DSD value with low word imm and high word aux"),
        _row(_O.DSD, "rd ra rb rc imm aux", 8, _C.DSD, "operation `type`: dest rd, src0 ra, src1 rb, scalar rc, config imm (−1: synchronous); aux 1: part of a map loop, else twice the register that gets its result"),
        _row(_O.ACTIVATE, "imm", 2, _C.CONTROL, "make local task imm pending"),
        _row(_O.BLOCK, "imm", 2, _C.CONTROL, "block channel imm, a `channel()`"),
        _row(_O.UNBLOCK, "imm", 2, _C.CONTROL, "unblock channel imm, a `channel()`"),
        _row(_O.UNBLOCK_COMMAND_STREAM, "", 2, _C.CONTROL, "accept the next host command on this PE"),
        _row(_O.COORDINATE, "rd imm", 2, _C.CONTROL, "rd = program-relative x (imm 0) or y (imm 1) of this PE"),
        _row(_O.TIMESTAMP, "ra imm", 4, _C.CONTROL, "store the 48-bit cycle counter (imm 0) or the cycle since loading (imm 1) at address ra, three u16, low first"),
        _row(_O.TIMESTAMP_CONTROL, "imm", 2, _C.CONTROL, "counter: 0 stop, 1 reset and start, 2 reset"),
        _row(_O.MAP_BEGIN, "ra imm", 4, _C.DSD, "enter a map loop of ra elements; if ra == 0: pc = imm"),
        _row(_O.MAP_READ, "rd ra", 2, _C.NONE, "rd = memory[base of DSD pair ra] of `type`, canonical; base += stride · bytes of `type`"),
        _row(_O.MAP_WRITE, "ra rb", 2, _C.NONE, "memory[base of DSD pair ra] = rb, the low bytes of `type`; base += stride · bytes of `type`"),
        _row(_O.MAP_STEP, "ra imm", 4, _C.MAP_STEP, "ra = ra − 1; if ra != 0: pc = imm"),
        _row(_O.PRINT, "ra imm aux", 4, _C.CONTROL, "give ra of `type` to the host in form imm (PrintForm); TEXT: message number aux"),
        _row(_O.FIFO_SET_LENGTH, "ra imm", 4, _C.CONTROL, "length imm, a `fifo_length()`, = ra"),
    )
)  # fmt: skip


IMMEDIATE_OPCODES = frozenset(
    (
        *(_O.ADD, _O.SUB, _O.MUL, _O.DIV, _O.REM, _O.AND, _O.OR, _O.XOR, _O.SHL, _O.SHR),
        *(_O.EQUAL, _O.NOT_EQUAL, _O.LESS, _O.LESS_EQUAL),
    )
)
"""Instructions whose second operand may be an integer in `imm`."""


CONDITIONAL_OPCODES = frozenset(
    (
        *(_O.LOAD_IMMEDIATE, _O.MOVE, _O.LOAD, _O.STORE, _O.COORDINATE),
        *(opcode for opcode in Opcode if _O.ADD <= opcode <= _O.CONVERT),
        *(_O.DSD_SET_BASE, _O.DSD_SET_LENGTH, _O.DSD_SET_STRIDE, _O.DSD_ADVANCE),
        *(_O.ACTIVATE, _O.BLOCK, _O.UNBLOCK, _O.UNBLOCK_COMMAND_STREAM),
    )
)
"""Instructions that may have a condition: those whose time does not depend on their effect."""


def condition_of(opcode: int, rc: int) -> int:
    """Return the condition of an instruction; 0: it has none."""
    return rc if opcode in CONDITIONAL_OPCODES else 0


def has_immediate(opcode: int, *, rb: int, imm: int, aux: int) -> bool:
    """Tell whether an instruction holds its second operand, or the value it stores, as a constant."""
    if rb:
        return False
    return bool(aux) if opcode == Opcode.STORE else bool(imm) and opcode in IMMEDIATE_OPCODES


def size_of(row: Sequence[int]) -> int:
    """Return the bytes that an instruction takes in PE memory."""
    opcode, rb = Opcode(row[Field.OPCODE]), row[Field.RB]
    is_longer = has_immediate(opcode, rb=rb, imm=row[Field.IMM], aux=row[Field.AUX])
    return INSTRUCTIONS[opcode].num_bytes + (IMMEDIATE_BYTES if is_longer else 0)


_FLOAT_COSTS = {
    CostClass.INTEGER: CostClass.FLOAT,
    CostClass.MULTIPLY: CostClass.FLOAT,
    CostClass.DIVIDE: CostClass.FLOAT_DIVIDE,
}
_FIRST_FLOAT_TYPE = 7
"""`ScalarType.F16`; the types are not imported here."""
_WORD_TYPES = (5, 6, 8)
"""`ScalarType.I32`, `U32` and `F32`."""
_WORD_COSTS = {CostClass.LOAD: CostClass.LOAD_WORD, CostClass.STORE: CostClass.STORE_WORD}
_TYPED_ARITHMETIC = range(Opcode.ADD, Opcode.CONVERT + 1)


def cost_class(opcode: Opcode, type_: int) -> CostClass:
    """Return the cost class of an instruction, which for some depends on its type."""
    cost = INSTRUCTIONS[opcode].cost
    if type_ in _WORD_TYPES and cost in _WORD_COSTS:
        return _WORD_COSTS[cost]
    if opcode in _TYPED_ARITHMETIC and type_ >= _FIRST_FLOAT_TYPE:
        return _FLOAT_COSTS[cost]
    return cost


class PrintForm(IntEnum):
    """Formats in which PRINT writes a value."""

    TEXT = 0
    DECIMAL = 1
    HEXADECIMAL = 2
    """Upper case, as many digits as the type has."""
    BINARY = 3
    """Binary, with all digits of the type."""
    FLOAT = 4


class OperandMode(IntEnum):
    """Kinds of operands of a DSD instruction."""

    NONE = 0
    DSR_DEST = 1
    DSR_SRC0 = 2
    DSR_SRC1 = 3
    REGISTER = 4
    """The scalar in a register (a source)."""
    POINTER = 5
    """The scalar in memory whose address is in a register (a destination)."""


def operand(mode: OperandMode, index: int = 0) -> int:
    """Encode a DSD operand: DSR number 0–15 or register number."""
    return (mode << 16) | index


def decode_operand(encoded: int) -> tuple[OperandMode, int]:
    """Undo `operand`."""
    return OperandMode(encoded >> 16), encoded & 0xFFFF


class ChannelKind(IntEnum):
    """The kinds of channels that BLOCK and UNBLOCK name."""

    LOCAL_TASK = 0
    COLOR = 1
    """WSE-2 data channel."""
    INPUT_QUEUE = 2
    """WSE-3 data channel."""
    MICROTHREAD = 3
    """WSE-3: operations of a microthread wait (M146)."""


def channel(kind: ChannelKind, number: int) -> int:
    """Encode the operand of BLOCK and UNBLOCK."""
    return (kind << 8) | number


def fifo_length(fifo: int, *, is_written: bool) -> int:
    """Encode the operand of FIFO_SET_LENGTH: which FIFO, and its length for writes or reads."""
    return fifo * NUM_FIFO_SIDES + is_written


NUM_FIFO_SIDES = 2
"""Lengths of a FIFO."""


class DsdOperation(IntEnum):
    """Vector operations. `DSD_OPERATIONS` gives arity, element type and meaning."""

    MOV16 = 0
    MOV32 = 1
    ADD16 = 2
    SUB16 = 3
    AND16 = 4
    OR16 = 5
    XOR16 = 6
    FADDH = 7
    FSUBH = 8
    FMULH = 9
    FMAXH = 10
    FMOVH = 11
    FNEGH = 12
    FMACH = 13
    FADDS = 14
    FSUBS = 15
    FMULS = 16
    FMAXS = 17
    FMOVS = 18
    FNEGS = 19
    FMACS = 20
    FMACHS = 21
    FADDHS = 22
    FH2S = 23
    FS2H = 24
    SAR16 = 25
    SLL16 = 26
    SLR16 = 27
    CLZ = 28
    CTZ = 29
    POPCNT = 30
    FABSH = 31
    FABSS = 32
    FSCALEH = 33
    FSCALES = 34
    FH2XP16 = 35
    FS2XP16 = 36
    XP162FH = 37
    XP162FS = 38
    ADDC16 = 39
    FNORMH = 40
    FNORMS = 41


ScalarTypeName = str
"""`u16`, `u32`, `f16` or `f32`; the width decides the step through memory."""


@dataclass(frozen=True, slots=True)
class DsdOperationInfo:
    """Element types of the operands (None: absent) and what one element computes."""

    dest: ScalarTypeName
    src0: ScalarTypeName | None
    src1: ScalarTypeName | None
    scalar: ScalarTypeName | None
    meaning: str


def _op(
    dest: str, src0: str | None, src1: str | None, scalar: str | None, meaning: str
) -> DsdOperationInfo:
    return DsdOperationInfo(dest, src0, src1, scalar, meaning)


_D = DsdOperation
DSD_OPERATIONS: dict[DsdOperation, DsdOperationInfo] = {
    _D.MOV16: _op("u16", None, "u16", None, "d = s1"),
    _D.MOV32: _op("u32", None, "u32", None, "d = s1"),
    _D.ADD16: _op("u16", "u16", "u16", None, "d = s0 + s1, wrapping"),
    _D.SUB16: _op("u16", "u16", "u16", None, "d = s0 − s1, wrapping"),
    _D.AND16: _op("u16", "u16", "u16", None, "d = s0 & s1"),
    _D.OR16: _op("u16", "u16", "u16", None, "d = s0 | s1"),
    _D.XOR16: _op("u16", "u16", "u16", None, "d = s0 ^ s1"),
    _D.FADDH: _op("f16", "f16", "f16", None, "d = s0 + s1"),
    _D.FSUBH: _op("f16", "f16", "f16", None, "d = s0 − s1"),
    _D.FMULH: _op("f16", "f16", "f16", None, "d = s0 · s1"),
    _D.FMAXH: _op("f16", "f16", "f16", None, "d = max(s0, s1)"),
    _D.FMOVH: _op("f16", None, "f16", None, "d = s1"),
    _D.FNEGH: _op("f16", None, "f16", None, "d = −s1"),
    _D.FMACH: _op("f16", "f16", "f16", "f16", "d = s0 + s1 · scalar, one rounding"),
    _D.FADDS: _op("f32", "f32", "f32", None, "d = s0 + s1"),
    _D.FSUBS: _op("f32", "f32", "f32", None, "d = s0 − s1"),
    _D.FMULS: _op("f32", "f32", "f32", None, "d = s0 · s1"),
    _D.FMAXS: _op("f32", "f32", "f32", None, "d = max(s0, s1)"),
    _D.FMOVS: _op("f32", None, "f32", None, "d = s1"),
    _D.FNEGS: _op("f32", None, "f32", None, "d = −s1"),
    _D.FMACS: _op("f32", "f32", "f32", "f32", "d = s0 + s1 · scalar, one rounding"),
    _D.FMACHS: _op(
        "f32", "f32", "f16", "f16", "d = s0 + f32(s1 · scalar), product exact, one rounding"
    ),
    _D.FADDHS: _op("f32", "f32", "f16", None, "d = s0 + f32(s1)"),
    _D.FH2S: _op("f32", None, "f16", None, "d = f32(s1)"),
    _D.FS2H: _op("f16", None, "f32", None, "d = f16(s1), to nearest even"),
    _D.SAR16: _op("u16", "u16", "u16", None, "d = s0 >> s1, keeping the sign"),
    _D.SLL16: _op("u16", "u16", "u16", None, "d = s0 << s1; counts ≥ 16 give 0"),
    _D.SLR16: _op("u16", "u16", "u16", None, "d = s0 >> s1, shifting in zeros"),
    _D.CLZ: _op("u16", None, "u16", None, "d = number of zero bits above the highest one of s1"),
    _D.CTZ: _op("u16", None, "u16", None, "d = number of zero bits below the lowest one of s1"),
    _D.POPCNT: _op("u16", None, "u16", None, "d = number of ones among the bits of s1"),
    _D.FABSH: _op("f16", None, "f16", None, "d = |s1|"),
    _D.FABSS: _op("f32", None, "f32", None, "d = |s1|"),
    _D.FSCALEH: _op("f16", None, "f16", "u16", "d = s1 · 2^scalar (i16), one rounding"),
    _D.FSCALES: _op("f32", None, "f32", "u16", "d = s1 · 2^scalar (i16), one rounding"),
    _D.FH2XP16: _op("u16", None, "f16", None, "d = i16(s1), toward zero"),
    _D.FS2XP16: _op("u16", None, "f32", None, "d = i16(s1), toward zero"),
    _D.XP162FH: _op("f16", None, "u16", None, "d = f16(i16 s1), to nearest even"),
    _D.XP162FS: _op("f32", None, "u16", None, "d = f32(i16 s1)"),
    _D.ADDC16: _op("u16", "u16", "u16", None, "d = s0 + s1 + carry, wrapping; see M140"),
    _D.FNORMH: _op("f16", None, "f16", None, "d = significand of s1, with its sign; see M141"),
    _D.FNORMS: _op("f32", None, "f32", None, "d = significand of s1, with its sign; see M141"),
}
