"""Rules for the instructions of a legal tile program, one a line.

In: a tile program and the machine it is meant for. Out: sentences, one for each breach, that name
the instruction. A rule never raises, whatever the program holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.image.instruction import (
    CONDITIONAL_OPCODES,
    DSD_NUMBER_MASK,
    DSD_OPERATIONS,
    IMMEDIATE_OPCODES,
    IN_MAP,
    INSTRUCTIONS,
    NUM_FIFO_SIDES,
    RESULT_SHIFT,
    SYNCHRONOUS,
    ChannelKind,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    PrintForm,
)
from onewafer.image.scalar import ScalarType

if TYPE_CHECKING:
    from onewafer.arch import Architecture
    from onewafer.image.program import SourceLocation, Task, TileProgram

Breaches = Iterator[str]
_WORD_BITS = 32
_SHORT_BITS = 16
"""Width of a constant operand in an instruction."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A program under examination."""

    program: TileProgram
    architecture: Architecture
    uses_memcpy: bool
    num_pes: int
    """PEs that run it."""
    rows: tuple[Row, ...]
    """The instructions whose opcode exists."""


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction with its fields by name."""

    pc: int
    opcode: Opcode
    kind: int
    fields: dict[str, int]
    location: SourceLocation | None

    @property
    def place(self) -> str:
        """Its name in messages."""
        return f"{_name_instruction(self.pc, self.location)} ({self.opcode.name})"


# --- instructions --------------------------------------------------------------------------------

_REGISTER_FIELDS = ("rd", "ra", "rb", "rc")
_BRANCHES = frozenset(
    (
        Opcode.JUMP,
        Opcode.BRANCH_ZERO,
        Opcode.BRANCH_NONZERO,
        Opcode.CALL,
        Opcode.MAP_BEGIN,
        Opcode.MAP_STEP,
    )
)
_UPDATES_RA = frozenset((Opcode.MAP_READ, Opcode.MAP_WRITE, Opcode.MAP_STEP))
"""Instructions that also write the register `ra`."""
_TERMINATORS = frozenset((Opcode.END_TASK, Opcode.JUMP, Opcode.RETURN))
_ENCODED_FIELDS = {
    Opcode.DSR_LOAD: frozenset(("rd",)),
    Opcode.DSR_LOAD_CONSTANT: frozenset(("rd",)),
    Opcode.DSD: frozenset(_REGISTER_FIELDS),
}
"""Fields that hold an `operand()` and not a register number."""
_PAIR_FIELDS = {
    Opcode.DSD_SET_BASE: frozenset(("rd", "ra")),
    Opcode.DSD_SET_LENGTH: frozenset(("rd", "ra")),
    Opcode.DSD_SET_STRIDE: frozenset(("rd", "ra")),
    Opcode.DSD_ADVANCE: frozenset(("rd", "ra")),
    Opcode.DSR_LOAD: frozenset(("ra",)),
    Opcode.MAP_READ: frozenset(("ra",)),
    Opcode.MAP_WRITE: frozenset(("ra",)),
}
"""Fields that name the first register of a DSD value."""
_OPCODES = {int(opcode): Opcode(opcode) for opcode in INSTRUCTIONS}
_REGISTERS_OF = {
    opcode: tuple(name for name in row.operands.split() if name in _REGISTER_FIELDS)
    for opcode, row in INSTRUCTIONS.items()
}
"""Fields that name registers, in the order of the operands."""
_WRITES_RD = frozenset(
    opcode
    for opcode, names in _REGISTERS_OF.items()
    if "rd" in names and "rd" not in _ENCODED_FIELDS.get(opcode, frozenset())
)
_NUM_DSD_OPERATIONS, _NUM_TYPES = len(DsdOperation), len(ScalarType)
_NUM_MODES = len(OperandMode)
_NO_OPERAND = frozenset((OperandMode.NONE,))
_ALL_TYPES = frozenset(ScalarType)
_INTEGERS = frozenset(t for t in ScalarType if not t.is_float and t is not ScalarType.BOOL)
_NUMBERS = _ALL_TYPES - {ScalarType.BOOL}
_BITS = _INTEGERS | {ScalarType.BOOL}
_LEGAL_TYPES = {
    Opcode.ADD: _NUMBERS,
    Opcode.SUB: _NUMBERS,
    Opcode.MUL: _NUMBERS,
    Opcode.DIV: _NUMBERS,
    Opcode.NEG: _NUMBERS,
    Opcode.REM: _INTEGERS,
    Opcode.SHL: _INTEGERS,
    Opcode.SHR: _INTEGERS,
    Opcode.AND: _BITS,
    Opcode.OR: _BITS,
    Opcode.XOR: _BITS,
    Opcode.NOT: _BITS,
}
DSR_MODES = frozenset((OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1))
_OPERAND_MODES = {
    "rd": frozenset((OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.POINTER)),
    "ra": frozenset((*DSR_MODES, OperandMode.REGISTER)),
    "rb": frozenset((OperandMode.DSR_SRC0, OperandMode.DSR_SRC1, OperandMode.REGISTER)),
    "rc": frozenset((OperandMode.REGISTER,)),
}
"""Field of a DSD instruction → the modes that its operand may have."""
_OPERAND_NAMES = {"rd": "dest", "ra": "src0", "rb": "src1", "rc": "scalar"}


def examine(
    program: TileProgram, architecture: Architecture, *, uses_memcpy: bool, num_pes: int
) -> Subject:
    """Return `program` with its instructions taken apart; its code is an instruction table."""
    rows = tuple(_rows(program))
    return Subject(program, architecture, uses_memcpy, num_pes, rows)


def _rows(program: TileProgram) -> Iterator[Row]:
    names = [field.name.lower() for field in Field]
    for pc, values in enumerate(program.code.tolist()):
        opcode = _OPCODES.get(values[0])
        if opcode is not None:
            fields = dict(zip(names, values, strict=True))
            yield Row(pc, opcode, values[1], fields, program.locations[pc])


def _name_instruction(pc: int, location: SourceLocation | None) -> str:
    if location is None:
        return f"instruction {pc}"
    return f"instruction {pc} at {location.path}:{location.line}:{location.column}"


def _opcodes(subject: Subject) -> Breaches:
    program = subject.program
    for pc, opcode in enumerate(program.code[:, Field.OPCODE].tolist()):
        if opcode not in INSTRUCTIONS:
            place = _name_instruction(pc, program.locations[pc])
            yield f"{place}: there is no opcode {opcode}"


def _types(subject: Subject) -> Breaches:
    for row in subject.rows:
        if row.opcode is Opcode.DSD:
            if not 0 <= row.kind < _NUM_DSD_OPERATIONS:
                yield f"{row.place}: there is no DSD operation {row.kind}"
        elif not 0 <= row.kind < _NUM_TYPES:
            yield f"{row.place}: there is no scalar type {row.kind}"
        elif row.kind not in _LEGAL_TYPES.get(row.opcode, _ALL_TYPES):
            yield f"{row.place}: not defined on {ScalarType(row.kind).name}"


def _halves(subject: Subject) -> Breaches:
    """Yield instructions and symbols with another 16-bit float than the program's (M148)."""
    program = subject.program
    if not program.half.is_half:
        yield f"{program.half.name} is no 16-bit float"
    others = [t for t in ScalarType if t.is_half and t is not program.half]
    for row in subject.rows:
        kinds = [row.kind] if row.opcode is not Opcode.DSD else []
        if row.opcode is Opcode.CONVERT:
            kinds.append(row.fields["imm"])
        for other in (t for t in others if t in kinds):
            yield f"{row.place}: {other.name} in a program with {program.half.name}"
    for symbol in program.symbols:
        if any(t is symbol.element or t in symbol.argument_types for t in others):
            yield f"'{symbol.name}' has another 16-bit float than the program: {program.half.name}"


def _register_uses(row: Row) -> Iterator[tuple[str, int]]:
    """Yield (field, register) for every field that names a register, pairs with both halves."""
    encoded = _ENCODED_FIELDS.get(row.opcode, frozenset())
    pairs = _PAIR_FIELDS.get(row.opcode, frozenset())
    for field in _REGISTERS_OF[row.opcode]:
        value = row.fields[field]
        if field in encoded:
            if value >> 16 in (OperandMode.REGISTER, OperandMode.POINTER):
                yield field, value & 0xFFFF
            continue
        yield field, value
        if field in pairs:
            yield field, value + 1
    if row.fields["rc"] and row.opcode in CONDITIONAL_OPCODES:
        yield "rc", abs(row.fields["rc"])


def registers_named(program: TileProgram) -> tuple[tuple[int, ...], ...]:
    """Return the registers that each instruction of a legal program names."""
    return tuple(tuple(register for _, register in _register_uses(row)) for row in _rows(program))


def _registers(subject: Subject) -> Breaches:
    num_registers = subject.program.num_registers
    for row in subject.rows:
        for field, register in _register_uses(row):
            if not 0 <= register < num_registers:
                yield f"{row.place}: {field} names register {register} of {num_registers}"


def _register_zero(subject: Subject) -> Breaches:
    for row in subject.rows:
        is_written = row.opcode in _WRITES_RD
        if is_written and row.fields["rd"] == 0:
            yield f"{row.place}: writes register 0, which is always zero"
        elif row.opcode in _UPDATES_RA and row.fields["ra"] == 0:
            yield f"{row.place}: counts in register 0, which is always zero"
    for task in subject.program.tasks:
        if 0 in task.argument_registers:
            yield f"{name_task(task)} puts an argument into register 0"
    for symbol in subject.program.symbols:
        if 0 in symbol.argument_registers:
            yield f"function '{symbol.name}' puts an argument into register 0"


def _conditions(subject: Subject) -> Breaches:
    for row in subject.rows:
        is_free = row.opcode is not Opcode.DSD and row.opcode not in CONDITIONAL_OPCODES
        if is_free and row.fields["rc"]:
            yield f"{row.place}: this instruction cannot have a condition"


def _branch_targets(subject: Subject) -> Breaches:
    num_instructions = len(subject.program.code)
    for row in subject.rows:
        target = row.fields["imm"]
        if row.opcode in _BRANCHES and not 0 <= target < num_instructions:
            yield f"{row.place}: target {target} is outside the {num_instructions} instructions"


def _last_instruction(subject: Subject) -> Breaches:
    last_pc = len(subject.program.code) - 1
    for row in subject.rows[-1:]:
        if row.pc == last_pc and row.opcode not in _TERMINATORS:
            yield f"{row.place}: the code runs past its end; END_TASK, RETURN or JUMP belongs here"


def _immediates(subject: Subject) -> Breaches:
    program, architecture = subject.program, subject.architecture
    for row in subject.rows:
        value = row.fields["imm"]
        match row.opcode:
            case Opcode.CONVERT if not 0 <= value < _NUM_TYPES:
                yield f"{row.place}: there is no scalar type {value} to convert to"
            case Opcode.TRAP if not 0 <= value < len(program.messages):
                yield f"{row.place}: message {value} of {len(program.messages)}"
            case Opcode.COORDINATE if value not in (0, 1):
                yield f"{row.place}: axis {value} is neither x (0) nor y (1)"
            case Opcode.TIMESTAMP if value not in (0, 1):
                yield f"{row.place}: {value} is neither the counter (0) nor the cycle (1)"
            case Opcode.TIMESTAMP_CONTROL if value not in (0, 1, 2):
                yield f"{row.place}: counter command {value} is none of 0, 1, 2"
            case Opcode.PRINT:
                yield from _print_breaches(row, len(program.messages))
            case Opcode.DSR_LOAD if value not in (0, 1):
                yield f"{row.place}: {value} is neither 0 nor 1 (save the address)"
            case Opcode.ACTIVATE if not is_local_task_id(value, architecture):
                yield f"{row.place}: {local_ids(value, architecture)}"
            case Opcode.FIFO_SET_LENGTH if not 0 <= value < NUM_FIFO_SIDES * len(program.fifos):
                yield f"{row.place}: length {value} of {len(program.fifos)} FIFOs"
            case Opcode.BLOCK | Opcode.UNBLOCK if not is_channel(value, architecture):
                yield f"{row.place}: there is no channel {value:#x}"
            case Opcode.LOAD_IMMEDIATE if 0 <= row.kind < _NUM_TYPES:
                element = ScalarType(row.kind)
                if not is_canonical(element, value):
                    yield f"{row.place}: {value} is not a canonical {element.name}"
            case _ if row.opcode in IMMEDIATE_OPCODES:
                yield from _operand_breaches(row, "imm")
            case Opcode.STORE:
                yield from _operand_breaches(row, "aux")
            case _:
                pass


def _operand_breaches(row: Row, field: str) -> Breaches:
    """Yield the breaches of a constant operand in an instruction."""
    value, is_known = row.fields[field], 0 <= row.kind < _NUM_TYPES
    if value and row.fields["rb"]:
        yield f"{row.place}: rb names register {row.fields['rb']}, and {field} holds {value}"
    elif value and is_known and ScalarType(row.kind).is_float and row.opcode is not Opcode.STORE:
        yield f"{row.place}: {value} stands for a float, which no instruction holds"
    elif not -1 << _SHORT_BITS - 1 <= value < 1 << _SHORT_BITS:
        yield f"{row.place}: {value} does not fit in the {_SHORT_BITS} bits of an operand"
    elif value and is_known and not is_canonical(ScalarType(row.kind), value):
        yield f"{row.place}: {value} is not a canonical {ScalarType(row.kind).name}"


def _print_breaches(row: Row, num_messages: int) -> Breaches:
    form, message = row.fields["imm"], row.fields["aux"]
    if not 0 <= form < len(PrintForm):
        yield f"{row.place}: there is no form {form} to print"
    elif form == PrintForm.TEXT and not 0 <= message < num_messages:
        yield f"{row.place}: message {message} of {num_messages}"


def is_canonical(element: ScalarType, value: int) -> bool:
    """Tell whether an int32 `value` is the register form of some `element`, see `ScalarType`."""
    if element is ScalarType.BOOL:
        return value in (0, 1)
    num_bits = 8 * element.num_bytes
    if num_bits == _WORD_BITS:
        return True
    if element.is_signed:
        return -(1 << (num_bits - 1)) <= value < 1 << (num_bits - 1)
    return 0 <= value < 1 << num_bits


def _dsr_numbers(subject: Subject) -> Breaches:
    num_dsrs = subject.architecture.num_dsrs
    for row in subject.rows:
        for field in sorted(_ENCODED_FIELDS.get(row.opcode, ())):
            mode, index = row.fields[field] >> 16, row.fields[field] & 0xFFFF
            if not 0 <= mode < _NUM_MODES:
                yield f"{row.place}: {field} has the unknown operand mode {mode}"
            elif mode in DSR_MODES and index >= num_dsrs:
                yield f"{row.place}: {field} names DSR {index} of {num_dsrs}"
            elif row.opcode is not Opcode.DSD and mode not in DSR_MODES:
                yield f"{row.place}: {field} is a {OperandMode(mode).name}, not a DSR"


def _dsd_operands(subject: Subject) -> Breaches:
    for row in subject.rows:
        if row.opcode is not Opcode.DSD or not 0 <= row.kind < _NUM_DSD_OPERATIONS:
            continue
        operation = DsdOperation(row.kind)
        shape = DSD_OPERATIONS[operation]
        present = {"rd": shape.dest, "ra": shape.src0, "rb": shape.src1, "rc": shape.scalar}
        for field, element in present.items():
            mode = row.fields[field] >> 16
            if not 0 <= mode < _NUM_MODES:
                continue
            legal = _OPERAND_MODES[field] if element else _NO_OPERAND
            if field == "rd" and operation is DsdOperation.MOV32:
                legal |= _NO_OPERAND  # what an operation takes may go nowhere (M99)
            if mode not in legal:
                expected = " or ".join(mode.name for mode in sorted(legal))
                yield (
                    f"{row.place}: {_OPERAND_NAMES[field]} of {operation.name} is "
                    f"{OperandMode(mode).name}; it must be {expected}"
                )


def _dsd_constants(subject: Subject) -> Breaches:
    num_dsds = len(subject.program.dsds)
    for row in subject.rows:
        index = row.fields["aux"] >> 16 & DSD_NUMBER_MASK
        if row.opcode is Opcode.DSR_LOAD_CONSTANT and index >= num_dsds:
            yield f"{row.place}: DSD descriptor {index} of {num_dsds}"


def _config_indices(subject: Subject) -> Breaches:
    num_configs = len(subject.program.configs)
    for row in subject.rows:
        config = row.fields["imm"]
        if row.opcode is Opcode.DSD and not SYNCHRONOUS <= config < num_configs:
            yield f"{row.place}: configuration {config} of {num_configs}"
        yield from _aux_breaches(row, subject.program.num_registers)


def _aux_breaches(row: Row, num_registers: int) -> Breaches:
    if row.opcode is not Opcode.DSD or row.fields["aux"] == 0:
        return
    register = row.fields["aux"] >> RESULT_SHIFT
    if row.fields["imm"] != SYNCHRONOUS:
        what = "has a result" if register else "is part of a map loop (aux 1)"
        yield f"{row.place}: only a synchronous operation {what}"
    if register and row.fields["aux"] & IN_MAP:
        yield f"{row.place}: an operation in a map loop has no result"
    if not 0 <= register < num_registers:
        yield f"{row.place}: its result goes to register {register} of {num_registers}"


def name_task(task: Task) -> str:
    """Return the name of a task for messages."""
    return f"{task.kind.name.lower()} task '{task.name}' ({task.task_id})"


def is_local_task_id(task_id: int, architecture: Architecture) -> bool:
    """Tell whether the machine has this local task id."""
    return architecture.first_local_task_id <= task_id <= architecture.last_local_task_id


def local_ids(task_id: int, architecture: Architecture) -> str:
    """Return the complaint about a local task id that the machine lacks."""
    first, last = architecture.first_local_task_id, architecture.last_local_task_id
    return f"local task id {task_id} is not in {first}–{last} of {architecture.name}"


def _num_channels(kind: ChannelKind, architecture: Architecture) -> int:
    match kind:
        case ChannelKind.LOCAL_TASK:
            return architecture.last_local_task_id + 1
        case ChannelKind.COLOR:
            return architecture.num_colors
        case ChannelKind.INPUT_QUEUE:
            return len(architecture.input_queue_words)
        case ChannelKind.MICROTHREAD:
            return architecture.num_microthreads if architecture.names_microthreads else 0


def is_channel(encoded: int, architecture: Architecture) -> bool:
    """Tell whether the machine has this `channel()`."""
    kind, number = encoded >> 8, encoded & 0xFF
    return 0 <= kind < len(ChannelKind) and number < _num_channels(ChannelKind(kind), architecture)


Rule = tuple[str, Callable[[Subject], Iterable[str]]]
"""The name of a rule, and the function that finds its breaches."""

INSTRUCTION_RULES: tuple[Rule, ...] = (
    ("opcodes exist", _opcodes),
    ("types are legal for their opcode", _types),
    ("a program has one 16-bit float", _halves),
    ("registers are in range", _registers),
    ("register 0 is never written", _register_zero),
    ("conditions belong to instructions that may have one", _conditions),
    ("branch targets are inside the code", _branch_targets),
    ("code does not run past its end", _last_instruction),
    ("immediates are legal for their opcode", _immediates),
    ("DSR numbers are in range", _dsr_numbers),
    ("operand modes are legal for their DSD operation", _dsd_operands),
    ("DSD constants name a descriptor", _dsd_constants),
    ("configuration indices are in range", _config_indices),
)
