"""Errors for users from the faults that kernels noted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.errors import HazardError, Place, SimulationError
from onewafer.image import DsdOperation
from onewafer.simulator.arithmetic.exceptions import NAMES
from onewafer.simulator.arithmetic.queue_words import INPUT_QUEUE_REGISTER
from onewafer.simulator.arithmetic.registers import kind_of, number_of
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.protocol import messages
from onewafer.simulator.state.loading import unbound_queue_message

if TYPE_CHECKING:
    from onewafer.image import TileProgram
    from onewafer.simulator.fast.state.arrays import Arrays
    from onewafer.simulator.protocol.engine import LoadedProgram


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure noted by the kernels: the columns of the clock from `FAILURE` on."""

    kind: int
    pe: int
    pc: int
    cycle: int
    detail: int
    other: int


def make_error(s: Arrays, loaded: LoadedProgram) -> SimulationError:
    """Return the error of the failure in the clock, with PE, cycle and source place."""
    fault = Fault(*s.clock[f.FAILURE : f.FAILURE + f.NUM_FAULT_FIELDS].tolist())
    program = loaded.image.programs[int(s.pes[fault.pe, f.PE_PROGRAM])]
    x, y = int(s.pes[fault.pe, f.PE_X]), int(s.pes[fault.pe, f.PE_Y])
    place = Place(x, y, int(s.clock[f.BASE]) + fault.cycle)
    where = messages.place(program, fault.pc)
    if fault.kind == f.CONTROL_FAULT:
        return SimulationError(messages.unbound_control_task(fault.detail, fault.other), place)
    if fault.kind in (f.READER_FAULT, f.WRITER_FAULT, f.TAKER_FAULT, f.FILLER_FAULT):
        return HazardError(f"{_conflict(s, program, fault)}\n  at {where}", place)
    if fault.kind == f.BUSY_FAULT:
        return HazardError(f"{_busy(s, program, fault.detail)}\n  at {where}", place)
    return SimulationError(f"{_reason(s, program, fault, loaded)}\n  at {where}", place)


def _reason(s: Arrays, program: TileProgram, fault: Fault, loaded: LoadedProgram) -> str:
    match fault.kind:
        case kind if kind == f.MEMORY_FAULT:
            return messages.outside_memory(fault.detail, fault.other, s.memory.shape[1])
        case kind if kind == f.TRAP_FAULT:
            return program.messages[fault.detail]
        case kind if kind == f.CALL_FAULT:
            return messages.CALLS_TOO_DEEP
        case kind if kind == f.EMPTY_DSR_FAULT:
            return messages.EMPTY_DSR
        case kind if kind == f.PACKING_FAULT:
            return messages.UNPACKED_OPERAND
        case kind if kind == f.BIND_FAULT:
            return messages.cannot_bind(
                fault.other >> 8,
                is_input=kind_of(fault.detail) == INPUT_QUEUE_REGISTER,
                queue=number_of(fault.detail),
                color=fault.other & 0xFF,
            )
        case kind if kind == f.WIDTH_FAULT:
            return messages.fifo_width(fault.detail, fault.other)
        case kind if kind == f.LACK_FAULT:
            return messages.fifo_fault(fault.detail, is_empty=bool(fault.other))
        case kind if kind == f.EXCEPTION_FAULT:
            names = [name for bit, name in NAMES.items() if fault.detail & bit]
            return messages.unmasked_exceptions(names)
        case _:
            descriptor = program.dsds[fault.detail]
            colors = s.queue_colors[fault.pe].tolist()
            return unbound_queue_message(descriptor, program, loaded.architecture, colors)


def _conflict(s: Arrays, program: TileProgram, fault: Fault) -> str:
    match fault.kind:
        case kind if kind == f.WRITER_FAULT:
            use = f"writes to output queue {s.fifos[fault.other, f.FIFOS_NUMBER]}"
        case kind if kind == f.READER_FAULT:
            use = f"reads color {s.fifos[fault.other, f.FIFOS_COLOR]}"
        case kind if kind == f.TAKER_FAULT:
            use = f"takes from FIFO {fault.other}"
        case _:
            use = f"puts into FIFO {fault.other}"
    place = messages.place(program, int(s.arena[fault.detail + f.OP_PC]))
    return messages.conflict(_kind(s, fault.detail), use, place)


def _busy(s: Arrays, program: TileProgram, live: int) -> str:
    thread = int(s.operations[s.arena[live + f.OP_ROW], f.OPS_THREAD])
    place = messages.place(program, int(s.arena[live + f.OP_PC]))
    return messages.busy_microthread(thread, _kind(s, live), place)


def _kind(s: Arrays, op: int) -> DsdOperation:
    return DsdOperation(s.arena[op + f.OP_KIND] & f.KIND_MASK)
