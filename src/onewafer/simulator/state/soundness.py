"""Check that a snapshot from a file is possible: every number that is used as an index is in range.

Engines use these numbers as indices without checking them, so no number out of range may reach an
engine. Numbers in range may still be wrong: checksums detect that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onewafer.image import NUM_COLORS, RETURN_STACK_DEPTH, DsdOperation, PopMode
from onewafer.simulator.arithmetic.queue_words import NO_COLOR
from onewafer.simulator.arithmetic.registers import NUM_WAYS
from onewafer.simulator.state.snapshot import BLOCK, FIFO, INPUT, NEVER, NONE, OUTPUT, SCALAR
from onewafer.simulator.state.statistics import StallReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from onewafer.image import TileProgram, WaferImage
    from onewafer.simulator.state.snapshot import Snapshot

    Integers = NDArray[np.int64]
    Counter = Callable[[Integers, Callable[[TileProgram], int]], Integers]

_MAX_QUEUES = 16
"""Output queues that any machine has."""
_NUM_THREADS = 9
_NUM_PORTS = 5
_WAYS_END = 1 << 13
_LIMITS = {
    "main_thread": (0, 4),
    "bulk_thread": (NONE, _NUM_THREADS),
    "thread": (0, _NUM_THREADS),
    "direction": (0, _NUM_PORTS - 1),
    "port": (0, _NUM_PORTS),
    "color": (0, NUM_COLORS),
    "reason": (NONE, len(StallReason)),
    "kind": (0, len(DsdOperation)),
    "dest_form": (SCALAR, FIFO + 1),
    "src0_form": (SCALAR, FIFO + 1),
    "src1_form": (SCALAR, FIFO + 1),
    "position": (0, NUM_WAYS),
    "pop_mode": (0, len(PopMode)),
    **{f"way{number}": (0, _WAYS_END) for number in range(NUM_WAYS)},
}
"""Valid range of columns by name, in all tables: the first number, and the end (exclusive)."""


def check_snapshot(snapshot: Snapshot, image: WaferImage) -> None:
    """Raise `ValueError` if a snapshot cannot be one of a machine that runs `image`."""
    program_of_pe = image.program_of_pe.reshape(-1)
    for name, cycle in (("cycle", snapshot.cycle), ("end", snapshot.end)):
        if not 0 <= cycle < NEVER:
            raise ValueError(f"the {name} is {cycle}")
    limits = {**_LIMITS, "pe": (0, len(program_of_pe)), "source": (0, len(snapshot.sources))}
    for name, table in snapshot.tables.items():
        for column in table.dtype.names or ():
            if column in limits:
                _check(f"{name}.{column}", table[column], *limits[column])
    if len(snapshot.stalls) != len(program_of_pe):
        raise ValueError(f"stalls of {len(snapshot.stalls)} PEs")
    _check_same("routers", snapshot.routers["pe"], np.arange(len(program_of_pe)))
    _check_same("elements", snapshot.elements["pe"], np.flatnonzero(program_of_pe >= 0))
    _check_programs(snapshot, image)


def _check_programs(snapshot: Snapshot, image: WaferImage) -> None:
    """Check the numbers whose range depends on the program of the PE."""

    def of(pes: Integers, count: Callable[[TileProgram], int]) -> Integers:
        counts = np.array([*map(count, image.programs), 0], np.int64)
        return counts[image.program_of_pe.reshape(-1)[pes]]

    state, pes = snapshot.state, np.arange(image.program_of_pe.size)
    num_instructions = of(pes, lambda program: len(program.code))
    _check("program_counters", state.program_counters, 0, num_instructions + 1)
    _check("return_stacks", state.return_stacks, 0, num_instructions[:, None] + 1)
    _check("return_depths", state.return_depths, 0, RETURN_STACK_DEPTH + 1)
    reaches = of(pes, lambda program: int(program.reaches_queues)) != 0
    colors = state.queue_colors[reaches].astype(np.int64)
    _check("queue_colors", colors[colors != NO_COLOR], 0, NUM_COLORS)
    operations, fifos, launches = snapshot.operations, snapshot.fifos, snapshot.launch_arguments
    configs = of(operations["pe"], lambda program: len(program.configs))
    _check("operations.config", operations["config"], NONE, configs)
    _check("fifos.number", fifos["number"], 0, of(fifos["pe"], lambda p: len(p.fifos)))
    entries = of(snapshot.launches["pe"], lambda program: len(program.code))
    _check("launches.entry", snapshot.launches["entry"], 0, entries)
    _check_operands(operations, of)
    registers = of(launches["pe"], lambda program: program.num_registers)
    _check("launch_arguments.register", launches["register"], 0, registers)


def _check_operands(operations: NDArray[np.void], of: Counter) -> None:
    limits: dict[int, tuple[str, Callable[[TileProgram], int]]] = {
        INPUT: ("base", lambda _: NUM_COLORS),
        OUTPUT: ("extra", lambda _: NUM_COLORS),
        BLOCK: ("extra", lambda program: len(program.dsds)),
        FIFO: ("base", lambda program: len(program.fifos)),
    }
    for operand in ("dest", "src0", "src1"):
        for form, (part, count) in limits.items():
            chosen = operations[operations[f"{operand}_form"] == form]
            name = f"{operand}_{part}"
            _check(f"operations.{name}", chosen[name], 0, of(chosen["pe"], count))
        sent = operations[operations[f"{operand}_form"] == OUTPUT]
        _check(f"operations.{operand}_base", sent[f"{operand}_base"], 0, _MAX_QUEUES)


def _check(
    name: str,
    numbers: NDArray[np.signedinteger],
    first: int,
    behind: int | Integers,
) -> None:
    wrong = np.flatnonzero((numbers < first) | (numbers >= behind))
    if len(wrong):
        raise ValueError(f"{name} has {numbers.reshape(-1)[wrong[0]]}")


def _check_same(name: str, found: Integers, expected: Integers) -> None:
    if not np.array_equal(np.sort(found), expected):
        raise ValueError(f"the table {name} has other PEs than the program")
