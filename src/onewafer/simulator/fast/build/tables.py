"""From tile programs to the engine's tables: code, descriptors, configurations, tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import DataTaskKey
from onewafer.image import (
    TEARDOWN_TASK,
    DsdKind,
    DsdOperation,
    Field,
    Opcode,
    PatchTarget,
    TaskKind,
    condition_of,
    issue_cycles,
)
from onewafer.simulator.arithmetic.control import NUM_ENTRIES
from onewafer.simulator.arithmetic.exceptions import can_raise
from onewafer.simulator.arithmetic.outputs import input_flags, output_flags
from onewafer.simulator.fast.state import fields as f
from onewafer.simulator.protocol.findings import FindingKind
from onewafer.simulator.state.loading import (
    UNBOUND,
    data_task_color,
    fabric_color,
    input_attachments,
)
from onewafer.simulator.state.schema import MAIN_THREAD

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from onewafer.arch import Architecture, Timing
    from onewafer.image import DsdDescriptor, Task, TileProgram

_RANK_OF_PRIORITY = (0, 2, 3)
"""Low, medium, high; the main thread's rank is 1 (M34)."""

Rows = list[list[int]]


@dataclass(frozen=True, slots=True)
class QueueLayout:
    """An output queue or a channel of each PE of a program."""

    queue: int
    """−1: the private channel of a data task."""
    color: int
    """ANY_COLOR: an output queue with several colors, or one that may be bound to another color."""
    capacity: int
    distance: int
    """Words of the arena from the PE's first output queue, or first channel."""
    num_words: int
    starts_task: bool = False
    has_tags: bool = False
    """Its wavelets may be marked, or have several colors."""


@dataclass(frozen=True, slots=True)
class ProgramLayout:
    """The channels, output queues and threads of each PE of a tile program."""

    program: TileProgram
    channels: tuple[QueueLayout, ...]
    outputs: tuple[QueueLayout, ...]
    threads: tuple[int, ...]
    """Threads that its operations use; the main thread is the last."""
    patched: tuple[int, ...]
    """Instructions whose immediate differs between PEs."""


@dataclass(frozen=True, slots=True)
class ProgramTables:
    """The tables of all programs; see `Arrays` for the matrices."""

    layouts: tuple[ProgramLayout, ...]
    programs: NDArray[np.int64]
    code: NDArray[np.int64]
    dsds: NDArray[np.int64]
    configs: NDArray[np.int64]
    tasks: NDArray[np.int64]
    ways: NDArray[np.int64]
    num_findings: int
    """Instructions and kinds of findings that are counted, see `CODE_FINDINGS`."""


def make_tables(
    programs: Sequence[TileProgram],
    architecture: Architecture,
    switched: AbstractSet[int] = frozenset(),
) -> ProgramTables:
    """Return the tables of `programs`; `switched` colors may carry control wavelets."""
    layouts = tuple(_layout(program, architecture, switched) for program in programs)
    rows: Rows = []
    code: list[NDArray[np.int64]] = []
    dsds: Rows = []
    configs: Rows = []
    tasks: Rows = []
    ways: Rows = []
    num_instructions = 0
    for layout in layouts:
        row = _program_row(layout)
        row[f.PROGRAM_CODE] = num_instructions
        row[f.PROGRAM_DSDS] = len(dsds)
        row[f.PROGRAM_CONFIGS] = len(configs)
        row[f.PROGRAM_TASKS] = len(tasks)
        row[f.PROGRAM_CHANNELS] = len(ways)
        rows.append(row)
        code.append(_code(layout, architecture.timing))
        num_instructions += len(layout.program.code)
        dsds += [_dsd_row(dsd, layout.program, architecture) for dsd in layout.program.dsds]
        configs += _config_rows(layout)
        tasks += _task_rows(layout, architecture)
        if any(task.kind is TaskKind.CONTROL for task in layout.program.tasks):
            row[f.PROGRAM_CONTROL_TASKS] = len(tasks)
            tasks += _control_task_rows(layout)
        of_program = _way_rows(layout, architecture)
        row[f.PROGRAM_NUM_CHANNELS] = len(of_program)
        ways += of_program
    instructions = np.concatenate([np.empty((0, f.NUM_CODE_FIELDS), np.int64), *code])
    return ProgramTables(
        layouts=layouts,
        programs=_matrix(rows, f.NUM_PROGRAM_FIELDS),
        code=instructions,
        dsds=_matrix(dsds, f.NUM_DSD_FIELDS),
        configs=_matrix(configs, f.NUM_CONFIG_FIELDS),
        tasks=_matrix(tasks, f.NUM_TASK_FIELDS),
        ways=_matrix([*ways, [0] * f.NUM_WAY_FIELDS], f.NUM_WAY_FIELDS),
        num_findings=_number_findings(instructions),
    )


def _number_findings(code: NDArray[np.int64]) -> int:
    """Assign counters to activations and DSD operations; return the count."""
    is_counted = np.isin(code[:, f.CODE_OPCODE] & f.KIND_MASK, (Opcode.DSD, Opcode.ACTIVATE))
    num_rows = int(is_counted.sum())
    step = f.NUM_FINDING_FIELDS * len(FindingKind)
    code[is_counted, f.CODE_FINDINGS] = f.NUM_CLOCK_FIELDS + step * np.arange(num_rows)
    return num_rows * len(FindingKind)


def make_timing(timing: Timing) -> NDArray[np.int64]:
    """Return the cycle counts and rates in the order of the `T_` columns."""
    rates = [timing.elements_per_cycle[operation.name.lower()] for operation in DsdOperation]
    reduction = timing.reduction_elements_per_cycle
    row = [
        timing.hop_cycles,
        timing.credit_cycles,
        timing.ramp_cycles,
        _window_shift(timing),
        int(timing.link_window_cycles > timing.link_window_words),
        timing.link_window_words,
        timing.link_window_cycles,
        timing.memory_setup_cycles,
        timing.fabric_setup_cycles,
        timing.scalar_setup_cycles,
        timing.resume_cycles,
        timing.dispatch_cycles,
        timing.task_start_cycles,
        timing.branch_taken_cycles,
        reduction.numerator,
        reduction.denominator,
        timing.bank_conflict_factor.numerator,
        timing.bank_conflict_factor.denominator,
        timing.wrap_cycles,
        timing.result_cycles,
        timing.timestamp_wait_cycles,
        timing.timestamp_drain_cycles,
    ]
    assert len(row) == f.T_RATES
    for rate in rates:
        row += [rate.numerator, rate.denominator]
    return np.array(row, np.int64)


def _window_shift(timing: Timing) -> int:
    """Return log2 of the window's cycles, in which PEs cannot affect each other (M50, M53)."""
    return min(timing.hop_cycles, timing.credit_cycles).bit_length() - 1


def _layout(
    program: TileProgram, architecture: Architecture, switched: AbstractSet[int]
) -> ProgramLayout:
    patched = {p.location for p in program.patches if p.target is PatchTarget.IMMEDIATE}
    return ProgramLayout(
        program=program,
        channels=_place(_channels(program, architecture, switched)),
        outputs=_place(_outputs(program, architecture, switched)),
        threads=(*sorted({config.microthread for config in program.configs}), MAIN_THREAD),
        patched=tuple(sorted(patched)),
    )


def _channels(
    program: TileProgram, architecture: Architecture, switched: AbstractSet[int]
) -> list[QueueLayout]:
    data_colors = {
        data_task_color(task.task_id, program, architecture)
        for task in program.tasks
        if task.kind is TaskKind.DATA
    }
    ramp = architecture.timing.ramp_cycles
    has_control_tasks = any(task.kind is TaskKind.CONTROL for task in program.tasks)
    return [
        QueueLayout(
            queue=a.queue,
            color=a.color,
            capacity=a.words + ramp,
            distance=0,
            num_words=fifo_words(a.words + ramp, has_tags=a.color in switched),
            starts_task=a.color in data_colors or has_control_tasks,
            has_tags=a.color in switched,
        )
        for a in input_attachments(program, architecture).values()
    ]


def _outputs(
    program: TileProgram, architecture: Architecture, switched: AbstractSet[int]
) -> list[QueueLayout]:
    """Return the output queues of the program's DSDs (M41)."""
    colors: dict[int, set[int]] = {}
    for dsd in program.dsds:
        if dsd.kind is DsdKind.FABOUT:
            colors.setdefault(dsd.queue, set()).add(fabric_color(dsd, program, architecture))
    queues: list[QueueLayout] = []
    for queue in sorted(colors):
        words = architecture.output_queue_words[queue] + architecture.timing.ramp_cycles
        of_queue = colors[queue] - {UNBOUND}
        has_tags = len(of_queue) != 1 or not of_queue.isdisjoint(switched)
        is_fixed = len(of_queue) == 1 and not (has_tags and program.reaches_queues)
        color = of_queue.pop() if is_fixed else f.ANY_COLOR
        num_words = fifo_words(words, has_tags=has_tags)
        queues.append(QueueLayout(queue, color, words, 0, num_words, has_tags=has_tags))
    return queues


def _place(queues: list[QueueLayout]) -> tuple[QueueLayout, ...]:
    """Put queues one after the other."""
    ends = list(accumulate((queue.num_words for queue in queues), initial=0))
    return tuple(replace(queue, distance=end) for queue, end in zip(queues, ends, strict=False))


def log2_places(capacity: int) -> int:
    """Return log2 of the slots of a ring buffer."""
    return max(capacity - 1, 0).bit_length()


def fifo_words(capacity: int, *, has_tags: bool = False) -> int:
    """Return the words of a FIFO, in whole cache lines."""
    places = 1 << log2_places(capacity)
    return -(-(f.FIFO_RING + (3 if has_tags else 2) * places) // f.LINE_WORDS) * f.LINE_WORDS


def _program_row(layout: ProgramLayout) -> list[int]:
    row = [f.NONE] * f.NUM_PROGRAM_FIELDS
    row[f.PROGRAM_NUM_DSDS] = len(layout.program.dsds)
    kind_of_id = {
        task.task_id: task.kind
        for task in layout.program.tasks
        if task.kind is not TaskKind.CONTROL
    }
    row[f.PROGRAM_LOCAL_TASKS] = sum(1 << i for i in kind_of_id if kind_of_id[i] is TaskKind.LOCAL)
    row[f.PROGRAM_DATA_TASKS] = sum(1 << i for i in kind_of_id if kind_of_id[i] is TaskKind.DATA)
    is_torn_down = TEARDOWN_TASK in kind_of_id
    has_queues = layout.program.reaches_queues
    row[f.PROGRAM_IS_WOKEN] = int(row[f.PROGRAM_DATA_TASKS] != 0 or is_torn_down or has_queues)
    row[f.PROGRAM_HAS_REGISTERS] = int(layout.program.reaches_registers)
    row[f.PROGRAM_HALF] = int(layout.program.half)
    row[f.PROGRAM_HAS_QUEUES] = int(has_queues)
    row[f.PROGRAM_CHECKED] = f.CHECKED if layout.program.unmasks_exceptions else 0
    for output in layout.outputs:
        row[f.PROGRAM_QUEUES + output.queue] = output.distance
    for binding in reversed(layout.program.queues):
        if binding.is_input:
            row[f.PROGRAM_INPUTS + binding.queue] = binding.color
    for channel in layout.channels:
        row[f.PROGRAM_COLORS + channel.color] = channel.distance
    return row


def _code(layout: ProgramLayout, timing: Timing) -> NDArray[np.int64]:
    code = np.zeros((len(layout.program.code), f.NUM_CODE_FIELDS), np.int64)
    code[:, : f.CODE_AUX + 1] = layout.program.code[:, : Field.AUX + 1]
    code[:, f.CODE_PATCH] = f.NONE
    for offset, location in enumerate(layout.patched):
        code[location, f.CODE_PATCH] = offset
    code[:, f.CODE_CYCLES] = issue_cycles(layout.program, timing)
    for row, instruction in zip(code, layout.program.code.tolist(), strict=True):
        opcode = Opcode(instruction[Field.OPCODE])
        if layout.program.unmasks_exceptions and can_raise(
            opcode, instruction[Field.TYPE], instruction[Field.IMM]
        ):
            row[f.CODE_OPCODE] |= f.CHECKED
        if condition_of(opcode, instruction[Field.RC]):
            row[f.CODE_OPCODE] |= f.CONDITIONAL
    return code


def _dsd_row(dsd: DsdDescriptor, program: TileProgram, architecture: Architecture) -> list[int]:
    row = [0] * f.NUM_DSD_FIELDS
    row[f.DSD_KIND] = dsd.kind
    row[f.DSD_COLOR] = fabric_color(dsd, program, architecture) if dsd.kind.is_fabric else UNBOUND
    row[f.DSD_QUEUE] = dsd.queue
    row[f.DSD_NAMED] = dsd.color
    row[f.DSD_NUM_LOOPS] = dsd.fifo if dsd.kind is DsdKind.FIFO else len(dsd.extents)
    row[f.DSD_IS_CONTROL] = int(dsd.is_control)
    row[f.DSD_FLAGS] = input_flags(dsd) if dsd.kind is DsdKind.FABIN else output_flags(dsd, 0)
    if dsd.kind is DsdKind.MEM4D:
        row[f.DSD_STRIDE] = dsd.strides[-1]
    loops = zip(reversed(dsd.extents), reversed(dsd.strides), strict=True)
    for i, (extent, stride) in enumerate(loops):
        row[f.DSD_EXTENTS + i] = extent
        row[f.DSD_STRIDES + i] = stride
    return row


def _config_rows(layout: ProgramLayout) -> Rows:
    rows: Rows = []
    for config in layout.program.configs:
        row = [0] * f.NUM_CONFIG_FIELDS
        row[f.CONFIG_SLOT] = layout.threads.index(config.microthread)
        row[f.CONFIG_RANK] = _RANK_OF_PRIORITY[config.priority]
        row[f.CONFIG_ACTIVATE] = config.activate
        row[f.CONFIG_UNBLOCK] = config.unblock
        row[f.CONFIG_ENDS] = int(config.ends_on_control)
        row[f.CONFIG_CONTROL_ACTIVATE] = config.control_activate
        row[f.CONFIG_CONTROL_UNBLOCK] = config.control_unblock
        rows.append(row)
    return rows


def _task_rows(layout: ProgramLayout, architecture: Architecture) -> Rows:
    rows = [[0] * f.NUM_TASK_FIELDS for _ in range(f.NUM_TASK_IDS)]
    for task in layout.program.tasks:
        if task.kind is TaskKind.CONTROL:
            continue
        row = rows[task.task_id]
        row[f.TASK_ENTRY] = task.entry
        row[f.TASK_KIND] = f.DATA_TASK if task.kind is TaskKind.DATA else f.LOCAL_TASK
        if task.kind is TaskKind.DATA:
            _set_data_task(row, task, layout, architecture)
    return rows


def _control_task_rows(layout: ProgramLayout) -> Rows:
    """Return the control tasks of a program by entry."""
    rows = [[0] * f.NUM_TASK_FIELDS for _ in range(NUM_ENTRIES)]
    for task in layout.program.tasks:
        if task.kind is TaskKind.CONTROL:
            row = rows[task.task_id]
            row[f.TASK_KIND] = f.CONTROL_TASK
            row[f.TASK_ENTRY] = task.entry
            _set_arguments(row, task)
    return rows


def _way_rows(layout: ProgramLayout, architecture: Architecture) -> Rows:
    by_color = architecture.data_task_key is DataTaskKey.COLOR
    offsets = {b.queue: b.control_offset for b in layout.program.queues if b.is_input}
    return [
        [c.distance, c.color, c.color if by_color else c.queue, offsets.get(c.queue, 0)]
        for c in layout.channels
    ]


def _set_data_task(
    row: list[int], task: Task, layout: ProgramLayout, architecture: Architecture
) -> None:
    color = data_task_color(task.task_id, layout.program, architecture)
    row[f.TASK_COLOR] = color
    row[f.TASK_ROTATION] = f.NONE
    row[f.TASK_CHANNEL] = next(c.distance for c in layout.channels if c.color == color)
    for number, rotation in enumerate(layout.program.rotations):
        if rotation.task_id == task.task_id:
            row[f.TASK_ROTATION] = number
            row[f.TASK_LIMIT] = rotation.limit
            row[f.TASK_ALTERNATE] = rotation.alternate
    _set_arguments(row, task)


def _set_arguments(row: list[int], task: Task) -> None:
    row[f.TASK_NUM_ARGUMENTS] = len(task.argument_registers)
    for i, (register, kind) in enumerate(
        zip(task.argument_registers, task.argument_types, strict=True)
    ):
        row[f.TASK_REGISTERS + i] = register
        row[f.TASK_TYPES + i] = kind


def _matrix(rows: Rows, num_columns: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, num_columns)
