"""The shared part of all compute elements of one tile program: decoded code and tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.image import DSD_OPERATIONS, DsdOperation, SymbolKind, Task, TaskKind
from onewafer.simulator.arithmetic import canonical
from onewafer.simulator.reference.compute_element.exceptions import Raised
from onewafer.simulator.reference.compute_element.instructions import (
    Instruction,
    decode_program,
    with_condition,
)
from onewafer.simulator.reference.compute_element.watching import watching
from onewafer.simulator.state.loading import (
    UNBOUND,
    ColorAttachment,
    data_task_color,
    fabric_color,
    input_attachments,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.arch import Architecture
    from onewafer.image import Symbol, TileProgram

_BYTES = {None: 0, "u16": 2, "f16": 2, "u32": 4, "f32": 4}
ELEMENT_BYTES: dict[DsdOperation, tuple[int, int, int]] = {
    operation: (_BYTES[info.dest], _BYTES[info.src0], _BYTES[info.src1])
    for operation, info in DSD_OPERATIONS.items()
}
"""Bytes of an element of dest, src0 and src1."""


@dataclass(frozen=True, slots=True)
class ElementProgram:
    """A tile program, ready to run."""

    program: TileProgram
    code: list[Instruction]
    local_tasks: dict[int, Task]
    data_task_of_color: dict[int, Task]
    control_tasks: dict[int, Task]
    """By the entry of the control wavelets that start them (M96)."""
    attachments: dict[int, ColorAttachment]
    dsd_colors: tuple[int, ...]
    """Color of each descriptor; `UNBOUND` in memory and where the queue serves another color."""
    functions: dict[str, Symbol]
    """Exported functions by host-visible name."""
    rotations: dict[Task | None, tuple[int, int, Task]]
    """By data task: number and limit of its rotation, and the other task of the pair (M142)."""
    raised: Raised | None
    """Exceptions of its operations; None: it unmasks none (M147)."""
    control_offsets: dict[int, int]
    """By input queue: the offset of its control wavelets' entries (M145)."""


def prepare_program(program: TileProgram, architecture: Architecture) -> ElementProgram:
    """Return the shared tables of a program."""
    functions = {
        name: symbol
        for name, target in program.exports.items()
        for symbol in program.symbols
        if symbol.name == target and symbol.kind is SymbolKind.FUNCTION
    }
    raised = Raised() if program.unmasks_exceptions else None
    code = decode_program(program, architecture.timing)
    if raised is not None:
        rows = [[int(field) for field in row] for row in program.code]
        code = [
            watching(one, row, raised, program.half) for one, row in zip(code, rows, strict=True)
        ]
    control_tasks = {t.task_id: t for t in program.tasks if t.kind is TaskKind.CONTROL}
    return ElementProgram(
        program=program,
        code=code,
        raised=raised,
        local_tasks={t.task_id: t for t in program.tasks if t.kind is TaskKind.LOCAL},
        data_task_of_color={
            data_task_color(task.task_id, program, architecture): task
            for task in program.tasks
            if task.kind is TaskKind.DATA
        },
        control_tasks=control_tasks,
        attachments=input_attachments(program, architecture),
        dsd_colors=tuple(
            fabric_color(dsd, program, architecture) if dsd.kind.is_fabric else UNBOUND
            for dsd in program.dsds
        ),
        functions=functions,
        rotations={
            task: (number, rotation.limit, control_tasks[rotation.alternate])
            for number, rotation in enumerate(program.rotations)
            for task in program.tasks
            if (task.kind, task.task_id) == (TaskKind.DATA, rotation.task_id)
        },
        control_offsets={b.queue: b.control_offset for b in program.queues if b.control_offset},
    )


def with_conditions(tables: ElementProgram) -> ElementProgram:
    """Return the tables of a program with conditional instructions (M153)."""
    return replace(tables, code=[with_condition(instruction) for instruction in tables.code])


def arguments_of(task: Task, word: int) -> Iterator[tuple[int, int]]:
    """Yield the argument registers of a wavelet's task, each with its part of the word."""
    match task.argument_registers:
        case ():
            pass
        case (whole,):
            yield whole, canonical(word, task.argument_types[0])
        case registers:
            halves = (word & 0xFFFF, word >> 16 & 0xFFFF)
            for register, half, type_ in zip(registers, halves, task.argument_types, strict=True):
                yield register, canonical(half, type_)
