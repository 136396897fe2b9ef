"""Findings for people: places of the source, how often, and where it happened first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import NO_TASK, DsdOperation, Field, Opcode, TaskKind
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.protocol.messages import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onewafer.image import TileProgram, WaferImage
    from onewafer.simulator.protocol.findings import Finding

CONTROL_AS_DATA = (
    "operations took the words of control wavelets as elements (let the operation end on control, "
    "bind a control task, or send data):"
)
_NUM_SHOWN = 3
MERGED_ACTIVATIONS = (
    "tasks were activated that were active already, and run once for both (activate them again "
    "after they have begun, or give each activation a task of its own):"
)


def describe_busy(image: WaferImage, findings: Iterable[Finding]) -> list[str]:
    """Return a text for each place with an operation on a busy microthread (M38)."""
    return _describe(image, findings, FindingKind.BUSY_MICROTHREAD, _busy_operation)


def describe_merged(image: WaferImage, findings: Iterable[Finding]) -> list[str]:
    """Return a text for each place that activated an active task (M61)."""
    return _describe(image, findings, FindingKind.MERGED_ACTIVATION, _merged_activation)


def describe_controls(image: WaferImage, findings: Iterable[Finding]) -> list[str]:
    """Return a text for each place that took control wavelets as elements (M95)."""
    return _describe(image, findings, FindingKind.CONTROL_AS_DATA, _operation)


def places_of(program: TileProgram, opcode: Opcode, imm: int, ends: set[int]) -> list[str]:
    """Return the places of instructions, and of operations whose end has a configuration."""
    return [
        _source_of(program, pc)
        for pc, (found, operand) in enumerate(program.code[:, [Field.OPCODE, Field.IMM]].tolist())
        if (found, operand) == (opcode, imm) or (found == Opcode.DSD and operand in ends)
    ]


def _describe(
    image: WaferImage,
    findings: Iterable[Finding],
    kind: FindingKind,
    describe: Callable[[TileProgram, int], tuple[str, str]],
) -> list[str]:
    """Return a text for each place of the source, the most frequent first.

    A place of the source may be in several tile programs.
    """
    found: dict[tuple[str, str], tuple[int, tuple[int, int]]] = {}
    for finding in findings:
        if finding.kind is kind:
            key = describe(image.programs[finding.program], finding.pc)
            first = finding.first_cycle, finding.first_pe
            num_times, known = found.get(key, (0, first))
            found[key] = num_times + finding.num_times, min(known, first)
    return [
        f"{what}, {'once' if num_times == 1 else f'{num_times:,} times'}, first in cycle {cycle:,} "
        f"on PE ({pe % image.width}, {pe // image.width}){rest}"
        for (what, rest), (num_times, (cycle, pe)) in sorted(
            found.items(), key=lambda one: (-one[1][0], one[1][1])
        )
    ]


def _operation(program: TileProgram, pc: int) -> tuple[str, str]:
    kind = DsdOperation(int(program.code[pc, Field.TYPE])).name.lower()
    return f"{place(program, pc)}: @{kind}", ""


def _busy_operation(program: TileProgram, pc: int) -> tuple[str, str]:
    what, rest = _operation(program, pc)
    thread = program.configs[int(program.code[pc, Field.IMM])].microthread
    return f"{what} on microthread {thread}", rest


def _merged_activation(program: TileProgram, pc: int) -> tuple[str, str]:
    """Return what an instruction found, and what else activates its task."""
    opcode, imm = (int(program.code[pc, field]) for field in (Field.OPCODE, Field.IMM))
    tasks = {imm}
    if opcode != Opcode.ACTIVATE:
        config = program.configs[imm]
        tasks = {config.activate, config.control_activate} - {NO_TASK}
    names = " or ".join(_name(program, task) for task in sorted(tasks))
    by = _source_of(program, pc)
    found = dict.fromkeys(where for task in tasks for where in _activators(program, task))
    others = [where for where in found if where != by]
    more = [f"{len(others) - _NUM_SHOWN} other places"] if len(others) > _NUM_SHOWN else []
    also = " or ".join([*others[:_NUM_SHOWN], *more])
    rest = f"also activated by {also}" if others else "nothing else activates it"
    return f"{by} found task {names} active", f"; {rest}"


def _activators(program: TileProgram, task_id: int) -> list[str]:
    """Return the places of a program that activate a local task."""
    ends = {
        number
        for number, config in enumerate(program.configs)
        if task_id in (config.activate, config.control_activate)
    }
    return places_of(program, Opcode.ACTIVATE, task_id, ends)


def _source_of(program: TileProgram, pc: int) -> str:
    """Return an instruction for tasks, or the end of an operation, with its place."""
    opcode = Opcode(int(program.code[pc, Field.OPCODE]))
    what = "end of the operation" if opcode is Opcode.DSD else f"@{opcode.name.lower()}"
    return f"the {what} at {place(program, pc)}"


def _name(program: TileProgram, task_id: int) -> str:
    for task in program.tasks:
        if task.kind is TaskKind.LOCAL and task.task_id == task_id:
            return f"'{task.name}' (id {task_id})"
    return f"{task_id}"
