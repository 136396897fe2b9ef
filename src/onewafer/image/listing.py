"""The listing of a tile program: its memory map, symbols, tables and code, for people.

In: a tile program. Out: text. The same program always gives the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image.instruction import (
    DSD_NUMBER_MASK,
    IN_MAP,
    INSTRUCTIONS,
    RESULT_SHIFT,
    SAVES_ADDRESS,
    ChannelKind,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    condition_of,
    decode_operand,
    has_immediate,
    size_of,
)
from onewafer.image.program import (
    NO_TASK,
    DsdConfig,
    DsdDescriptor,
    FifoAction,
    FifoBuffer,
    PatchTarget,
    SectionKind,
    SymbolKind,
    TileProgram,
)
from onewafer.image.scalar import ScalarType
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_WORD_MASK = 0xFFFF_FFFF
_UNTYPED = _BRANCHES | {
    Opcode.END_TASK,
    Opcode.RETURN,
    Opcode.TRAP,
    Opcode.MOVE,
    Opcode.DSD_SET_BASE,
    Opcode.DSD_SET_LENGTH,
    Opcode.DSD_SET_STRIDE,
    Opcode.DSD_ADVANCE,
    Opcode.DSR_LOAD,
    Opcode.DSR_LOAD_CONSTANT,
    Opcode.ACTIVATE,
    Opcode.BLOCK,
    Opcode.UNBLOCK,
    Opcode.UNBLOCK_COMMAND_STREAM,
    Opcode.COORDINATE,
    Opcode.TIMESTAMP,
    Opcode.TIMESTAMP_CONTROL,
    Opcode.FIFO_SET_LENGTH,
}
_DSR_LETTERS = {
    OperandMode.DSR_DEST: "dest.",
    OperandMode.DSR_SRC0: "src0.",
    OperandMode.DSR_SRC1: "src1.",
}


def listing(program: TileProgram) -> str:
    """Return the readable form of `program`.

    A code line is `pc  address  mnemonic operands  ; source line`, where `address` is the byte
    address in PE memory; `rN` is a register, `[rN]` the scalar that it points to. `rN ?` and
    `!rN ?` are conditions: the register is not zero, or is zero.
    """
    parts = [[f"program {program.name}"], *_tables(program), ["code", *_code(program)]]
    return _joined([part for part in parts if len(part) > 1 or part is parts[0]])


def listing_tables(program: TileProgram) -> str:
    """Return the tables of the listing: memory, symbols, tasks, queues, ….

    Tables without an entry are left out.
    """
    return _joined([part for part in _tables(program) if len(part) > 1])


def _joined(parts: list[list[str]]) -> str:
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _tables(program: TileProgram) -> list[list[str]]:
    """Return a heading and its lines for each table."""
    return [
        ["memory", *_memory_map(program)],
        ["symbols", *_symbols(program)],
        ["tasks", *_tasks(program)],
        ["queues", *_queues(program)],
        ["rotations", *_rotations(program)],
        ["dsds", *(f"  {i:3}  {_dsd(dsd)}" for i, dsd in enumerate(program.dsds))],
        ["fifos", *(f"  {i:3}  {_fifo(fifo)}" for i, fifo in enumerate(program.fifos))],
        ["configs", *(f"  {i:3}  {_config(config)}" for i, config in enumerate(program.configs))],
        ["loaded DSRs", *_loaded_dsrs(program)],
        ["messages", *(f"  {i:3}  {text}" for i, text in enumerate(program.messages))],
        ["patches", *_patches(program)],
    ]


def _memory_map(program: TileProgram) -> Iterator[str]:
    for section in sorted(program.sections, key=lambda section: section.address):
        end = section.address + section.num_bytes
        size = format_bytes(section.num_bytes)
        yield f"  {section.address:#06x}–{end:#06x}  {section.kind.name:<8} {size:>9}"
    total = format_bytes(sum(section.num_bytes for section in program.sections))
    yield f"  {'total':<24} {total:>9}"


def _symbols(program: TileProgram) -> Iterator[str]:
    exported = {target: name for name, target in sorted(program.exports.items())}
    for symbol in sorted(program.symbols, key=lambda s: (s.kind, s.address, s.name)):
        match symbol.kind:
            case SymbolKind.VARIABLE:
                element = symbol.element.name if symbol.element is not None else "—"
                size = format_bytes(symbol.num_bytes)
                text = f"{symbol.address:#06x}  {size:>9}  {element:<4}  {symbol.name}"
            case SymbolKind.FUNCTION:
                arguments = ", ".join(element.name for element in symbol.argument_types)
                text = f"{symbol.address:6}  {'pc':>9}  {'fn':<4}  {symbol.name}({arguments})"
        host_name = exported.get(symbol.name)
        yield f"  {text}" + (f"  exported as {host_name}" if host_name is not None else "")


def _tasks(program: TileProgram) -> Iterator[str]:
    for task in sorted(program.tasks, key=lambda task: (task.kind, task.task_id)):
        flags = [
            *(["blocked"] if task.is_blocked else []),
            *(["active"] if task.is_active else []),
            *(f"r{r}: {t.name}" for r, t in zip(task.argument_registers, task.argument_types)),  # noqa: B905 - an unverified program may be listed
        ]
        name = f"{task.kind.name.lower():<8}{task.task_id:3}  pc {task.entry:5}  {task.name}"
        yield f"  {name}  {' '.join(flags)}".rstrip()


def _queues(program: TileProgram) -> Iterator[str]:
    for binding in program.queues:
        direction = "input" if binding.is_input else "output"
        offset = binding.control_offset
        tasks = f"  control tasks from {offset} on" if offset else ""
        yield f"  {direction:<6} queue {binding.queue}  color {binding.color}{tasks}"
    for encoded in program.blocked_channels:
        yield f"  blocked at start-up: {_channel(encoded)}"
    for encoded in program.unblocked_channels:
        yield f"  unblocked at start-up: {_channel(encoded)}"


def _dsd(dsd: DsdDescriptor) -> str:
    words = [dsd.kind.name]
    if dsd.color >= 0:
        words.append(f"color {dsd.color}")
    if dsd.queue >= 0:
        words.append(f"queue {dsd.queue}")
    if dsd.is_control:
        words.append("control")
    if dsd.has_index:
        words.append("with index")
    if dsd.clears >= 0:
        words.append(f"clears src{dsd.clears}")
    if dsd.keeps_control:
        words.append("keeps control")
    if dsd.advances_switch:
        words.append("advances switch")
    if dsd.drops_data:
        words.append("drops data")
    if dsd.packs:
        words.append("packs pairs")
    if dsd.fifo >= 0:
        words.append(f"fifo {dsd.fifo}")
    words += [f"{n} step {s}" for n, s in zip(dsd.extents, dsd.strides)]  # noqa: B905 - an unverified program may be listed
    return "  ".join(words)


def _fifo(fifo: FifoBuffer) -> str:
    words = [f"{fifo.address:#06x}", format_bytes(fifo.num_bytes)]
    if fifo.activate_push != NO_TASK:
        words.append(f"push activates {fifo.activate_push}")
    if fifo.activate_pop != NO_TASK:
        words.append(f"pop activates {fifo.activate_pop}")
    for side, action in (("empty", fifo.empty_action), ("full", fifo.full_action)):
        if action is not FifoAction.TEST_OR_SUSPEND:
            words.append(f"{side}: {action.name.lower()}")
    return "  ".join(words)


def _config(config: DsdConfig) -> str:
    words = [f"microthread {config.microthread}"]
    if config.activate != NO_TASK:
        words.append(f"activate {config.activate}")
    if config.unblock != NO_TASK:
        words.append(f"unblock {_channel(config.unblock)}")
    if config.ends_on_control:
        words.append("ends on control")
    if config.control_activate != NO_TASK:
        words.append(f"then activate {config.control_activate}")
    if config.control_unblock != NO_TASK:
        words.append(f"then unblock {_channel(config.control_unblock)}")
    return "  ".join([*words, f"priority {config.priority}"])


def _patches(program: TileProgram) -> Iterator[str]:
    for patch in program.patches:
        match patch.target:
            case PatchTarget.IMMEDIATE:
                place = f"immediate at pc {patch.location}"
            case PatchTarget.DATA:
                place = f"datum at {patch.location:#06x}"
        yield f"  {place}  {patch.element.name}  {patch.values.size} values"


def _loaded_dsrs(program: TileProgram) -> Iterator[str]:
    for encoded, low, high in program.loaded_dsrs.tolist():
        base, extent, number = low & 0xFFFF, low >> 16 & 0xFFFF, high >> 16 & DSD_NUMBER_MASK
        saved = ", saves its address" if high & SAVES_ADDRESS else ""
        yield f"  {_encoded_operand(encoded)}: dsd {number} at {base:#06x}, extent {extent}{saved}"


def _rotations(program: TileProgram) -> Iterator[str]:
    for rotation in program.rotations:
        counted = f" from {rotation.initial} on" if rotation.initial else ""
        yield (
            f"  control task {rotation.alternate} in the place of data task {rotation.task_id} "
            f"after {rotation.limit} starts{counted}"
        )


def _channel(encoded: int) -> str:
    kind, number = encoded >> 8, encoded & 0xFF
    if not 0 <= kind < len(ChannelKind):
        return f"channel {encoded:#x}"
    return f"{ChannelKind(kind).name.lower()} {number}"


# --- code ----------------------------------------------------------------------------------------


def _code(program: TileProgram) -> Iterator[str]:
    labels = code_labels(program)
    code_sections = [s.address for s in program.sections if s.kind is SectionKind.CODE]
    address = min(code_sections, default=0)
    for pc, row in enumerate(program.code.tolist()):
        yield from (f"{label}:" for label in labels.get(pc, ()))
        location = program.locations[pc] if pc < len(program.locations) else None
        place = f"; {location.path}:{location.line}" if location is not None else ""
        yield f"  {pc:5}  {address:#06x}  {format_instruction(row):<48}{place}".rstrip()
        opcode = row[Field.OPCODE]
        address += size_of(row) if opcode in INSTRUCTIONS else 0


def code_labels(program: TileProgram) -> dict[int, list[str]]:
    """Return the names of functions and tasks by the program counter at which they begin."""
    labels: dict[int, list[str]] = {}
    for symbol in program.symbols:
        if symbol.kind is SymbolKind.FUNCTION:
            labels.setdefault(symbol.address, []).append(symbol.name)
    for task in program.tasks:
        name = f"{task.name} ({task.kind.name.lower()} task {task.task_id})"
        labels.setdefault(task.entry, []).append(name)
    return labels


def format_instruction(row: list[int]) -> str:
    """Return one instruction row in assembly; a row that means nothing is shown as numbers."""
    opcode, kind = row[Field.OPCODE], row[Field.TYPE]
    if opcode not in INSTRUCTIONS:
        return f"illegal {row}"
    operation = Opcode(opcode)
    operands = INSTRUCTIONS[operation].operands.split()
    if has_immediate(opcode, rb=row[Field.RB], imm=row[Field.IMM], aux=row[Field.AUX]):
        held = "aux" if operation is Opcode.STORE else "imm"
        operands[operands.index("rb")] = held
    words = [_operand(operation, field, row[Field[field.upper()]]) for field in operands]
    condition = _condition(condition_of(opcode, row[Field.RC]))
    named = ", ".join(word for word in words if word)
    return f"{condition}{_mnemonic(operation, kind)} {named}".rstrip()


def _condition(condition: int) -> str:
    """Return `r7 ? ` or `!r7 ? ` (M153)."""
    if not condition:
        return ""
    return f"r{condition} ? " if condition > 0 else f"!r{-condition} ? "


def _mnemonic(opcode: Opcode, kind: int) -> str:
    name = opcode.name.lower()
    if opcode is Opcode.DSD:
        return DsdOperation(kind).name.lower() if 0 <= kind < len(DsdOperation) else f"dsd.{kind}"
    if opcode in _UNTYPED:
        return name
    return f"{name}.{ScalarType(kind).name.lower() if 0 <= kind < len(ScalarType) else kind}"


def _operand(opcode: Opcode, field: str, value: int) -> str:
    match opcode, field:
        case Opcode.DSD, "imm":
            return f"config {value}" if value >= 0 else ""
        case Opcode.DSD, "aux":
            register = f"result r{value >> RESULT_SHIFT}" if value >> RESULT_SHIFT else ""
            return "in map" if value & IN_MAP else register
        case Opcode.TIMESTAMP, "imm":
            return "since loading" if value else ""
        case Opcode.DSR_LOAD, "imm":
            return "save address" if value else ""
        case Opcode.DSD, _:
            return _encoded_operand(value)
        case ((Opcode.DSR_LOAD | Opcode.DSR_LOAD_CONSTANT), "rd"):
            return _encoded_operand(value)
        case Opcode.DSR_LOAD_CONSTANT, _:
            return f"{value & _WORD_MASK:#010x}"
        case ((Opcode.BLOCK | Opcode.UNBLOCK), _):
            return _channel(value)
        case Opcode.CONVERT, "imm":
            return ScalarType(value).name.lower() if 0 <= value < len(ScalarType) else str(value)
        case _, "imm":
            return f"→ {value}" if opcode in _BRANCHES else str(value)
        case _:
            return f"r{value}"


def _encoded_operand(value: int) -> str:
    if not 0 <= value >> 16 < len(OperandMode):
        return f"{value:#x}"
    mode, index = decode_operand(value)
    match mode:
        case OperandMode.NONE:
            return ""
        case OperandMode.REGISTER:
            return f"r{index}"
        case OperandMode.POINTER:
            return f"[r{index}]"
        case OperandMode.DSR_DEST | OperandMode.DSR_SRC0 | OperandMode.DSR_SRC1:
            return f"{_DSR_LETTERS[mode]}{index}"
