"""The issue of DSD instructions: the operands of an operation are copied at issue (M37)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Protocol

from onewafer.errors import SimulationError
from onewafer.image import (
    DSD_NUMBER_MASK,
    IN_MAP,
    SAVES_ADDRESS,
    DsdKind,
    DsdOperation,
    OperandMode,
)
from onewafer.simulator.arithmetic.outputs import input_flags, output_flags
from onewafer.simulator.arithmetic.undefined import FIRST_CARRY
from onewafer.simulator.protocol.messages import EMPTY_DSR
from onewafer.simulator.reference.compute_element.element_program import ELEMENT_BYTES
from onewafer.simulator.reference.compute_element.fifo import FifoOperand
from onewafer.simulator.reference.compute_element.instructions import Processor
from onewafer.simulator.reference.compute_element.operand import (
    InputOperand,
    Operand,
    OutputOperand,
    PointerOperand,
    ScalarOperand,
    memory_operand,
    to_signed16,
)
from onewafer.simulator.reference.compute_element.operation import Operation

if TYPE_CHECKING:
    from onewafer.image import DsdDescriptor
    from onewafer.simulator.reference.compute_element.fifo import Fifo
    from onewafer.simulator.reference.compute_element.instructions import Instruction
    from onewafer.simulator.reference.compute_element.operation import OperationTiming
    from onewafer.simulator.reference.fabric.buffers import Channel, OutputQueue
    from onewafer.simulator.reference.fabric.queue_registers import QueueRegisters

_DSR_MODES = (OperandMode.DSR_DEST, OperandMode.DSR_SRC0, OperandMode.DSR_SRC1)


class Issuer(Processor, Protocol):
    """The interface of a processor for the issue of DSD operations."""

    channels: dict[int, Channel]
    queues: list[OutputQueue]
    queue_registers: QueueRegisters | None
    fifos: list[Fifo]

    def make_operand(self, mode: OperandMode, index: int, num_bytes: int) -> Operand:
        """Make an operand from the current state of its register."""
        ...

    def color_of(self, number: int, descriptor: DsdDescriptor) -> int:
        """Return the color of a fabric DSD; fail if its queue serves no or another color (M43)."""
        ...

    def set_result(self, pc: int, word: int) -> None:
        """Set the register, if there is one, of the result of the operation at `pc` (M116)."""
        ...


def make_operation(
    element: Issuer, instruction: Instruction, cycle: int, timing: OperationTiming
) -> Operation:
    """Copy the operands of a DSD instruction that issues in `cycle` (M37)."""
    dest, src0, src1, (scalar_mode, scalar_register) = instruction.operands
    kind = DsdOperation(instruction.type)
    dest_bytes, src0_bytes, src1_bytes = ELEMENT_BYTES[kind]
    has_scalar = scalar_mode is OperandMode.REGISTER
    operation = Operation(
        kind,
        instruction.function,
        (
            element.make_operand(*dest, dest_bytes),
            element.make_operand(*src0, src0_bytes),
            element.make_operand(*src1, src1_bytes),
        ),
        element.registers[scalar_register] if has_scalar else FIRST_CARRY,
        config=element.program.configs[instruction.imm] if instruction.imm >= 0 else None,
        pc=element.pc - 1,
    )
    operation.is_prepared = instruction.aux == IN_MAP and not operation.is_stepwise
    element.set_result(operation.pc, 1)
    timing.prepare(operation, cycle, has_scalar=has_scalar)
    element.last_result.hold_back(operation)
    if operation.config is None:
        element.last_result.note(operation)
    # A register of several operands is advanced once, by the width of the first one (M123).
    widths = {src1: src1_bytes, src0: src0_bytes, dest: dest_bytes}
    for (mode, index), num_bytes in widths.items():
        if mode in _DSR_MODES:
            _save_address(element, mode, index, operation.length, num_bytes)
    return operation


def _save_address(
    element: Issuer, mode: OperandMode, index: int, length: int, num_bytes: int
) -> None:
    """Advance a DSR that saves its address past an operation's elements (M123, M124)."""
    first = element.dsr_index(mode, index)
    low, high = element.dsrs[first], element.dsrs[first + 1]
    if not high & SAVES_ADDRESS:
        return
    dsd = element.program.dsds[high >> 16 & DSD_NUMBER_MASK]
    stride = to_signed16(high)
    if dsd.kind is DsdKind.MEM4D:
        inside = prod(dsd.extents[1:])
        if inside == 0:
            return
        stride = dsd.strides[0]
        length, skipped = divmod((high & 0xFFFF) + length, inside)
        element.dsrs[first + 1] = high & ~0xFFFF | skipped
    base = low + stride * length * num_bytes
    element.dsrs[first] = low & 0xFFFF_0000 | base & 0xFFFF


def make_operand(element: Issuer, mode: OperandMode, index: int, num_bytes: int) -> Operand:
    """Make an operand from the current state of an element's registers."""
    match mode:
        case OperandMode.NONE:
            return ScalarOperand(0)
        case OperandMode.REGISTER:
            return ScalarOperand(element.registers[index])
        case OperandMode.POINTER:
            return PointerOperand(element.memory, element.registers[index], num_bytes)
        case _:
            first = element.dsr_index(mode, index)
            words = element.dsrs[first], element.dsrs[first + 1]
            return _make_vector(element, words, num_bytes)


def _make_vector(element: Issuer, words: tuple[int, int], num_bytes: int) -> Operand:
    number = words[1] >> 16 & DSD_NUMBER_MASK
    if number >= len(element.program.dsds):
        raise SimulationError(EMPTY_DSR)
    descriptor = element.program.dsds[number]
    extent = words[0] >> 16
    match descriptor.kind:
        case DsdKind.FABIN:
            channel, flags = _channel_of(element, number, descriptor), input_flags(descriptor)
            return InputOperand(channel, extent, num_bytes, flags=flags)
        case DsdKind.FABOUT:
            color = element.color_of(number, descriptor)
            queue, flags = element.queues[descriptor.queue], output_flags(descriptor, words[0])
            return OutputOperand(queue, color, extent, num_bytes, flags=flags)
        case DsdKind.FIFO:
            return FifoOperand(element.fifos[descriptor.fifo], num_bytes)
        case DsdKind.MEM1D | DsdKind.MEM4D:
            return memory_operand(element.memory, words, descriptor, num_bytes)


def _channel_of(element: Issuer, number: int, descriptor: DsdDescriptor) -> Channel:
    """Return the channel that a fabin DSD reads; fail as `color_of`."""
    color = element.color_of(number, descriptor)
    if element.queue_registers is not None:
        # The color may be the queue's only from the next cycle on, of which this one knows.
        return element.queue_registers.channel_of(descriptor) or element.channels[color]
    return element.channels[color]
