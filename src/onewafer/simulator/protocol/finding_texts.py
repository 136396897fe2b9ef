"""Findings for people: places of the source, how often, and where it happened first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onewafer.image import NO_TASK, DsdOperation, Field, Opcode, TaskKind
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.protocol.messages import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from onewafer.image import Task, TileProgram, WaferImage
    from onewafer.simulator.protocol.findings import Finding

MERGED_ACTIVATIONS = (
    "tasks were activated that were active already; a task does not count its activations, and "
    "starts once for all of them (activate it again after it has begun, or activate another task):"
)
CONTROL_AS_DATA = (
    "operations took the words of control wavelets as elements (let the operation end on control, "
    "or read no more elements than there is data, so that a control task can take the wavelet):"
)
_NUM_SHOWN = 5
_NUM_OTHERS = 3


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
    """Return a text for the most frequent places, and one that counts the others.

    A place of the source may be in several tile programs.
    """
    found: dict[tuple[str, str], tuple[int, tuple[int, int]]] = {}
    for finding in findings:
        if finding.kind is kind:
            key = describe(image.programs[finding.program], finding.pc)
            first = finding.first_cycle, finding.first_pe
            num_times, known = found.get(key, (0, first))
            found[key] = num_times + finding.num_times, min(known, first)
    texts = [
        f"{what}, {'once' if num_times == 1 else f'{num_times:,} times'}, first in cycle {cycle:,} "
        f"on PE ({pe % image.width}, {pe // image.width}){rest}"
        for (what, rest), (num_times, (cycle, pe)) in sorted(
            found.items(), key=lambda one: (-one[1][0], one[1][1])
        )
    ]
    more = len(texts) - _NUM_SHOWN
    return [*texts[:_NUM_SHOWN], *([f"and {more} more places"] if more > 0 else [])]


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
    if not others:
        return f"{by} found task {names} active", ""
    more = len(others) - _NUM_OTHERS
    places = [*others[:_NUM_OTHERS], *([f"{more} other places"] if more > 0 else [])]
    return f"{by} found task {names} active", f"; also activated by {' or '.join(places)}"


def _activators(program: TileProgram, task_id: int) -> list[str]:
    """Return what activates a local task: places of the program, its start, and FIFOs."""
    ends = {
        number
        for number, config in enumerate(program.configs)
        if task_id in (config.activate, config.control_activate)
    }
    found = places_of(program, Opcode.ACTIVATE, task_id, ends)
    if any(task.is_active for task in _local_tasks(program, task_id)):
        found.append("@activate in a comptime block")
    if any(task_id in (fifo.activate_push, fifo.activate_pop) for fifo in program.fifos):
        found.append("a FIFO")
    return found


def _local_tasks(program: TileProgram, task_id: int) -> list[Task]:
    local = (task for task in program.tasks if task.kind is TaskKind.LOCAL)
    return [task for task in local if task.task_id == task_id]


def _source_of(program: TileProgram, pc: int) -> str:
    """Return an instruction for tasks, or the end of an operation, with its place."""
    opcode = Opcode(int(program.code[pc, Field.OPCODE]))
    what = "end of the operation" if opcode is Opcode.DSD else f"@{opcode.name.lower()}"
    return f"the {what} at {place(program, pc)}"


def _name(program: TileProgram, task_id: int) -> str:
    names = [f"'{task.name}' (id {task_id})" for task in _local_tasks(program, task_id)]
    return names[0] if names else str(task_id)
