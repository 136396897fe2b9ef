"""A compute element that finds accesses outside variables, and reads of unwritten memory.

It runs the program with the same results and cycles as a plain one, and tracks the origin of
addresses: each register, DSR and pointer in memory has an *origin*, the variable whose
address went into it. An access must lie in the variable of its origin, or, where that is not known
(an address that the host or a wavelet brought), in some variable. Written bytes are recorded
in `LoadedProgram.written`; unwritten parts of a struct may be copied, see `shadow`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from onewafer.errors import SimulationError
from onewafer.image import Opcode, ScalarType, SymbolKind, decode_operand
from onewafer.simulator.arithmetic.registers import NO_REGISTER
from onewafer.simulator.protocol.messages import never_written, outside_variable, outside_variables
from onewafer.simulator.reference.compute_element.compute_element import ComputeElement
from onewafer.simulator.reference.compute_element.memory import ADDRESS_MASK, Memory
from onewafer.simulator.reference.compute_element.operand import (
    BlockOperand,
    PointerOperand,
    VectorOperand,
)
from onewafer.simulator.reference.compute_element.shadow import (
    Missing,
    Shadows,
    set_registers,
    used_registers,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onewafer.image import DsdDescriptor, OperandMode, Symbol, TileProgram
    from onewafer.simulator.reference.compute_element.element_program import ElementProgram
    from onewafer.simulator.reference.compute_element.instructions import Execute, Instruction
    from onewafer.simulator.reference.compute_element.operand import Operand
    from onewafer.simulator.reference.compute_element.picker import Ready

UNKNOWN = -1
"""Origin of a value that is no address, or an address of unknown origin."""
_ADDRESS_BYTES = 2
"""Bytes of a pointer; the base of a DSD is the low half of its first word."""
_TIMESTAMP_BYTES = 6
_REGISTER_BYTES = 4


class Variables:
    """The variables of a tile program, by number of their symbol and by address."""

    def __init__(self, program: TileProgram) -> None:
        self.symbols = program.symbols
        self.pointers = dict[int, int](program.pointers.tolist())
        """Pointers in initial data: address of the pointer → the symbol that it points to."""
        whole: list[tuple[int, int]] = []
        variables = [
            (symbol.address, -symbol.num_bytes, number)
            for number, symbol in enumerate(program.symbols)
            if symbol.kind is SymbolKind.VARIABLE and symbol.num_bytes
        ]
        self._structs: set[int] = set()
        end = 0
        for address, negative, number in sorted(variables):
            if address >= end:  # others are places inside of one, which exports name
                whole.append((address, number))
                end = address - negative
            elif self._is_field(number, whole[-1][1]):
                self._structs.add(whole[-1][1])
        self._addresses = [address for address, _ in whole]
        self._numbers = [number for _, number in whole]

    def at(self, address: int) -> int:
        """Return the number of the variable at an address, or `UNKNOWN`."""
        address &= ADDRESS_MASK
        place = bisect_right(self._addresses, address) - 1
        if place < 0 or address >= _end(self.symbols[self._numbers[place]]):
            return UNKNOWN
        return self._numbers[place]

    def named_at(self, address: int) -> Symbol | None:
        """Return the name for errors: the field of a struct at an address, or the variable."""
        address, number = address & ADDRESS_MASK, self.at(address)
        if number == UNKNOWN:
            return None
        whole = self.symbols[number]
        fields = (s for n, s in enumerate(self.symbols) if self._is_field(n, number))
        return next((s for s in fields if s.address <= address < _end(s)), whole)

    def is_in_struct(self, address: int) -> bool:
        """Tell whether an address lies in a struct or in an array of structs."""
        return self.at(address) in self._structs

    def _is_field(self, number: int, whole: int) -> bool:
        name = self.symbols[whole].name
        return self.symbols[number].name.startswith((f"{name}.", f"{name}["))

    def before(self, address: int) -> Symbol | None:
        """Return the last variable that begins at an address or before it."""
        place = bisect_right(self._addresses, address & ADDRESS_MASK) - 1
        return self.symbols[self._numbers[place]] if place >= 0 else None

    def check(self, origin: int, address: int, num_bytes: int) -> None:
        """Raise `SimulationError` if an access leaves the variable of its origin."""
        address &= ADDRESS_MASK
        number = self.at(address) if origin == UNKNOWN else origin
        if number == UNKNOWN:
            raise SimulationError(outside_variables(address, num_bytes, self.before(address)))
        symbol = self.symbols[number]
        if address < symbol.address or address + num_bytes > _end(symbol):
            raise SimulationError(outside_variable(symbol, address, num_bytes))


def _end(symbol: Symbol) -> int:
    return symbol.address + symbol.num_bytes


class CheckedMemory(Memory):
    """Memory that records which bytes were written, and where its pointers come from."""

    __slots__ = ("_origins", "_sources", "found", "is_copying", "variables", "written")

    def __init__(
        self, row: NDArray[np.uint8], variables: Variables, written: NDArray[np.uint8] | None
    ) -> None:
        """Take a row of the memory, and the record of its written bytes; None: not recorded."""
        super().__init__(row)
        self.variables = variables
        self.written = None if written is None else memoryview(written)  # pyright: ignore[reportArgumentType]  # arrays are buffers
        self.is_copying = False
        """Unwritten bytes of a struct may be read."""
        self.found: Missing | None = None
        """The unwritten bytes that the last such read found."""
        self._sources: dict[int, int] = {}
        """Address of a byte that is a copy of an unwritten one → address of the unwritten one."""
        self._origins: dict[int, tuple[int, int]] = {}
        """Origins of pointers and of first words of DSDs, by their address, with the pointer.

        The host writes memory without notice; a pointer that it wrote differs from the recorded
        one.
        """
        for address, origin in variables.pointers.items():
            self.keep_origin(address, origin)

    def origin(self, address: int) -> int:
        """Return the origin of the pointer at `address`."""
        kept = self._origins.get(address)
        if kept is None or super().read(address, _ADDRESS_BYTES) != kept[1]:
            return UNKNOWN
        return kept[0]

    def keep_origin(self, address: int, origin: int) -> None:
        """Record the origin of the pointer that was just written at `address`."""
        self._origins[address] = origin, super().read(address, _ADDRESS_BYTES)

    def read(self, address: int, num_bytes: int) -> int:
        """Return the word at `address`, of which all bytes must have been written."""
        word = super().read(address, num_bytes)
        if self.written is not None:
            first = address & ADDRESS_MASK
            if not all(self.written[first : first + num_bytes]):
                self.found = self._missing(first, num_bytes)
                is_copy = self.found.source != first or self.variables.is_in_struct(first)
                if not (self.is_copying and is_copy):
                    raise SimulationError(self.found.message)
        return word

    def _missing(self, first: int, num_bytes: int) -> Missing:
        assert self.written is not None
        places = [i for i in range(num_bytes) if not self.written[first + i]]
        place = first + places[0]
        source, origin = self._sources.get(place, first), None
        if source != first:
            symbol = self.variables.named_at(source)
            origin = f"'{symbol.name}'" if symbol is not None else f"address 0x{source:04x}"
        text = never_written(self.variables.named_at(first), first, num_bytes, origin)
        if places[-1] == num_bytes - 1:  # what the sign, or zeros, of a wider number are made of
            places += range(num_bytes, _REGISTER_BYTES)
        return Missing(sum(1 << i for i in places), source, text)

    def keep_missing(self, address: int, num_bytes: int, missing: Missing) -> None:
        """Note that the bytes just written at `address` are a copy of unwritten ones."""
        assert self.written is not None
        for i in range(num_bytes):
            if missing.bytes >> i & 1:
                self.written[address + i] = 0
                self._sources[address + i] = missing.source

    def write(self, address: int, word: int, num_bytes: int) -> None:
        """Store the low bytes of `word` at `address`."""
        super().write(address, word, num_bytes)
        first = address & ADDRESS_MASK
        if self.written is not None:
            self.written[first : first + num_bytes] = b"\1" * num_bytes
        if self._origins:
            for place in range(first - _ADDRESS_BYTES + 1, first + num_bytes):
                self._origins.pop(place, None)


class _CheckedPointer(PointerOperand):
    __slots__ = ("_origin", "_variables")

    def __init__(self, memory: CheckedMemory, address: int, num_bytes: int, origin: int) -> None:
        super().__init__(memory, address, num_bytes)
        self._variables, self._origin = memory.variables, origin

    def write(self, k: int, word: int) -> None:
        """Set the scalar, after checking the bounds of its variable."""
        self._variables.check(self._origin, self.address, self._num_bytes)
        super().write(k, word)


class _CheckedVector(VectorOperand):
    __slots__ = ("_origin", "_variables")

    def __init__(
        self, memory: CheckedMemory, words: tuple[int, int], num_bytes: int, origin: int
    ) -> None:
        super().__init__(memory, words, num_bytes)
        self._variables, self._origin = memory.variables, origin

    def read(self, k: int) -> int:
        """Return element k, inside of its variable."""
        self._variables.check(self._origin, self.base + k * self._step, self._num_bytes)
        return super().read(k)

    def write(self, k: int, word: int) -> None:
        """Set element k, inside of its variable."""
        self._variables.check(self._origin, self.base + k * self._step, self._num_bytes)
        super().write(k, word)


class _CheckedBlock(BlockOperand):
    __slots__ = ("_origin", "_variables")

    def __init__(
        self,
        memory: CheckedMemory,
        words: tuple[int, int],
        descriptor: DsdDescriptor,
        num_bytes: int,
        origin: int,
    ) -> None:
        super().__init__(memory, words, descriptor, num_bytes)
        self._variables, self._origin = memory.variables, origin

    def read(self, k: int) -> int:
        """Return element k, inside of its variable."""
        self._variables.check(self._origin, self._address(k), self._num_bytes)
        return super().read(k)

    def write(self, k: int, word: int) -> None:
        """Set element k, inside of its variable."""
        self._variables.check(self._origin, self._address(k), self._num_bytes)
        super().write(k, word)


class CheckedElement(ComputeElement):
    """A compute element whose accesses are checked."""

    __slots__ = ("_bounds", "_dsr_origins", "_variables", "_written", "origins", "shadows")

    def __init__(
        self,
        tables: ElementProgram,
        *others: Any,  # noqa: ANN401  # as those of the base class
        variables: Variables,
        written: NDArray[np.uint8] | None,
        **options: Any,  # noqa: ANN401  # likewise
    ) -> None:
        self._variables = variables
        self._written = None if written is None else written[options["index"]]
        super().__init__(tables, *others, **options)
        self._bounds = self._checking.bounds
        self.origins = [UNKNOWN] * len(self.registers)
        """The origin of each register; for a DSD, that of its first register."""
        self._dsr_origins = [UNKNOWN] * len(self.dsrs)
        self.shadows = Shadows()

    def _make_memory(self, row: NDArray[np.uint8]) -> Memory:
        return CheckedMemory(row, self._variables, self._written)

    @property
    def checked_memory(self) -> CheckedMemory:
        """The memory of this PE."""
        assert isinstance(self.memory, CheckedMemory)
        return self.memory

    def check(self, origin: int, address: int, num_bytes: int) -> None:
        """Raise `SimulationError` if a scalar access leaves its variable."""
        if self._bounds:
            self._variables.check(origin, address, num_bytes)

    def holds(self, condition: int) -> bool:
        """Tell whether the condition of an instruction, which was written, holds (M153)."""
        self.shadows.use((abs(condition),))
        return super().holds(condition)

    def origin_of_dsd(self, register: int) -> int:
        """Return the origin of a DSD in two registers; if unknown, the variable at its base."""
        origin = self.origins[register]
        return self._variables.at(self.registers[register]) if origin == UNKNOWN else origin

    def load_dsr(self, encoded: int, origin: int) -> None:
        """Note the origin of the DSD that is in a DSR now."""
        self._dsr_origins[self.dsr_index(*decode_operand(encoded))] = origin

    def _take_arguments(self, chosen: Ready, cycle: int) -> None:
        starter = chosen.task
        if starter is None:
            assert self.pending_launch is not None
            starter = self.pending_launch[0]
        super()._take_arguments(chosen, cycle)
        for register in starter.argument_registers:
            self.origins[register] = UNKNOWN
            self.shadows.set(register, None)

    def set_result(self, pc: int, word: int) -> None:
        """Set the register of an operation's result, which counts as written."""
        super().set_result(pc, word)
        if register := self.result_register(pc):
            self.shadows.set(register, None)

    def make_operand(self, mode: OperandMode, index: int, num_bytes: int) -> Operand:
        """Return an operand that checks where it is read and written."""
        operand = super().make_operand(mode, index, num_bytes)
        memory = self.memory
        if not self._bounds:
            return operand
        assert isinstance(memory, CheckedMemory)
        match operand:
            case PointerOperand(address=address):
                return _CheckedPointer(memory, address, num_bytes, self.origins[index])
            case VectorOperand():
                words, origin = self._dsr(mode, index)
                return _CheckedVector(memory, words, num_bytes, origin)
            case BlockOperand(number=number):
                words, origin = self._dsr(mode, index)
                descriptor = self.program.dsds[number]
                return _CheckedBlock(memory, words, descriptor, num_bytes, origin)
            case _:
                return operand

    def _dsr(self, mode: OperandMode, index: int) -> tuple[tuple[int, int], int]:
        first = self.dsr_index(mode, index)
        words = self.dsrs[first], self.dsrs[first + 1]
        origin = self._dsr_origins[first]
        return words, self._variables.at(words[0]) if origin == UNKNOWN else origin


# --- what instructions do to origins -------------------------------------------------------------


def check_instructions(tables: ElementProgram) -> ElementProgram:
    """Return the tables of a program whose instructions check their accesses."""
    named: list[int] = tables.program.addressed.tolist() or [UNKNOWN] * len(tables.code)
    code = [
        replace(instruction, execute=_checked(instruction, number))
        for instruction, number in zip(tables.code, named, strict=True)
    ]
    return replace(tables, code=code)


def _checked(instruction: Instruction, named: int) -> Execute:
    """Return the checked action of an instruction; `named` is the variable of its address."""
    plain = instruction.execute
    make = MAKERS.get(instruction.opcode)
    return _shadowed(plain if make is None else make(plain, named), instruction)


def _shadowed(plain: Execute, instruction: Instruction) -> Execute:
    """Return an instruction that requires written values."""
    used, changed = used_registers(instruction), set_registers(instruction)
    is_move, is_load = (instruction.opcode is one for one in (Opcode.MOVE, Opcode.LOAD))

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        shadows = element.shadows
        if not shadows:
            return plain(element, instruction, cycle)
        shadows.use(used)
        given = shadows.of(instruction.ra) if is_move else None
        following = plain(element, instruction, cycle)
        if not is_load:
            for register in changed:
                shadows.set(register, given)
        return following

    return cast("Execute", execute)


Maker = Callable[["Execute", int], "Execute"]


def _forget(plain: Execute, named: int) -> Execute:
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        following = plain(element, instruction, cycle)
        element.origins[instruction.rd] = UNKNOWN
        return following

    return cast("Execute", execute)


def _load_immediate(plain: Execute, named: int) -> Execute:
    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        element.origins[instruction.rd] = named
        return plain(element, instruction, cycle)

    return cast("Execute", execute)


def _copy(plain: Execute, named: int) -> Execute:
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        element.origins[instruction.rd] = element.origins[instruction.ra]
        return plain(element, instruction, cycle)

    return cast("Execute", execute)


def _sum(plain: Execute, named: int) -> Execute:
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        left, right = element.origins[instruction.ra], element.origins[instruction.rb]
        is_difference = instruction.opcode is Opcode.SUB
        if right != UNKNOWN:
            left = right if left == UNKNOWN and not is_difference else UNKNOWN
        element.origins[instruction.rd] = left
        return plain(element, instruction, cycle)

    return cast("Execute", execute)


def _load(plain: Execute, named: int) -> Execute:
    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        address = element.registers[instruction.ra] + instruction.imm
        num_bytes = ScalarType(instruction.type).num_bytes
        if element.register_at(address, num_bytes) != NO_REGISTER:
            element.origins[instruction.rd] = UNKNOWN
            element.shadows.set(instruction.rd, None)
            return plain(element, instruction, cycle)
        origin = element.origins[instruction.ra] if named == UNKNOWN else named
        element.check(origin, address, num_bytes)
        memory = element.checked_memory
        memory.found, memory.is_copying = None, True
        try:
            following = plain(element, instruction, cycle)
        finally:
            memory.is_copying = False
        element.shadows.set(instruction.rd, memory.found)
        element.origins[instruction.rd] = memory.origin(address & ADDRESS_MASK)
        return following

    return cast("Execute", execute)


def _store(plain: Execute, named: int) -> Execute:
    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        address = element.registers[instruction.ra] + instruction.imm
        num_bytes = ScalarType(instruction.type).num_bytes
        if element.register_at(address, num_bytes) != NO_REGISTER:
            return plain(element, instruction, cycle)
        origin = element.origins[instruction.ra] if named == UNKNOWN else named
        element.check(origin, address, num_bytes)
        following = plain(element, instruction, cycle)
        missing = element.shadows.of(instruction.rb)
        if missing is not None:
            element.checked_memory.keep_missing(address & ADDRESS_MASK, num_bytes, missing)
        origin = element.origins[instruction.rb]
        if origin != UNKNOWN and num_bytes >= _ADDRESS_BYTES:
            element.checked_memory.keep_origin(address & ADDRESS_MASK, origin)
        return following

    return cast("Execute", execute)


def _timestamp(plain: Execute, named: int) -> Execute:
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        address = element.registers[instruction.ra]
        element.check(element.origins[instruction.ra], address, _TIMESTAMP_BYTES)
        return plain(element, instruction, cycle)

    return cast("Execute", execute)


def _make_dsd(plain: Execute, named: int) -> Execute:
    """Give a DSD the origin of its base: a register, or the DSD that it changes."""
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        is_base = instruction.opcode is Opcode.DSD_SET_BASE
        origin = element.origin_of_dsd(instruction.rb if is_base else instruction.ra)
        following = plain(element, instruction, cycle)
        element.origins[instruction.rd : instruction.rd + 2] = origin, UNKNOWN
        return following

    return cast("Execute", execute)


def _load_dsr(plain: Execute, named: int) -> Execute:
    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        is_constant = instruction.opcode is Opcode.DSR_LOAD_CONSTANT
        origin = named if is_constant else element.origin_of_dsd(instruction.ra)
        element.load_dsr(instruction.rd, origin)
        return plain(element, instruction, cycle)

    return cast("Execute", execute)


def _map_access(plain: Execute, named: int) -> Execute:
    del named

    def execute(element: CheckedElement, instruction: Instruction, cycle: int) -> int:
        origin = element.origin_of_dsd(instruction.ra)
        element.origins[instruction.ra] = origin
        num_bytes = ScalarType(instruction.type).num_bytes
        element.check(origin, element.registers[instruction.ra], num_bytes)
        following = plain(element, instruction, cycle)
        if instruction.opcode is Opcode.MAP_READ:
            element.origins[instruction.rd] = UNKNOWN
        return following

    return cast("Execute", execute)


_OF_NO_ADDRESS = (
    *(Opcode.MUL, Opcode.DIV, Opcode.REM, Opcode.NEG, Opcode.AND, Opcode.OR, Opcode.XOR),
    *(Opcode.NOT, Opcode.SHL, Opcode.SHR, Opcode.EQUAL, Opcode.NOT_EQUAL, Opcode.LESS),
    *(Opcode.LESS_EQUAL, Opcode.COORDINATE),
)
MAKERS: dict[Opcode, Maker] = {
    **dict.fromkeys(_OF_NO_ADDRESS, _forget),
    Opcode.LOAD_IMMEDIATE: _load_immediate,
    Opcode.MOVE: _copy,
    Opcode.CONVERT: _copy,
    Opcode.ADD: _sum,
    Opcode.SUB: _sum,
    Opcode.LOAD: _load,
    Opcode.STORE: _store,
    Opcode.TIMESTAMP: _timestamp,
    Opcode.DSD_SET_BASE: _make_dsd,
    Opcode.DSD_SET_LENGTH: _make_dsd,
    Opcode.DSD_SET_STRIDE: _make_dsd,
    Opcode.DSD_ADVANCE: _make_dsd,
    Opcode.DSR_LOAD: _load_dsr,
    Opcode.DSR_LOAD_CONSTANT: _load_dsr,
    Opcode.MAP_READ: _map_access,
    Opcode.MAP_WRITE: _map_access,
}
"""How each opcode sets origins; other instructions change no register."""
