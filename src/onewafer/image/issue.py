"""Costs of instructions on the main thread, as far as they follow from the code (M20, M21, M30).

An instruction that needs the result of the one just before it waits. The wait is counted with the
earlier instruction, since an instruction that is reached by a jump does not pay it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image.instruction import CostClass, Field, Opcode, cost_class
from onewafer.image.program import SymbolKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.arch import Timing
    from onewafer.image.program import TileProgram

_DSR_WAITS = (CostClass.DSR_WAIT_0, CostClass.DSR_WAIT_1, CostClass.DSR_WAIT_2)
"""The wait of an operation, by the number of instructions since the load of its DSR."""
_DSR_LOADS = (Opcode.DSR_LOAD, Opcode.DSR_LOAD_CONSTANT)
_BRANCHES = (Opcode.BRANCH_ZERO, Opcode.BRANCH_NONZERO)
_ARITHMETIC = range(Opcode.ADD, Opcode.CONVERT + 1)
_GIVES_REGISTER = (Opcode.LOAD_IMMEDIATE, Opcode.MOVE, Opcode.LOAD, *_ARITHMETIC)
_NOT_THROUGH = (
    *(Opcode.END_TASK, Opcode.JUMP, Opcode.CALL, Opcode.RETURN, Opcode.DSD),
    *(Opcode.MAP_BEGIN, Opcode.MAP_STEP, *_BRANCHES),
)
"""Instructions after which nothing waits: they take long, or control goes elsewhere."""
_TARGETED = (
    *(Opcode.JUMP, Opcode.CALL, Opcode.MAP_BEGIN, Opcode.MAP_STEP),
    *_BRANCHES,
)


def cost_classes(program: TileProgram) -> list[tuple[CostClass, ...]]:
    """Return, for each instruction, its cost class and those of the waits after it."""
    rows: list[list[int]] = program.code.tolist()
    entries = entry_points(program, rows)
    classes = [[cost_class(Opcode(row[Field.OPCODE]), row[Field.TYPE])] for row in rows]
    for pc in range(1, len(rows)):
        if rows[pc - 1][Field.OPCODE] in _NOT_THROUGH:
            continue
        wait = _wait(rows, pc, entries)
        if wait is not None:
            classes[pc - 1].append(wait)
    return [tuple(names) for names in classes]


def issue_cycles(program: TileProgram, timing: Timing) -> list[int]:
    """Return, for each instruction, the cycles until the next one is issued.

    A conditional branch counts as not taken; the time of a synchronous operation is not included.
    """
    cycles = timing.instruction_cycles
    special = {
        Opcode.TIMESTAMP: timing.timestamp_cycles,  # M22
        Opcode.MAP_BEGIN: timing.map_begin_cycles,  # M120
    }
    opcodes: list[int] = program.code[:, Field.OPCODE].tolist()
    return [
        special.get(Opcode(opcode), cycles[own.name.lower()])
        + sum(cycles[wait.name.lower()] for wait in waits)
        for opcode, (own, *waits) in zip(opcodes, cost_classes(program), strict=True)
    ]


def entry_points(program: TileProgram, rows: Sequence[Sequence[int]]) -> set[int]:
    """Return the program counters that jumps, calls and tasks may enter."""
    targets = {row[Field.IMM] for row in rows if row[Field.OPCODE] in _TARGETED}
    functions = {s.address for s in program.symbols if s.kind is SymbolKind.FUNCTION}
    return targets | functions | {task.entry for task in program.tasks}


def _wait(rows: Sequence[Sequence[int]], pc: int, entries: set[int]) -> CostClass | None:
    """Return the wait of an instruction for the result of the one before it; None: no wait."""
    row, before = rows[pc], rows[pc - 1]
    opcode = Opcode(row[Field.OPCODE])
    if opcode is Opcode.DSD:
        return _dsr_wait(rows, pc, entries)
    if before[Field.OPCODE] not in _GIVES_REGISTER:
        return None
    if opcode in _BRANCHES and before[Field.RD] == row[Field.RA]:
        return CostClass.FLAG_WAIT
    is_float = cost_class(opcode, row[Field.TYPE]) in (CostClass.FLOAT, CostClass.FLOAT_DIVIDE)
    operands = row[Field.RA : Field.RB + 1] if opcode in _BINARY else row[Field.RA : Field.RA + 1]
    return CostClass.FLOAT_WAIT if is_float and before[Field.RD] in operands else None


_BINARY = frozenset(_ARITHMETIC) - {Opcode.NEG, Opcode.NOT, Opcode.CONVERT}


def _dsr_wait(rows: Sequence[Sequence[int]], pc: int, entries: set[int]) -> CostClass | None:
    """Return the wait of an operation for a DSR that was loaded shortly before; None: no wait."""
    used = rows[pc][Field.RD : Field.RC]
    for wait, place in zip(_DSR_WAITS, range(pc - 1, -1, -1), strict=False):
        row = rows[place]
        if row[Field.OPCODE] in _NOT_THROUGH:
            return None
        if row[Field.OPCODE] in _DSR_LOADS and row[Field.RD] in used:
            return wait
        if place in entries:
            return None
    return None
