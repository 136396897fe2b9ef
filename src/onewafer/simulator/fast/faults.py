"""What the program did wrong, from the fault that a kernel noted to the error that users see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.errors import HazardError, Place, SimulationError
from onewafer.image import DsdOperation
from onewafer.simulator import messages
from onewafer.simulator.fast.fields import (
    CALL_FAULT,
    CHANNEL_COLOR,
    EMPTY_DSR_FAULT,
    FAULT,
    FAULT_CYCLE,
    FAULT_DETAIL,
    FAULT_OTHER,
    FAULT_PC,
    FAULT_PE,
    MEMORY_FAULT,
    OP_KIND,
    OP_PC,
    PE_PROGRAM,
    PE_X,
    PE_Y,
    QUEUE_FAULT,
    SOURCE_NUMBER,
    TRAP_FAULT,
    WRITER_FAULT,
)
from onewafer.simulator.loading import unbound_queue_message

if TYPE_CHECKING:
    from onewafer.image import TileProgram
    from onewafer.simulator.engine import LoadedProgram
    from onewafer.simulator.fast.arrays import Arrays


def make_error(s: Arrays, loaded: LoadedProgram) -> SimulationError:
    """Return the error of the fault in the clock, with PE, cycle and source place."""
    pe = s.clock[FAULT_PE]
    program = loaded.image.programs[s.pes[pe, PE_PROGRAM]]
    place = Place(int(s.pes[pe, PE_X]), int(s.pes[pe, PE_Y]), int(s.clock[FAULT_CYCLE]))
    where = messages.place(program, int(s.clock[FAULT_PC]))
    is_simple = s.clock[FAULT] <= QUEUE_FAULT
    reason = _reason(s, program, loaded) if is_simple else _conflict(s, program)
    kind = SimulationError if is_simple else HazardError
    return kind(f"{reason}\n  at {where}", place)


def _reason(s: Arrays, program: TileProgram, loaded: LoadedProgram) -> str:
    detail, other = int(s.clock[FAULT_DETAIL]), int(s.clock[FAULT_OTHER])
    match int(s.clock[FAULT]):
        case fault if fault == MEMORY_FAULT:
            return messages.outside_memory(detail, other, s.memory.shape[1])
        case fault if fault == TRAP_FAULT:
            return messages.failed_trap(program.messages[detail])
        case fault if fault == CALL_FAULT:
            return messages.CALLS_TOO_DEEP
        case fault if fault == EMPTY_DSR_FAULT:
            return messages.EMPTY_DSR
        case _:
            return unbound_queue_message(program.dsds[detail], program, loaded.architecture)


def _conflict(s: Arrays, program: TileProgram) -> str:
    op, other = s.clock[FAULT_DETAIL], s.clock[FAULT_OTHER]
    use = (
        f"writes to output queue {s.sources[other, SOURCE_NUMBER]}"
        if s.clock[FAULT] == WRITER_FAULT
        else f"reads color {s.channels[other, CHANNEL_COLOR]}"
    )
    place = messages.place(program, int(s.operations[op, OP_PC]))
    return messages.conflict(DsdOperation(s.operations[op, OP_KIND]), use, place)
