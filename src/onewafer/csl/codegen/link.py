"""Object code and memory plan → tile program: every label, register and address a number."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

import numpy as np

from onewafer.csl import ir
from onewafer.csl.codegen.dsds import initial_dsd
from onewafer.csl.codegen.exports import bound_exports
from onewafer.csl.codegen.frame import lay_out_frame
from onewafer.csl.codegen.memory_plan import code_size
from onewafer.csl.codegen.object_code import (
    ZERO,
    Address,
    Condition,
    Constant,
    DsdBaseWord,
    DsdShapeWord,
    DsrOperand,
    Instruction,
    Label,
    Register,
    ResultRegister,
    ScalarOperand,
    to_int32,
)
from onewafer.csl.codegen.queue_plan import choose_queues
from onewafer.errors import InternalError
from onewafer.image import (
    NUM_FIELDS,
    RESULT_SHIFT,
    SAVES_ADDRESS,
    FifoBuffer,
    Opcode,
    Patch,
    PatchTarget,
    ScalarType,
    SourceLocation,
    Symbol,
    SymbolKind,
    Task,
    TileProgram,
    WaferImage,
    operand,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from onewafer.arch import Architecture
    from onewafer.csl.codegen.memory_plan import MemoryPlan
    from onewafer.csl.codegen.object_code import ObjectProgram, Operand, Word
    from onewafer.diagnostics import Span

_HALF_WORD = 0xFFFF
NO_PROGRAM = -1
NO_SYMBOL = -1


def link(
    program: ObjectProgram, plan: MemoryPlan, architecture: Architecture, *, uses_memcpy: bool
) -> TileProgram:
    """Return the finished program of an instance."""
    linked = _Linker(program, plan).run()
    dsds = choose_queues(linked.dsds, linked.queues, architecture, uses_memcpy=uses_memcpy)
    return replace(linked, dsds=dsds)


@dataclass(slots=True)
class _Linker:
    program: ObjectProgram
    plan: MemoryPlan
    _numbers: dict[ir.Global, int] = field(init=False)
    """Symbol numbers of variables, numbered first."""
    _part_numbers: dict[tuple[ir.Global, int, int], int] = field(init=False)
    """Symbol numbers of fields, numbered last, by variable, offset and bytes."""
    _targets: dict[Label | ir.Function, int] = field(init=False)

    def __post_init__(self) -> None:
        self._numbers = {v: number for number, v in enumerate(self.program.instance.globals)}
        self._targets = _find_targets(self.program)
        self._part_numbers = self._number_parts()

    def run(self) -> TileProgram:
        code, locations, patches = self._code()
        # Initial DSDs add descriptors: the table is complete only after this.
        data, data_patches, pointers = self._data()
        loaded_dsrs = self._loaded_dsrs()
        program, plan, instance = self.program, self.plan, self.program.instance
        symbols, exports = self._symbols()
        return TileProgram(
            name=instance.name,
            code=code,
            locations=locations,
            num_registers=plan.num_registers,
            data=data,
            data_address=plan.data.address,
            sections=plan.sections,
            symbols=symbols,
            tasks=tuple(self._task(binding) for binding in instance.tasks),
            queues=instance.queues,
            blocked_channels=instance.blocked_channels,
            unblocked_channels=instance.unblocked_channels,
            dsds=tuple(program.descriptors.rows),
            configs=program.configs,
            fifos=tuple(self._fifo(fifo) for fifo in instance.fifos),
            messages=program.messages,
            exports=exports,
            patches=(*patches, *data_patches),
            addressed=self._addressed(),
            reaches_registers=instance.reaches_registers,
            reaches_queues=instance.reaches_queues,
            rotations=instance.rotations,
            control_mask=instance.control_mask,
            unmasks_exceptions=instance.unmasks_exceptions,
            exception_mask=instance.exception_mask,
            half=instance.half,
            pointers=pointers,
            loaded_dsrs=loaded_dsrs,
        )

    # --- words ----------------------------------------------------------------------------------

    def _value(self, word: Word) -> int | NDArray[np.int64]:
        """Return the value of a word: one number, or one for each PE if it differs."""
        match word:
            case Constant(word=number, per_pe=None):
                return number
            case Constant(per_pe=row):
                values = np.array(self.program.instance.per_pe[row or 0], dtype=np.int64)
                return int(values[0]) if (values == values[0]).all() else values
            case Address(variable=variable, offset=offset):
                return self.plan.addresses[variable] + offset
            case DsdBaseWord(base=base, extent=extent):
                return (self._value(base) & _HALF_WORD) | ((self._value(extent) & _HALF_WORD) << 16)
            case DsdShapeWord(stride=stride, descriptor=descriptor):
                saves = SAVES_ADDRESS if word.saves_address else 0
                return (self._value(stride) & _HALF_WORD) | (descriptor << 16) | saves
        assert_never(word)

    def _resolve(
        self, word: Word, target: PatchTarget, location: int, element: ScalarType
    ) -> tuple[int, tuple[Patch, ...]]:
        """Return the word of the first PE, and the patch for the others if they differ."""
        value = self._value(word)
        if isinstance(value, int):
            return to_int32(value), ()
        words = (value & 0xFFFF_FFFF).astype(np.uint32).view(np.int32)
        return int(words[0]), (Patch(target, location, element, words),)

    # --- code -----------------------------------------------------------------------------------

    def _instructions(self) -> list[Instruction]:
        return [
            item
            for function in self.program.functions
            for item in function.items
            if isinstance(item, Instruction)
        ]

    def _addressed(self) -> NDArray[np.int32]:
        """Return, for each immediate, the symbol whose address it is; −1: none."""
        words = [instruction.imm for instruction in self._instructions()]
        return np.array([self._symbol_of(word) for word in words], dtype=np.int32)

    def _symbol_of(self, word: object) -> int:
        match word:
            case Address(variable, _, array) | DsdBaseWord(base=Address(variable, _, array)):
                whole = self._numbers[variable]
                return whole if array is None else self._part_numbers.get((variable, *array), whole)
            case _:
                return NO_SYMBOL

    def _number_parts(self) -> dict[tuple[ir.Global, int, int], int]:
        numbers: dict[tuple[ir.Global, int, int], int] = {}
        instance, names = self.program.instance, self.plan.names
        taken = {*map(names.__getitem__, instance.globals)}
        taken |= {names[f.function] for f in self.program.functions}
        for variable in instance.globals:
            for part in variable.parts:
                name = f"{names[variable]}{part.name}"
                if name not in taken:
                    numbers.setdefault((variable, part.offset, part.num_bytes), len(taken))
                    taken.add(name)
        return numbers

    def _code(
        self,
    ) -> tuple[NDArray[np.int32], tuple[SourceLocation | None, ...], list[Patch]]:
        instructions = self._instructions()
        self._order_pair_moves(instructions)
        rows: list[tuple[int, ...]] = []
        patches: list[Patch] = []
        for pc, instruction in enumerate(instructions):
            match instruction.imm:
                case int() as immediate:
                    pass
                case Label() | ir.Function() as target:
                    immediate = self._targets[target]
                case word:
                    element = ScalarType(instruction.type)
                    immediate, found = self._resolve(word, PatchTarget.IMMEDIATE, pc, element)
                    patches += found
            row = (
                instruction.opcode,
                instruction.type,
                self._operand(instruction.rd),
                self._operand(instruction.ra),
                self._operand(instruction.rb),
                self._operand(instruction.rc),
                immediate,
                self._shape(instruction.aux),
            )
            rows.append(row)
        code = np.array(rows, dtype=np.int32).reshape(-1, NUM_FIELDS)
        return code, _locations(instructions), patches

    def _shape(self, word: DsdShapeWord | ResultRegister | int) -> int:
        if isinstance(word, int):
            return word
        if isinstance(word, ResultRegister):
            return self._operand(word.register) << RESULT_SHIFT
        return self._resolve(word, PatchTarget.IMMEDIATE, 0, ScalarType.U32)[0]

    def _order_pair_moves(self, instructions: list[Instruction]) -> None:
        """Swap the two moves of a pair where the first would overwrite the second's source.

        Frames of two callees may overlap by one register, as only the linker knows. Two such moves
        in one frame are `b = a; c = b;` of the program: a pair's moves are in order there.
        """
        for i, (first, second) in enumerate(pairwise(instructions)):
            match first, second:
                case (
                    Instruction(Opcode.MOVE, rd=Register() as dest, ra=Register() as source),
                    Instruction(Opcode.MOVE, rd=dest_second, ra=source_second),
                ) if (
                    dest.function is not source.function
                    and (dest.second, source.second) == (dest_second, source_second)
                    and self._register(dest) == self._register(source.second)
                ):
                    instructions[i : i + 2] = second, first
                case _:
                    pass

    def _operand(self, field: Operand) -> int:
        match field:
            case None:
                return 0
            case Register():
                return self._register(field)
            case DsrOperand(mode=mode, index=index):
                return operand(mode, index)
            case ScalarOperand(mode=mode, register=register):
                return operand(mode, self._register(register))
            case Condition(register=register, is_set=is_set):
                return self._register(register) if is_set else -self._register(register)
        assert_never(field)

    def _register(self, register: Register) -> int:
        if register.function is None:
            return ZERO.slot
        return self.plan.frames[register.function] + register.slot

    # --- data -----------------------------------------------------------------------------------

    def _data(self) -> tuple[NDArray[np.uint8], list[Patch], NDArray[np.int32]]:
        """Return the initial data, their patches, and the positions of addresses in them."""
        data = bytearray(self.plan.data.num_bytes)
        patches: list[Patch] = []
        pointers: list[tuple[int, int]] = []
        for variable in self.program.instance.globals:
            for offset, element, word in self._initial_words(variable):
                address = self.plan.addresses[variable] + offset
                value, found = self._resolve(word, PatchTarget.DATA, address, element)
                patches += found
                if self._symbol_of(word) != NO_SYMBOL:
                    pointers.append((address, self._symbol_of(word)))
                start = address - self.plan.data.address
                size = element.num_bytes
                mask = (1 << 8 * size) - 1
                data[start : start + size] = (value & mask).to_bytes(size, "little")
        places = np.array(pointers, dtype=np.int32).reshape(-1, 2)
        return np.frombuffer(bytes(data), dtype=np.uint8), patches, places

    def _initial_words(self, variable: ir.Global) -> Iterator[tuple[int, ScalarType, Word]]:
        """Yield (offset, element, word) of all non-zero initial data of a variable."""
        for datum in variable.data:
            match datum:
                case ir.Datum(offset=offset, element=element, word=word, per_pe=per_pe):
                    yield offset, element, Constant(word, None if per_pe is None else per_pe.index)
                case ir.AddressDatum(offset=offset, target=target):
                    word = Address(target.variable, target.offset, target.array)
                    yield offset, ScalarType.U16, word
                case ir.DsdDatum(offset=offset, dsd=dsd):
                    for i, word in enumerate(initial_dsd(dsd, self.program.descriptors)):
                        yield offset + i * ScalarType.U32.num_bytes, ScalarType.U32, word

    def _loaded_dsrs(self) -> NDArray[np.int32]:
        rows: list[tuple[int, int, int]] = []
        for load in self.program.instance.loads:
            if not isinstance(load.dsd, ir.MakeDsd):
                raise InternalError("a DSR is loaded at the start with a DSD that is not known")
            low, high = initial_dsd(load.dsd, self.program.descriptors)
            if isinstance(high, DsdShapeWord) and load.saves_address:
                high = replace(high, saves_address=True)
            words = [to_int32(int(self._value(word))) for word in (low, high)]
            rows.append((operand(load.dsr.file, load.dsr.index), words[0], words[1]))
        return np.array(rows, dtype=np.int32).reshape(-1, 3)

    # --- symbols and tasks ----------------------------------------------------------------------

    def _symbols(self) -> tuple[tuple[Symbol, ...], dict[str, str]]:
        names, addresses = self.plan.names, self.plan.addresses
        symbols = [
            Symbol(
                names[v],
                SymbolKind.VARIABLE,
                addresses[v],
                v.num_bytes,
                v.element,
                is_undefined=v.is_undefined,
                is_wide=v.is_wide,
            )
            for v in self.program.instance.globals
        ]
        for f in self.program.functions:
            types = _scalar_types(f.function)
            # A parameter of two words, a DSD or a wide integer, is none that a host can pass.
            is_launchable = len(types) == len(f.function.parameters)
            registers = tuple(self._register(r) for r in f.parameters) if is_launchable else ()
            symbols.append(
                Symbol(
                    names[f.function],
                    SymbolKind.FUNCTION,
                    self._targets[f.function],
                    code_size(f),
                    None,
                    registers,
                    types if is_launchable else (),
                )
            )
        exports: dict[str, str] = {}
        taken = {symbol.name for symbol in symbols}
        inside = {part.name: part for part in self._fields() if part.name not in taken}
        """Parts of variables that may be exported under several names."""
        for export in self.program.instance.exports:
            match export.target:
                case ir.Function() as function:
                    exports[export.name] = names[function]
                case ir.AddressOf(variable=variable, offset=0):
                    exports[export.name] = names[variable]
                case ir.AddressOf(variable=variable, offset=offset):
                    name = f"{names[variable]}+{offset}"
                    address, size = addresses[variable] + offset, variable.num_bytes - offset
                    inside[name] = Symbol(
                        name, SymbolKind.VARIABLE, address, size, variable.element
                    )
                    exports[export.name] = name
        return (*symbols, *inside.values()), exports

    def _fields(self) -> Iterator[Symbol]:
        """Yield the symbols of fields of structs."""
        for variable in self.program.instance.globals:
            name, address = self.plan.names[variable], self.plan.addresses[variable]
            for part in variable.parts:
                yield Symbol(
                    f"{name}{part.name}",
                    SymbolKind.VARIABLE,
                    address + part.offset,
                    part.num_bytes,
                    part.element,
                    is_undefined=variable.is_undefined,
                    is_wide=part.is_wide,
                )

    def _fifo(self, fifo: ir.Fifo) -> FifoBuffer:
        variable = fifo.variable
        address = self.plan.addresses[variable]
        return FifoBuffer(
            address,
            variable.num_bytes,
            fifo.activate_push,
            fifo.activate_pop,
            fifo.empty_action,
            fifo.full_action,
        )

    def _task(self, binding: ir.TaskBinding) -> Task:
        function = binding.function
        layout = lay_out_frame(function)
        return Task(
            kind=binding.kind,
            task_id=binding.task_id,
            entry=self._targets[function],
            name=self.plan.names[function],
            argument_registers=tuple(self._register(r) for r in layout.parameters),
            argument_types=_scalar_types(function),
            is_blocked=binding.is_blocked,
            is_active=binding.is_active,
        )


def _find_targets(program: ObjectProgram) -> dict[Label | ir.Function, int]:
    """Return the program counter of every label and function."""
    targets: dict[Label | ir.Function, int] = {}
    pc = 0
    for function in program.functions:
        targets[function.function] = pc
        for item in function.items:
            if isinstance(item, Label):
                targets[item] = pc
            else:
                pc += 1
    return targets


def _scalar_types(function: ir.Function) -> tuple[ScalarType, ...]:
    return tuple(p.type for p in function.parameters if isinstance(p.type, ScalarType))


def _locations(instructions: list[Instruction]) -> tuple[SourceLocation | None, ...]:
    known: dict[Span, SourceLocation] = {}
    locations: list[SourceLocation | None] = []
    for instruction in instructions:
        span = instruction.span
        if span is not None and span not in known:
            known[span] = SourceLocation(span.source.path, *span.source.line_column(span.start))
        locations.append(None if span is None else known[span])
    return tuple(locations)


def assemble(
    program: ir.ProgramIr, tiles: tuple[TileProgram, ...], placement: Placement
) -> WaferImage:
    """Put the tile programs on their PEs."""
    program_of_pe = np.full((program.height, program.width), NO_PROGRAM, dtype=np.int16)
    for number, instance in enumerate(program.instances):
        places = np.array(instance.pes, dtype=np.intp).reshape(-1, 2)
        program_of_pe[places[:, 1], places[:, 0]] = number
    return WaferImage(
        arch=placement.arch,
        width=program.width,
        height=program.height,
        fabric_width=placement.fabric_width,
        fabric_height=placement.fabric_height,
        offset_x=placement.offset_x,
        offset_y=placement.offset_y,
        programs=tiles,
        program_of_pe=program_of_pe,
        color_configs=program.color_configs,
        config_of_color=program.config_of_color,
        exports=bound_exports(program),
        uses_memcpy=placement.uses_memcpy,
        params=placement.params,
        colors=placement.colors,
        color_names=program.color_names,
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """The fabric, the program's place on it, and the options of the command line."""

    arch: str
    fabric_width: int
    fabric_height: int
    offset_x: int
    offset_y: int
    uses_memcpy: bool
    params: dict[str, str]
    colors: dict[str, str]
