"""Rules for legal tile programs, one a line.

In: a tile program and the machine it is meant for. Out: sentences, one for each breach, that name
the instruction, symbol or table entry. A rule never raises, whatever the program holds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from onewafer.arch import DataTaskKey
from onewafer.image.instruction import (
    DSD_NUMBER_MASK,
    INSTRUCTIONS,
    NUM_FIELDS,
    ChannelKind,
    Field,
    Opcode,
    size_of,
)
from onewafer.image.instruction_rules import (
    DSR_MODES,
    INSTRUCTION_RULES,
    Breaches,
    Rule,
    Subject,
    examine,
    is_canonical,
    is_channel,
    is_local_task_id,
    local_ids,
    name_task,
)
from onewafer.image.program import (
    MAX_MEM4D_LOOPS,
    MAX_ROTATION_LIMIT,
    NO_TASK,
    REGISTER_BYTES,
    DsdConfig,
    DsdDescriptor,
    DsdKind,
    PatchTarget,
    SectionKind,
    Symbol,
    SymbolKind,
    Task,
    TaskKind,
    TileProgram,
)
from onewafer.image.register_addresses import ALL_MASKED
from onewafer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import Architecture
    from onewafer.image.scalar import ScalarType

NUM_PRIORITIES = 3
NUM_SOURCES = 2


def _code_shape(program: TileProgram) -> Breaches:
    code, locations = program.code, program.locations
    if code.ndim != 2 or code.shape[1] != NUM_FIELDS:  # noqa: PLR2004 - rows and columns
        yield f"code has shape {code.shape}, not [num_instructions, {NUM_FIELDS}]"
    if len(locations) != len(code):
        yield f"{len(locations)} source locations for {len(code)} instructions"


def _table_shapes(program: TileProgram) -> Breaches:
    if program.data.ndim != 1:
        yield f"data has shape {program.data.shape}, not [num_bytes]"
    if program.addressed.shape not in ((0,), (len(program.code),)):
        yield f"addressed has shape {program.addressed.shape}, not [num_instructions]"
    for name, table, columns in (
        ("pointers", program.pointers, 2),
        ("loaded_dsrs", program.loaded_dsrs, 3),
    ):
        if table.ndim != 2 or table.shape[1] != columns:  # noqa: PLR2004 - rows and columns
            yield f"{name} has shape {table.shape}, not [n, {columns}]"


# --- tables --------------------------------------------------------------------------------------


def _dsds(subject: Subject) -> Breaches:
    for index, dsd in enumerate(subject.program.dsds):
        for problem in _dsd_problems(dsd, subject.architecture, len(subject.program.fifos)):
            yield f"dsds[{index}] ({dsd.kind.name}): {problem}"


def _dsd_problems(dsd: DsdDescriptor, architecture: Architecture, num_fifos: int) -> Breaches:
    match dsd.kind:
        case DsdKind.FABIN | DsdKind.FABOUT:
            is_input = dsd.kind is DsdKind.FABIN
            if dsd.color != -1 or not (is_input or architecture.queues_need_initialization):
                yield from _color_problems(dsd.color, architecture)
            yield from _queue_problems(dsd.queue, architecture, is_input=is_input)
            if is_input and (dsd.has_index or dsd.clears != -1 or dsd.advances_switch):
                yield "only a FABOUT has an index, clears a source, or advances a switch"
            if dsd.drops_data and not is_input:
                yield "only a FABIN drops data"
            if dsd.packs and (dsd.is_control or dsd.has_index or dsd.keeps_control):
                yield "wavelets of two elements have no index, and no commands"
            if not -1 <= dsd.clears < NUM_SOURCES:
                yield f"there is no source {dsd.clears} to clear"
        case DsdKind.MEM4D:
            if not 1 <= len(dsd.extents) <= MAX_MEM4D_LOOPS or min(dsd.extents) < 0:
                yield f"extents {dsd.extents} are not 1–{MAX_MEM4D_LOOPS} loop counts"
            if len(dsd.extents) != len(dsd.strides):
                yield f"{len(dsd.extents)} extents, but {len(dsd.strides)} strides"
        case DsdKind.MEM1D:
            if dsd.extents or dsd.strides:
                yield "extent and stride of a MEM1D are in its value, not in the table"
        case DsdKind.FIFO:
            if not 0 <= dsd.fifo < num_fifos:
                yield f"FIFO {dsd.fifo} of {num_fifos}"


def _color_problems(color: int, architecture: Architecture) -> Breaches:
    if not 0 <= color < architecture.num_colors:
        yield f"there is no color {color}"


def _queue_problems(queue: int, architecture: Architecture, *, is_input: bool) -> Breaches:
    direction = "input" if is_input else "output"
    words = architecture.input_queue_words if is_input else architecture.output_queue_words
    if not 0 <= queue < len(words):
        yield f"{architecture.name} has no {direction} queue {queue}"


def _queues(subject: Subject) -> Breaches:
    owner: dict[tuple[bool, int], int] = {}
    for index, binding in enumerate(subject.program.queues):
        place = f"queues[{index}]"
        machine = subject.architecture
        for problem in (
            *_color_problems(binding.color, machine),
            *_queue_problems(binding.queue, machine, is_input=binding.is_input),
        ):
            yield f"{place}: {problem}"
        if not 0 <= binding.control_offset < machine.num_control_task_ids:
            yield f"{place}: control tasks from {binding.control_offset} on do not exist"
        if binding.control_offset and not (binding.is_input and machine.has_control_table):
            yield f"{place}: the queue has no control tasks of its own"
        key = binding.is_input, binding.queue
        if owner.setdefault(key, binding.color) != binding.color:
            direction = "input" if binding.is_input else "output"
            yield (
                f"{place}: {direction} queue {binding.queue} serves color {owner[key]} "
                f"and color {binding.color}; a queue serves one color"
            )


def _configs(subject: Subject) -> Breaches:
    architecture = subject.architecture
    for index, config in enumerate(subject.program.configs):
        place = f"configs[{index}]"
        if not 0 <= config.microthread < architecture.num_microthreads:
            yield f"{place}: microthread {config.microthread} of {architecture.num_microthreads}"
        if config.activate != NO_TASK and not is_local_task_id(config.activate, architecture):
            yield f"{place}: {local_ids(config.activate, architecture)}"
        if config.unblock != NO_TASK and not is_channel(config.unblock, architecture):
            yield f"{place}: there is no channel {config.unblock:#x} to unblock"
        if not 0 <= config.priority < NUM_PRIORITIES:
            yield f"{place}: priority {config.priority} is none of 0, 1, 2"
        yield from _control_problems(config, place, architecture)


def _control_problems(config: DsdConfig, place: str, architecture: Architecture) -> Breaches:
    activate, unblock = config.control_activate, config.control_unblock
    if not config.ends_on_control and (activate, unblock) != (NO_TASK, NO_TASK):
        yield f"{place}: what a control wavelet does needs that it ends the operation"
    if activate != NO_TASK and not is_local_task_id(activate, architecture):
        yield f"{place}: {local_ids(activate, architecture)}"
    if unblock != NO_TASK and not is_channel(unblock, architecture):
        yield f"{place}: there is no channel {unblock:#x} to unblock"


def _loaded_dsrs(subject: Subject) -> Breaches:
    program, num_dsrs = subject.program, subject.architecture.num_dsrs
    for index, (encoded, _, high) in enumerate(program.loaded_dsrs.tolist()):
        place, number = f"loaded_dsrs[{index}]", high >> 16 & DSD_NUMBER_MASK
        if encoded >> 16 not in DSR_MODES or encoded & 0xFFFF >= num_dsrs:
            yield f"{place}: {encoded:#x} is not a DSR"
        if number >= len(program.dsds):
            yield f"{place}: DSD descriptor {number} of {len(program.dsds)}"


def _fifos(subject: Subject) -> Breaches:
    program, architecture = subject.program, subject.architecture
    for index, fifo in enumerate(program.fifos):
        place = f"fifos[{index}]"
        end = fifo.address + fifo.num_bytes
        is_in_data = _is_in_data(program, fifo.address, fifo.num_bytes)
        if fifo.num_bytes < REGISTER_BYTES or not is_in_data:
            yield f"{place}: [{fifo.address:#x}, {end:#x}) is no room for a word in a DATA section"
        for task_id in (fifo.activate_push, fifo.activate_pop):
            if task_id != NO_TASK and not is_local_task_id(task_id, architecture):
                yield f"{place}: {local_ids(task_id, architecture)}"


def _rotations(subject: Subject) -> Breaches:
    program, most = subject.program, subject.architecture.num_rotations
    ids = {(task.kind, task.task_id) for task in program.tasks}
    if len(program.rotations) > most:
        yield f"{len(program.rotations)} rotations, {subject.architecture.name} has {most}"
    if len({rotation.task_id for rotation in program.rotations}) < len(program.rotations):
        yield "a data task is in two rotations"
    for index, rotation in enumerate(program.rotations):
        place = f"rotations[{index}]"
        if (TaskKind.DATA, rotation.task_id) not in ids:
            yield f"{place}: there is no data task {rotation.task_id}"
        if (TaskKind.CONTROL, rotation.alternate) not in ids:
            yield f"{place}: there is no control task {rotation.alternate}"
        if not 0 <= rotation.initial <= rotation.limit <= MAX_ROTATION_LIMIT:
            yield f"{place}: no count from {rotation.initial} to {rotation.limit}"


def _control_mask(subject: Subject) -> Breaches:
    if not 0 <= subject.program.control_mask < subject.architecture.num_control_task_ids:
        yield f"the control mask is {subject.program.control_mask}, not one of an entry"


def _exception_mask(subject: Subject) -> Breaches:
    mask = subject.program.exception_mask
    least = 0 if subject.program.unmasks_exceptions else ALL_MASKED
    if not least <= mask <= ALL_MASKED:
        yield f"the exception mask is {mask:#x}, not {least:#x} to {ALL_MASKED:#x}"


def _blocked_channels(subject: Subject) -> Breaches:
    for encoded in subject.program.blocked_channels:
        if not is_channel(encoded, subject.architecture):
            yield f"blocked at start-up: there is no channel {encoded:#x}"
    for encoded in subject.program.unblocked_channels:
        if not is_channel(encoded, subject.architecture):
            yield f"unblocked at start-up: there is no channel {encoded:#x}"
        elif encoded >> 8 in (ChannelKind.LOCAL_TASK, ChannelKind.MICROTHREAD):
            yield f"unblocked at start-up: {encoded:#x} is not a data channel, but starts unblocked"


def _legal_task_ids(kind: TaskKind, architecture: Architecture) -> range:
    match kind:
        case TaskKind.LOCAL:
            return range(architecture.first_local_task_id, architecture.last_local_task_id + 1)
        case TaskKind.CONTROL:
            return range(architecture.num_control_task_ids)
        case TaskKind.DATA:
            if architecture.data_task_key is DataTaskKey.COLOR:
                return range(architecture.num_colors)
            return range(len(architecture.input_queue_words))


def _task_ids(subject: Subject) -> Breaches:
    architecture = subject.architecture
    first_of: dict[tuple[TaskKind, int], Task] = {}
    for task in subject.program.tasks:
        legal = _legal_task_ids(task.kind, architecture)
        if task.task_id not in legal:
            yield (f"{name_task(task)}: {architecture.name} has ids {legal.start}–{legal.stop - 1}")
        other = first_of.setdefault((task.kind, task.task_id), task)
        if other is not task:
            yield f"{name_task(task)}: the id is already bound to '{other.name}'"
    if architecture.data_task_key is DataTaskKey.COLOR:
        for (kind, task_id), task in first_of.items():
            data_task = first_of.get((TaskKind.DATA, task_id))
            if kind is TaskKind.LOCAL and data_task is not None:
                yield f"{name_task(task)}: shares its id with {name_task(data_task)}"


def _task_code(subject: Subject) -> Breaches:
    program = subject.program
    for task in program.tasks:
        if not 0 <= task.entry < len(program.code):
            yield f"{name_task(task)}: entry {task.entry} is outside the code"
        for problem in _argument_problems(
            task.argument_registers, task.argument_types, program.num_registers
        ):
            yield f"{name_task(task)}: {problem}"
        if len(task.argument_registers) > 2:  # noqa: PLR2004 - the halves of a wavelet
            yield f"{name_task(task)}: a wavelet has two halves, not {task.argument_registers}"
        if task.kind is TaskKind.CONTROL and len(task.argument_registers) > 1:
            yield f"{name_task(task)}: a control wavelet carries one 16-bit argument"


def _argument_problems(
    registers: tuple[int, ...], types: tuple[ScalarType, ...], num_registers: int
) -> Breaches:
    if len(registers) != len(types):
        yield f"{len(registers)} argument registers, but {len(types)} types"
    for register in registers:
        if not 0 <= register < num_registers:
            yield f"argument register {register} of {num_registers}"


def _reserved(subject: Subject) -> Breaches:
    """Yield uses of ids that memcpy reserves for the runtime."""
    if not subject.uses_memcpy:
        return
    architecture, program = subject.architecture, subject.program
    for task in program.tasks:
        is_reserved_local = (
            task.kind is TaskKind.LOCAL and task.task_id in architecture.reserved_local_task_ids
        )
        is_reserved_control = (
            task.kind is TaskKind.CONTROL and task.task_id in architecture.reserved_control_task_ids
        )
        if is_reserved_local or is_reserved_control:
            yield f"{name_task(task)}: the id is reserved for memcpy"
    uses = [
        *((f"dsds[{i}]", d.kind is DsdKind.FABIN, d.queue, d.color)
          for i, d in enumerate(program.dsds) if d.kind.is_fabric),
        *((f"queues[{i}]", b.is_input, b.queue, b.color) for i, b in enumerate(program.queues)),
    ]  # fmt: skip
    for place, is_input, queue, color in uses:
        if color in architecture.reserved_colors:
            yield f"{place}: color {color} is reserved for memcpy"
        direction = "input" if is_input else "output"
        reserved = (
            architecture.reserved_input_queues if is_input else architecture.reserved_output_queues
        )
        if queue in reserved:
            yield f"{place}: {direction} queue {queue} is reserved for memcpy"


# --- memory --------------------------------------------------------------------------------------


def _sections(subject: Subject) -> Breaches:
    memory_bytes = subject.architecture.memory_bytes
    ordered = sorted(
        (section for section in subject.program.sections if section.num_bytes),
        key=lambda section: section.address,
    )
    for section in ordered:
        end = section.address + section.num_bytes
        if section.address < 0 or section.num_bytes < 0 or end > memory_bytes:
            yield (
                f"section {section.kind.name} [{section.address:#x}, {end:#x}) is outside the "
                f"{format_bytes(memory_bytes)} of a PE"
            )
    for first, second in pairwise(ordered):
        if first.address + first.num_bytes > second.address:
            yield (
                f"section {first.kind.name} at {first.address:#x} overlaps "
                f"section {second.kind.name} at {second.address:#x}"
            )


def _registers_fit(subject: Subject) -> Breaches:
    program = subject.program
    needed, available = REGISTER_BYTES * program.num_registers, _size(program, SectionKind.STACK)
    if program.num_registers < 1:
        yield f"there are {program.num_registers} registers; register 0 is always there"
    elif needed > available:
        yield (
            f"{program.num_registers:,} registers take {format_bytes(needed)}, "
            f"the STACK sections have {format_bytes(available)}"
        )


def _size(program: TileProgram, kind: SectionKind) -> int:
    """Return the bytes of all sections of a kind."""
    return sum(section.num_bytes for section in program.sections if section.kind is kind)


def _code_fits(subject: Subject) -> Breaches:
    program = subject.program
    rows = program.code.tolist()
    needed = sum(size_of(row) for row in rows if row[Field.OPCODE] in INSTRUCTIONS)
    available = _size(program, SectionKind.CODE)
    if needed > available:
        yield (
            f"{len(program.code)} instructions take {format_bytes(needed)}, "
            f"the CODE sections have {format_bytes(available)}"
        )


def _is_in_data(program: TileProgram, address: int, num_bytes: int) -> bool:
    return any(
        s.address <= address and address + num_bytes <= s.address + s.num_bytes
        for s in program.sections
        if s.kind is SectionKind.DATA
    )


def _initial_data(subject: Subject) -> Breaches:
    program = subject.program
    if len(program.data) and not _is_in_data(program, program.data_address, len(program.data)):
        end = program.data_address + len(program.data)
        yield f"initial data [{program.data_address:#x}, {end:#x}) are not in a DATA section"


def _symbols(subject: Subject) -> Breaches:
    program = subject.program
    seen: set[str] = set()
    for symbol in program.symbols:
        if symbol.name in seen:
            yield f"symbol '{symbol.name}' is defined twice"
        seen.add(symbol.name)
        yield from (f"symbol '{symbol.name}': {p}" for p in _symbol_problems(symbol, program))


def _symbol_problems(symbol: Symbol, program: TileProgram) -> Breaches:
    match symbol.kind:
        case SymbolKind.VARIABLE:
            end = symbol.address + symbol.num_bytes
            if symbol.num_bytes and not _is_in_data(program, symbol.address, symbol.num_bytes):
                yield f"[{symbol.address:#x}, {end:#x}) is not in a DATA section"
            if symbol.element and symbol.address % symbol.element.num_bytes:
                yield f"address {symbol.address:#x} is not aligned for {symbol.element.name}"
        case SymbolKind.FUNCTION:
            if not 0 <= symbol.address < len(program.code):
                yield f"entry {symbol.address} is outside the code"
            yield from _argument_problems(
                symbol.argument_registers, symbol.argument_types, program.num_registers
            )


def _export_targets(subject: Subject) -> Breaches:
    names = {symbol.name for symbol in subject.program.symbols}
    for name, target in subject.program.exports.items():
        if target not in names:
            yield f"export '{name}' stands for '{target}', which is not a symbol"


def _patches(subject: Subject) -> Breaches:
    program = subject.program
    for index, patch in enumerate(program.patches):
        place = f"patches[{index}]"
        if patch.values.shape != (subject.num_pes,):
            yield f"{place}: values of shape {patch.values.shape} for {subject.num_pes} PEs"
        bad = [v for v in patch.values.ravel().tolist() if not is_canonical(patch.element, v)]
        if bad:
            yield f"{place}: {bad[0]} is not a canonical {patch.element.name}"
        match patch.target:
            case PatchTarget.IMMEDIATE:
                if not _has_immediate(program, patch.location):
                    yield f"{place}: instruction {patch.location} has no immediate"
            case PatchTarget.DATA:
                if not _is_in_data(program, patch.location, patch.element.num_bytes):
                    yield f"{place}: address {patch.location:#x} is not in a DATA section"


def _has_immediate(program: TileProgram, pc: int) -> bool:
    if not 0 <= pc < len(program.code):
        return False
    opcode = int(program.code[pc, Field.OPCODE])
    return opcode in INSTRUCTIONS and "imm" in INSTRUCTIONS[Opcode(opcode)].operands.split()


PROGRAM_RULES: tuple[Rule, ...] = (
    *INSTRUCTION_RULES,
    ("DSD descriptors are complete", _dsds),
    ("a queue exists and serves one color", _queues),
    ("configurations are legal", _configs),
    ("DSRs are loaded with DSDs", _loaded_dsrs),
    ("FIFOs lie in memory and activate tasks", _fifos),
    ("rotations count the starts of data tasks", _rotations),
    ("the control mask is one of an entry", _control_mask),
    ("exceptions are unmasked by programs that say so", _exception_mask),
    ("blocked channels exist", _blocked_channels),
    ("task ids are legal and unique", _task_ids),
    ("tasks start inside the code", _task_code),
    ("reserved ids stay reserved", _reserved),
    ("sections fit and do not overlap", _sections),
    ("registers fit the stack", _registers_fit),
    ("code fits its sections", _code_fits),
    ("initial data lie in DATA", _initial_data),
    ("symbols lie where they should", _symbols),
    ("exports name symbols", _export_targets),
    ("patches hit what they patch", _patches),
)


def find_breaches(
    program: TileProgram, architecture: Architecture, *, uses_memcpy: bool, num_pes: int
) -> Iterator[tuple[str, str]]:
    """Yield (rule, sentence) for every breach; a misshapen array hides the other rules."""
    misshapen = [
        *(("code is a table of instructions", breach) for breach in _code_shape(program)),
        *(("tables have their shapes", breach) for breach in _table_shapes(program)),
    ]
    if misshapen:
        yield from misshapen
        return
    subject = examine(program, architecture, uses_memcpy=uses_memcpy, num_pes=num_pes)
    for name, check in PROGRAM_RULES:
        for breach in check(subject):
            yield name, breach
