"""A tiny assembler: tile programs and wafer images written by hand, for tests and experiments.

In: instructions, labels, data and tables in any order. Out: a `TileProgram` whose labels are
resolved and whose memory map is laid out (data first, then code, then the frame slots).

    program = ProgramBuilder("count")
    total = program.data("total", ScalarType.U16, [0])
    program.function("main")
    value = program.immediate(ScalarType.U16, 7)
    address = program.immediate(ScalarType.U16, total)
    program.emit(Opcode.STORE, ScalarType.U16, ra=address, rb=value)
    program.emit(Opcode.RETURN)
    image = make_image(architecture, program.build(), width=2)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import ImageError
from onewafer.image.instruction import (
    NUM_FIELDS,
    SAVES_ADDRESS,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    operand,
    size_of,
)
from onewafer.image.program import (
    REGISTER_BYTES,
    DsdConfig,
    DsdDescriptor,
    FifoBuffer,
    Patch,
    PatchTarget,
    QueueBinding,
    Rotation,
    Section,
    SectionKind,
    SourceLocation,
    Symbol,
    SymbolKind,
    Task,
    TaskKind,
    TileProgram,
)
from onewafer.image.register_addresses import ALL_MASKED
from onewafer.image.route import NO_ROUTE, NUM_COLORS, ColorConfig
from onewafer.image.scalar import ScalarType
from onewafer.image.wafer_image import Export, WaferImage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from onewafer.arch import Architecture

_STRUCT_CODES = {
    ScalarType.BOOL: "B",
    ScalarType.I8: "b",
    ScalarType.U8: "B",
    ScalarType.I16: "h",
    ScalarType.U16: "H",
    ScalarType.I32: "i",
    ScalarType.U32: "I",
    ScalarType.F16: "e",
    ScalarType.F32: "f",
    ScalarType.BF16: "H",
    ScalarType.CB16: "H",
}
"""Data types of values; for `bf16` and `cb16` the builder gets the bits."""


def to_bytes(element: ScalarType, values: Sequence[float]) -> bytes:
    """Return the little-endian bytes of `values`, each stored as an `element`."""
    code = _STRUCT_CODES[element]
    numbers = values if code in "ef" else [int(value) for value in values]
    return struct.pack(f"<{len(numbers)}{code}", *numbers)


def to_word(element: ScalarType, value: float) -> int:
    """Return the canonical register word of `value`, see `ScalarType`."""
    payload = to_bytes(element, [value])
    return int.from_bytes(payload, "little", signed=element.is_signed) & 0xFFFF_FFFF


class ProgramBuilder:
    """Builds one tile program; the methods for registers, data and tables return what they made."""

    def __init__(self, name: str, *, data_address: int = 0x100) -> None:
        """Start an empty program whose data lie from byte `data_address` on."""
        self._name = name
        self._data_address = data_address
        self._rows: list[list[int]] = []
        self._locations: list[SourceLocation | None] = []
        self._labels: dict[str, int] = {}
        self._label_uses: list[tuple[int, str]] = []
        self._num_registers = 1
        self._data = bytearray()
        self._variables: list[Symbol] = []
        self._functions: list[tuple[str, str, tuple[int, ...], tuple[ScalarType, ...]]] = []
        self._tasks: list[tuple[str, Task]] = []
        self._queues: list[QueueBinding] = []
        self._blocked_channels: list[int] = []
        self._unblocked_channels: list[int] = []
        self._dsds: list[DsdDescriptor] = []
        self._configs: list[DsdConfig] = []
        self._fifos: list[FifoBuffer] = []
        self._messages: list[str] = []
        self._exports: dict[str, str] = {}
        self._patches: list[Patch] = []
        self._reaches_registers = False
        self._reaches_queues = False
        self._rotations: list[Rotation] = []
        self._control_mask = 0
        self._unmasks_exceptions = False
        self._exception_mask = ALL_MASKED
        self.half = ScalarType.F16
        """The 16-bit float of the program (M148)."""

    # --- code ------------------------------------------------------------------------------------

    @property
    def pc(self) -> int:
        """Program counter of the next instruction."""
        return len(self._rows)

    def register(self) -> int:
        """Return a register that nothing else uses."""
        self._num_registers += 1
        return self._num_registers - 1

    def register_pair(self) -> int:
        """Return the first of two consecutive new registers (a DSD value)."""
        self._num_registers += 2
        return self._num_registers - 2

    def label(self, name: str) -> None:
        """Give the next instruction a name."""
        if name in self._labels:
            raise ImageError(f"label '{name}' is defined twice")
        self._labels[name] = self.pc

    def emit(
        self,
        opcode: Opcode,
        kind: ScalarType | DsdOperation = ScalarType.U16,
        *,
        rd: int = 0,
        ra: int = 0,
        rb: int = 0,
        rc: int = 0,
        imm: int | str = 0,
        aux: int = 0,
        location: SourceLocation | None = None,
    ) -> int:
        """Append an instruction and return its program counter; `imm` may be a label."""
        if isinstance(imm, str):
            self._label_uses.append((self.pc, imm))
            imm = 0
        self._rows.append(
            [int(opcode), int(kind), rd, ra, rb, rc, _to_signed(imm), _to_signed(aux)]
        )
        self._locations.append(location)
        return self.pc - 1

    def immediate(self, element: ScalarType, value: float) -> int:
        """Load a constant into a new register and return the register."""
        register = self.register()
        word = to_word(element, value)
        self.emit(Opcode.LOAD_IMMEDIATE, element, rd=register, imm=word)
        return register

    def dsd_value(self, dsd: int, *, base: int = 0, extent: int, stride: int = 1) -> int:
        """Load a DSD value (base in bytes, extent and stride in elements) into a new pair."""
        pair = self.register_pair()
        low, high = _dsd_words(dsd, base, extent, stride)
        self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=pair, imm=low)
        self.emit(Opcode.LOAD_IMMEDIATE, ScalarType.U32, rd=pair + 1, imm=high)
        return pair

    def dsr_load(
        self, mode: OperandMode, index: int, pair: int, *, saves_address: bool = False
    ) -> int:
        """Load DSR `index` of file `mode` from a DSD pair and return it as an encoded operand."""
        dsr = operand(mode, index)
        self.emit(Opcode.DSR_LOAD, rd=dsr, ra=pair, imm=int(saves_address))
        return dsr

    def dsr_load_constant(
        self,
        mode: OperandMode,
        index: int,
        dsd: int,
        *,
        base: int = 0,
        extent: int,
        stride: int = 1,
        saves_address: bool = False,
    ) -> int:
        """Load DSR `index` of file `mode` with a constant DSD and return it as an operand."""
        dsr = operand(mode, index)
        low, high = _dsd_words(dsd, base, extent, stride)
        high |= SAVES_ADDRESS if saves_address else 0
        self.emit(Opcode.DSR_LOAD_CONSTANT, rd=dsr, imm=low, aux=high)
        return dsr

    # --- memory ----------------------------------------------------------------------------------

    def data(
        self,
        name: str,
        element: ScalarType,
        values: Sequence[float] | None = None,
        *,
        num_elements: int = 0,
        is_exported: bool = True,
    ) -> int:
        """Place a variable, zeros unless `values` are given, and return its byte address."""
        payload = (
            bytes(element.num_bytes * num_elements) if values is None else to_bytes(element, values)
        )
        self._data.extend(bytes(-len(self._data) % element.num_bytes))
        address = self._data_address + len(self._data)
        self._data.extend(payload)
        self._variables.append(Symbol(name, SymbolKind.VARIABLE, address, len(payload), element))
        if is_exported:
            self._exports[name] = name
        return address

    def patch_immediate(self, pc: int, element: ScalarType, values: Sequence[float]) -> None:
        """Give the immediate at `pc` a value of its own on every PE."""
        self._patch(PatchTarget.IMMEDIATE, pc, element, values)

    def patch_data(self, address: int, element: ScalarType, values: Sequence[float]) -> None:
        """Give the datum at byte `address` a value of its own on every PE."""
        self._patch(PatchTarget.DATA, address, element, values)

    def _patch(
        self, target: PatchTarget, location: int, element: ScalarType, values: Sequence[float]
    ) -> None:
        words = np.array([to_word(element, value) for value in values], dtype=np.uint32)
        self._patches.append(Patch(target, location, element, words.view(np.int32)))

    # --- tables ----------------------------------------------------------------------------------

    def dsd(self, descriptor: DsdDescriptor) -> int:
        """Add a DSD descriptor and return its index."""
        self._dsds.append(descriptor)
        return len(self._dsds) - 1

    def config(self, config: DsdConfig) -> int:
        """Add the configuration of an asynchronous operation and return its index."""
        self._configs.append(config)
        return len(self._configs) - 1

    def fifo(self, buffer: FifoBuffer) -> int:
        """Add a FIFO and return its index."""
        self._fifos.append(buffer)
        return len(self._fifos) - 1

    def queue(self, queue: int, *, color: int, is_input: bool, control_offset: int = 0) -> None:
        """Attach a queue to a color at start-up, and to control tasks."""
        self._queues.append(QueueBinding(queue, color, is_input, control_offset))

    def block_channel(self, encoded_channel: int) -> None:
        """Block a `channel()` at start-up."""
        self._blocked_channels.append(encoded_channel)

    def unblock_channel(self, encoded_channel: int) -> None:
        """Let a data `channel()` without a data task start unblocked."""
        self._unblocked_channels.append(encoded_channel)

    def message(self, text: str) -> int:
        """Add the text of a TRAP and return its number."""
        self._messages.append(text)
        return len(self._messages) - 1

    def task(
        self,
        kind: TaskKind,
        task_id: int,
        label: str,
        *,
        argument_registers: tuple[int, ...] = (),
        argument_types: tuple[ScalarType, ...] = (),
        is_blocked: bool = False,
        is_active: bool = False,
    ) -> None:
        """Bind the code at `label` to a task id."""
        task = Task(
            kind=kind,
            task_id=task_id,
            entry=0,
            name=label,
            argument_registers=argument_registers,
            argument_types=argument_types,
            is_blocked=is_blocked,
            is_active=is_active,
        )
        self._tasks.append((label, task))

    def function(
        self,
        name: str,
        label: str | None = None,
        *,
        argument_registers: tuple[int, ...] = (),
        argument_types: tuple[ScalarType, ...] = (),
    ) -> None:
        """Export a function that the host can launch; without `label` it starts right here."""
        if label is None:
            label = name
            self.label(name)
        self._functions.append((name, label, argument_registers, argument_types))
        self._exports[name] = name

    # --- result ----------------------------------------------------------------------------------

    def reach_registers(self) -> None:
        """Let loads and stores go to the registers of the router."""
        self._reaches_registers = True

    def reach_queues(self) -> None:
        """Let loads and stores go to the registers of queues, and of the router."""
        self._reaches_registers = self._reaches_queues = True

    def rotate(self, rotation: Rotation) -> None:
        """Let a control task start in the place of a data task now and then."""
        self._rotations.append(rotation)

    def mask_control(self, mask: int) -> None:
        """Combine the entry of kept control wavelets with a mask."""
        self._control_mask = mask

    def unmask_exceptions(self, mask: int = ALL_MASKED) -> None:
        """Let floating point exceptions stop the program: those not in `mask`, which stores set."""
        self._reaches_registers = self._unmasks_exceptions = True
        self._exception_mask = mask

    def build(self) -> TileProgram:
        """Resolve the labels, lay out the memory and return the program."""
        rows = [list(row) for row in self._rows]
        for pc, label in self._label_uses:
            rows[pc][Field.IMM] = self._resolve(label)
        return TileProgram(
            name=self._name,
            code=np.array(rows, dtype=np.int32).reshape(-1, NUM_FIELDS),
            locations=tuple(self._locations),
            num_registers=self._num_registers,
            data=np.frombuffer(bytes(self._data), dtype=np.uint8),
            data_address=self._data_address,
            sections=self._sections(),
            symbols=(*self._variables, *self._function_symbols()),
            tasks=tuple(self._placed_task(label, task) for label, task in self._tasks),
            queues=tuple(self._queues),
            blocked_channels=tuple(self._blocked_channels),
            unblocked_channels=tuple(self._unblocked_channels),
            dsds=tuple(self._dsds),
            configs=tuple(self._configs),
            fifos=tuple(self._fifos),
            messages=tuple(self._messages),
            exports=dict(self._exports),
            patches=tuple(self._patches),
            reaches_registers=self._reaches_registers,
            reaches_queues=self._reaches_queues,
            rotations=tuple(self._rotations),
            control_mask=self._control_mask,
            unmasks_exceptions=self._unmasks_exceptions,
            exception_mask=self._exception_mask,
            half=self.half,
        )

    def _resolve(self, label: str) -> int:
        if label not in self._labels:
            known = ", ".join(sorted(self._labels)) or "none"
            raise ImageError(f"label '{label}' is not defined; the labels are: {known}")
        return self._labels[label]

    def _sections(self) -> tuple[Section, ...]:
        code_address = (self._data_address + len(self._data) + 3) & ~3
        code_bytes = sum(map(size_of, self._rows))
        stack_address = (code_address + code_bytes + 3) & ~3
        stack_bytes = REGISTER_BYTES * self._num_registers
        return (
            Section(SectionKind.DATA, self._data_address, len(self._data)),
            Section(SectionKind.CODE, code_address, code_bytes),
            Section(SectionKind.STACK, stack_address, stack_bytes),
        )

    def _function_symbols(self) -> list[Symbol]:
        return [
            Symbol(
                name,
                SymbolKind.FUNCTION,
                self._resolve(label),
                0,
                argument_registers=registers,
                argument_types=types,
            )
            for name, label, registers, types in self._functions
        ]

    def _placed_task(self, label: str, task: Task) -> Task:
        return Task(
            kind=task.kind,
            task_id=task.task_id,
            entry=self._resolve(label),
            name=task.name,
            argument_registers=task.argument_registers,
            argument_types=task.argument_types,
            is_blocked=task.is_blocked,
            is_active=task.is_active,
        )


def _dsd_words(dsd: int, base: int, extent: int, stride: int) -> tuple[int, int]:
    return base | extent << 16, (stride & 0xFFFF) | dsd << 16


def _to_signed(word: int) -> int:
    """Return a 32-bit word as the int32 that an instruction field holds."""
    return (word & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000


def make_image(
    architecture: Architecture,
    programs: TileProgram | Mapping[tuple[int, int], TileProgram],
    *,
    width: int = 1,
    height: int = 1,
    routes: Mapping[tuple[int, int, int], ColorConfig] | None = None,
    uses_memcpy: bool = False,
) -> WaferImage:
    """Return an image of one program on every PE, or of the program given for each PE (x, y).

    `routes` maps (x, y, color) to the router's configuration. The fabric is the program's
    rectangle plus the margins of `architecture`, which `uses_memcpy` claims.
    """
    placed = _place(programs, width=width, height=height)
    distinct = list(dict.fromkeys(id(program) for program in placed.values()))
    by_identity = {id(program): program for program in placed.values()}
    program_of_pe = np.full((height, width), -1, dtype=np.int16)
    for (x, y), program in placed.items():
        _check_inside(x, y, width=width, height=height, what=f"program '{program.name}'")
        program_of_pe[y, x] = distinct.index(id(program))
    configs, config_of_color = _intern(routes or {}, width=width, height=height)
    image_programs = tuple(by_identity[identity] for identity in distinct)
    margin_x = architecture.margin_west + architecture.margin_east
    margin_y = architecture.margin_north + architecture.margin_south
    return WaferImage(
        arch=architecture.name,
        width=width,
        height=height,
        fabric_width=width + margin_x,
        fabric_height=height + margin_y,
        offset_x=architecture.margin_west,
        offset_y=architecture.margin_north,
        programs=image_programs,
        program_of_pe=program_of_pe,
        color_configs=configs,
        config_of_color=config_of_color,
        exports=_exports(image_programs),
        uses_memcpy=uses_memcpy,
    )


def _place(
    programs: TileProgram | Mapping[tuple[int, int], TileProgram], *, width: int, height: int
) -> dict[tuple[int, int], TileProgram]:
    if isinstance(programs, TileProgram):
        return {(x, y): programs for y in range(height) for x in range(width)}
    return {(x, y): programs[x, y] for x, y in sorted(programs, key=lambda pe: (pe[1], pe[0]))}


def _check_inside(x: int, y: int, *, width: int, height: int, what: str) -> None:
    if not (0 <= x < width and 0 <= y < height):
        raise ImageError(f"{what} is placed on PE ({x}, {y}), outside {width}×{height}")


def _intern(
    routes: Mapping[tuple[int, int, int], ColorConfig], *, width: int, height: int
) -> tuple[tuple[ColorConfig, ...], NDArray[np.int16]]:
    indices: dict[ColorConfig, int] = {}
    table = np.full((height, width, NUM_COLORS), NO_ROUTE, dtype=np.int16)
    for (x, y, color), config in routes.items():
        _check_inside(x, y, width=width, height=height, what=f"the route of color {color}")
        table[y, x, color] = indices.setdefault(config, len(indices))
    return tuple(indices), table


def _exports(programs: tuple[TileProgram, ...]) -> tuple[Export, ...]:
    """Export what every program exports (the host addresses all PEs alike)."""
    if not programs:
        return ()
    first, *others = programs
    symbols = {symbol.name: symbol for symbol in first.symbols}
    common = [
        (name, symbols[target])
        for name, target in first.exports.items()
        if all(name in other.exports for other in others)
    ]
    return tuple(
        Export(
            name=name,
            kind=symbol.kind,
            element=symbol.element,
            is_mutable=symbol.kind is SymbolKind.VARIABLE,
            argument_types=symbol.argument_types,
        )
        for name, symbol in common
    )
