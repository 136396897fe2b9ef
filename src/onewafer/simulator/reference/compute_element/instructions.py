"""The instructions of the main thread: one function an opcode, found by a table.

`execute(element, instruction, cycle)` runs an instruction that issues in `cycle`; the program
counter already points to the next one. It returns the cycle in which the next instruction may
issue, or `STOP` if the main thread stops.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from onewafer.errors import SimulationError
from onewafer.image import (
    SAVES_ADDRESS,
    DsdOperation,
    Field,
    Opcode,
    OperandMode,
    PrintForm,
    ScalarType,
    TileProgram,
    condition_of,
    decode_operand,
    issue_cycles,
)
from onewafer.simulator.arithmetic import binary, canonical, conversion, dsd_element, unary
from onewafer.simulator.arithmetic.registers import NO_REGISTER
from onewafer.simulator.protocol.messages import CALLS_TOO_DEEP
from onewafer.simulator.reference.compute_element.operand import to_signed16
from onewafer.simulator.state.schema import RETURN_STACK_DEPTH
from onewafer.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onewafer.arch import Timing
    from onewafer.simulator.reference.compute_element.counter import CycleCounter
    from onewafer.simulator.reference.compute_element.exceptions import Exceptions
    from onewafer.simulator.reference.compute_element.memory import Memory
    from onewafer.simulator.reference.compute_element.results import LastResult

STOP = -1
NOT_YET = -2
_WORD = 0xFFFF_FFFF
_HALF = 0xFFFF
_UPPER = 0xFFFF_0000


class Processor(Protocol):
    """The interface of a processor for its instructions."""

    x: int
    y: int
    program: TileProgram
    memory: Memory
    registers: memoryview[int]
    dsrs: memoryview[int]
    return_stack: memoryview[int]
    fifo_lengths: memoryview[int]
    pc: int
    return_depth: int
    counter: CycleCounter
    last_result: LastResult
    exceptions: Exceptions | None

    def issue(self, instruction: Instruction, cycle: int) -> int:
        """Issue a DSD operation (M30, M31, M38); as `execute` returns."""
        ...

    def dsr_index(self, mode: OperandMode, index: int) -> int:
        """Return the index of a DSR in `dsrs`."""
        ...

    def holds(self, condition: int) -> bool:
        """Tell whether the condition of an instruction holds (M153)."""
        ...

    def register_at(self, address: int, num_bytes: int) -> int:
        """Return the register at an address (M131, M134), or `NO_REGISTER`."""
        ...

    def may_touch_router(self, cycle: int) -> bool:
        """Tell whether the main thread is at the clock, not ahead of it."""
        ...

    def read_register(self, register: int) -> int:
        """Return a register as of the start of the cycle (M132, M133)."""
        ...

    def write_register(self, register: int, word: int) -> None:
        """Set a register at the end of the cycle."""
        ...

    def activate(self, task_id: int, pc: int, cycle: int) -> None:
        """Make a local task pending, by the instruction at `pc` (M61)."""
        ...

    def set_blocked(self, encoded: int, *, is_blocked: bool) -> None:
        """Block or unblock a `channel()` (M61, M146)."""
        ...

    def unblock_stream(self, cycle: int) -> None:
        """Accept the next host command (M70)."""
        ...

    def end_task(self, cycle: int) -> None:
        """Give the main thread to the picker from `cycle` on."""
        ...

    def record(self, cycle: int, kind: EventKind, subject: int, value: int) -> None:
        """Record an event, if there is an event sink."""
        ...


class Execute(Protocol):
    """Runs one instruction."""

    def __call__(self, element: Processor, instruction: Instruction, cycle: int, /) -> int:
        """Return the next issue cycle or `STOP`."""
        ...


@dataclass(frozen=True, slots=True)
class Instruction:
    """A decoded row of the code array."""

    execute: Execute
    opcode: Opcode
    type: int
    rd: int
    ra: int
    rb: int
    rc: int
    imm: int
    aux: int
    cycles: int
    """Cost in cycles; for a branch, if it is not taken."""
    taken_cycles: int
    function: Callable[..., int]
    """The scalar arithmetic of the instruction, or of one DSD element."""
    operands: tuple[tuple[OperandMode, int], ...]
    """DSD: dest, src0, src1, scalar."""


def decode_program(program: TileProgram, timing: Timing) -> list[Instruction]:
    """Return the instructions of a program, without patches."""
    rows: list[list[int]] = program.code.tolist()
    costs = issue_cycles(program, timing)
    return [
        decode(row, program.half, cycles=cycles, taken_cycles=timing.branch_taken_cycles)
        for row, cycles in zip(rows, costs, strict=True)
    ]


def decode(row: list[int], half: ScalarType, *, cycles: int, taken_cycles: int) -> Instruction:
    """Decode one row of a program with that 16-bit float."""
    opcode = Opcode(row[Field.OPCODE])
    operands = row[Field.RD : Field.RC + 1] if opcode is Opcode.DSD else ()
    return Instruction(
        execute=_EXECUTE[opcode],
        opcode=opcode,
        type=row[Field.TYPE],
        rd=row[Field.RD],
        ra=row[Field.RA],
        rb=row[Field.RB],
        rc=row[Field.RC],
        imm=row[Field.IMM],
        aux=row[Field.AUX],
        cycles=cycles,
        taken_cycles=taken_cycles,
        function=_function(opcode, row, half),
        operands=tuple(decode_operand(encoded) for encoded in operands),
    )


def with_condition(instruction: Instruction) -> Instruction:
    """Return an instruction that has no effect unless its condition holds (M153)."""
    condition = condition_of(instruction.opcode, instruction.rc)
    if not condition:
        return instruction
    execute = instruction.execute

    def execute_if(element: Processor, one: Instruction, cycle: int) -> int:
        return execute(element, one, cycle) if element.holds(condition) else cycle + one.cycles

    return replace(instruction, execute=execute_if)


def _no_function(*_: int) -> int:
    raise NotImplementedError


def _function(opcode: Opcode, row: list[int], half: ScalarType) -> Callable[..., int]:
    match opcode:
        case Opcode.NEG | Opcode.NOT:
            return unary(opcode, ScalarType(row[Field.TYPE]))
        case Opcode.CONVERT:
            return conversion(ScalarType(row[Field.TYPE]), ScalarType(row[Field.IMM]))
        case Opcode.DSD:
            return dsd_element(DsdOperation(row[Field.TYPE]), half)
        case _ if Opcode.ADD <= opcode <= Opcode.LESS_EQUAL:
            return binary(opcode, ScalarType(row[Field.TYPE]))
        case _:
            return _no_function


# --- control flow --------------------------------------------------------------------------------


def _end_task(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.end_task(cycle + instruction.cycles)
    return STOP


def _jump(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.pc = instruction.imm
    return cycle + instruction.cycles


def _branch_zero(element: Processor, instruction: Instruction, cycle: int) -> int:
    if element.registers[instruction.ra]:
        return cycle + instruction.cycles
    element.pc = instruction.imm
    return cycle + instruction.taken_cycles


def _branch_nonzero(element: Processor, instruction: Instruction, cycle: int) -> int:
    if not element.registers[instruction.ra]:
        return cycle + instruction.cycles
    element.pc = instruction.imm
    return cycle + instruction.taken_cycles


def _call(element: Processor, instruction: Instruction, cycle: int) -> int:
    depth = element.return_depth
    if depth == RETURN_STACK_DEPTH:
        raise SimulationError(CALLS_TOO_DEEP)
    element.return_stack[depth] = element.pc
    element.return_depth = depth + 1
    element.pc = instruction.imm
    return cycle + instruction.cycles


def _return(element: Processor, instruction: Instruction, cycle: int) -> int:
    depth = element.return_depth
    if not depth:
        return _end_task(element, instruction, cycle)
    element.return_depth = depth - 1
    element.pc = element.return_stack[depth - 1]
    return cycle + instruction.cycles


def _trap(element: Processor, instruction: Instruction, cycle: int) -> int:
    if not element.registers[instruction.ra]:
        raise SimulationError(element.program.messages[instruction.imm])
    return cycle + instruction.cycles


# --- data movement and arithmetic ----------------------------------------------------------------


def _load_immediate(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.registers[instruction.rd] = instruction.imm & _WORD
    return cycle + instruction.cycles


def _move(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    registers[instruction.rd] = registers[instruction.ra]
    return cycle + instruction.cycles


def _load(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    address = registers[instruction.ra] + instruction.imm
    register = element.register_at(address, ScalarType(instruction.type).num_bytes)
    if register != NO_REGISTER:
        if not element.may_touch_router(cycle):
            return NOT_YET
        word = element.read_register(register)
        registers[instruction.rd] = canonical(word, ScalarType(instruction.type))
        return cycle + instruction.cycles
    registers[instruction.rd] = _read(element, address, instruction.type)
    return cycle + instruction.cycles


def _read(element: Processor, address: int, type_: int) -> int:
    """Return a scalar in memory as a canonical register word."""
    num_bytes = ScalarType(type_).num_bytes
    word = element.memory.read(address, num_bytes)
    if type_ in _SIGNED:
        sign = 1 << (8 * num_bytes - 1)
        word = ((word ^ sign) - sign) & _WORD
    return word


_SIGNED = frozenset((ScalarType.I8, ScalarType.I16))


def _store(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    num_bytes = ScalarType(instruction.type).num_bytes
    address = registers[instruction.ra] + instruction.imm
    register = element.register_at(address, num_bytes)
    if register != NO_REGISTER:
        if not element.may_touch_router(cycle):
            return NOT_YET
        element.write_register(register, _stored(registers, instruction))
        return cycle + instruction.cycles
    element.memory.write(address, _stored(registers, instruction), num_bytes)
    return cycle + instruction.cycles


def _stored(registers: Sequence[int], instruction: Instruction) -> int:
    """Return the stored word: a register or, for register 0, the constant in `aux`."""
    return registers[instruction.rb] | instruction.aux & _WORD


def _binary(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    registers[instruction.rd] = instruction.function(
        registers[instruction.ra], registers[instruction.rb] | instruction.imm & _WORD
    )
    return cycle + instruction.cycles


def _unary(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    registers[instruction.rd] = instruction.function(registers[instruction.ra])
    return cycle + instruction.cycles


# --- data structure descriptors ------------------------------------------------------------------


def _dsd_set_base(element: Processor, instruction: Instruction, cycle: int) -> int:
    value = element.registers[instruction.rb] & _HALF
    return _update_low(element, instruction, cycle, value)


def _dsd_advance(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    offset = to_signed16(registers[instruction.rb]) * instruction.imm
    return _update_low(element, instruction, cycle, registers[instruction.ra] + offset & _HALF)


def _update_low(element: Processor, instruction: Instruction, cycle: int, value: int) -> int:
    registers = element.registers
    low, high = registers[instruction.ra], registers[instruction.ra + 1]
    registers[instruction.rd] = low & _UPPER | value
    registers[instruction.rd + 1] = high
    return cycle + instruction.cycles


def _dsd_set_length(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    low, high = registers[instruction.ra], registers[instruction.ra + 1]
    registers[instruction.rd] = low & _HALF | (registers[instruction.rb] & _HALF) << 16
    registers[instruction.rd + 1] = high
    return cycle + instruction.cycles


def _dsd_set_stride(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    low, high = registers[instruction.ra], registers[instruction.ra + 1]
    registers[instruction.rd] = low
    registers[instruction.rd + 1] = high & _UPPER | registers[instruction.rb] & _HALF
    return cycle + instruction.cycles


def _dsr_load(element: Processor, instruction: Instruction, cycle: int) -> int:
    mode, index = decode_operand(instruction.rd)
    registers = element.registers
    first = element.dsr_index(mode, index)
    element.dsrs[first] = registers[instruction.ra]
    saves = SAVES_ADDRESS if instruction.imm else 0
    element.dsrs[first + 1] = registers[instruction.ra + 1] | saves
    return cycle + instruction.cycles


def _dsr_load_constant(element: Processor, instruction: Instruction, cycle: int) -> int:
    first = element.dsr_index(*decode_operand(instruction.rd))
    element.dsrs[first] = instruction.imm & _WORD
    element.dsrs[first + 1] = instruction.aux & _WORD
    return cycle + instruction.cycles


def _dsd(element: Processor, instruction: Instruction, cycle: int) -> int:
    return element.issue(instruction, cycle)


# --- map loops -----------------------------------------------------------------------------------


def _map_begin(element: Processor, instruction: Instruction, cycle: int) -> int:
    if not element.registers[instruction.ra]:
        element.pc = instruction.imm
    return cycle + instruction.cycles


def _map_read(element: Processor, instruction: Instruction, cycle: int) -> int:
    address = _advance(element, instruction)
    element.registers[instruction.rd] = _read(element, address, instruction.type)
    return cycle + instruction.cycles


def _map_write(element: Processor, instruction: Instruction, cycle: int) -> int:
    word = element.registers[instruction.rb]
    address = _advance(element, instruction)
    element.memory.write(address, word, ScalarType(instruction.type).num_bytes)
    return cycle + instruction.cycles


def _advance(element: Processor, instruction: Instruction) -> int:
    """Return the address of the next element of a DSD, and advance the DSD past it."""
    registers = element.registers
    low, high = registers[instruction.ra], registers[instruction.ra + 1]
    step = to_signed16(high) * ScalarType(instruction.type).num_bytes
    registers[instruction.ra] = low & _UPPER | (low + step) & _HALF
    return low & _HALF


def _map_step(element: Processor, instruction: Instruction, cycle: int) -> int:
    registers = element.registers
    left = (registers[instruction.ra] - 1) & _WORD
    registers[instruction.ra] = left
    if left:
        element.pc = instruction.imm
    return cycle + instruction.cycles


# --- tasks and machine ---------------------------------------------------------------------------


def _activate(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.activate(instruction.imm, element.pc - 1, cycle)
    return cycle + instruction.cycles


def _block(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.set_blocked(instruction.imm, is_blocked=True)
    return cycle + instruction.cycles


def _unblock(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.set_blocked(instruction.imm, is_blocked=False)
    return cycle + instruction.cycles


def _unblock_command_stream(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.unblock_stream(cycle)
    return cycle + instruction.cycles


def _coordinate(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.registers[instruction.rd] = element.y if instruction.imm else element.x
    return cycle + instruction.cycles


def _fifo_set_length(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.fifo_lengths[instruction.imm] = element.registers[instruction.ra] & _HALF
    return cycle + instruction.cycles


def _timestamp(element: Processor, instruction: Instruction, cycle: int) -> int:
    address = element.registers[instruction.ra]
    issue = element.last_result.issue_of_read(cycle)
    read = element.last_result.cycle_of_read(issue)
    value = read if instruction.imm else element.counter.read(read)
    for i in range(3):
        element.memory.write(address + 2 * i, value >> 16 * i & _HALF, 2)
    element.record(read, EventKind.TIMESTAMP, address, value)
    return issue + instruction.cycles


def _timestamp_control(element: Processor, instruction: Instruction, cycle: int) -> int:
    element.counter.control(instruction.imm, cycle)
    return cycle + instruction.cycles


def _print(element: Processor, instruction: Instruction, cycle: int) -> int:
    is_text = instruction.imm == PrintForm.TEXT
    value = instruction.aux if is_text else element.registers[instruction.ra] & _WORD
    element.record(cycle, EventKind.PRINT, instruction.imm | instruction.type << 8, value)
    return cycle + instruction.cycles


_ARITHMETIC = {
    opcode: _binary
    for opcode in Opcode
    if Opcode.ADD <= opcode <= Opcode.LESS_EQUAL and opcode not in (Opcode.NEG, Opcode.NOT)
}
_EXECUTE: dict[Opcode, Execute] = {
    **_ARITHMETIC,
    Opcode.NEG: _unary,
    Opcode.NOT: _unary,
    Opcode.CONVERT: _unary,
    Opcode.END_TASK: _end_task,
    Opcode.JUMP: _jump,
    Opcode.BRANCH_ZERO: _branch_zero,
    Opcode.BRANCH_NONZERO: _branch_nonzero,
    Opcode.CALL: _call,
    Opcode.RETURN: _return,
    Opcode.TRAP: _trap,
    Opcode.LOAD_IMMEDIATE: _load_immediate,
    Opcode.MOVE: _move,
    Opcode.LOAD: _load,
    Opcode.STORE: _store,
    Opcode.DSD_SET_BASE: _dsd_set_base,
    Opcode.DSD_SET_LENGTH: _dsd_set_length,
    Opcode.DSD_SET_STRIDE: _dsd_set_stride,
    Opcode.DSD_ADVANCE: _dsd_advance,
    Opcode.DSR_LOAD: _dsr_load,
    Opcode.DSR_LOAD_CONSTANT: _dsr_load_constant,
    Opcode.DSD: _dsd,
    Opcode.ACTIVATE: _activate,
    Opcode.BLOCK: _block,
    Opcode.UNBLOCK: _unblock,
    Opcode.UNBLOCK_COMMAND_STREAM: _unblock_command_stream,
    Opcode.COORDINATE: _coordinate,
    Opcode.TIMESTAMP: _timestamp,
    Opcode.TIMESTAMP_CONTROL: _timestamp_control,
    Opcode.MAP_BEGIN: _map_begin,
    Opcode.MAP_READ: _map_read,
    Opcode.MAP_WRITE: _map_write,
    Opcode.MAP_STEP: _map_step,
    Opcode.PRINT: _print,
    Opcode.FIFO_SET_LENGTH: _fifo_set_length,
}
