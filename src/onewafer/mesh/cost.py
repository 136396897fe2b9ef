"""Read a mesh program as cycles, in closed form.

All PEs do the same work at the same pace, so the time of a program is the sum over its operations
along the chain of PEs that finish last. A collective starts at the far end of its axis and ends
there; that PE is the last to finish one operation and the last to begin the next.

    local operation   s + Σ instructions + Σ DSD operations (set-up + ⌈n / rate⌉ + resume, or just
                      ⌈n / rate⌉ in a map loop); where both sources begin in the same banks,
                      ⌈c·n / rate⌉ with c the conflict factor
    chain reduce      s + instructions up to the issue + F + n·p + (P − 1)·(2R + H + 1)
    broadcast         s + instructions up to the issue + F + n·p + (P − 1)·H + 2R + 1

with s the start of a task, F the set-up of a fabric operation, p the cycles a wavelet (link or data
path, whichever is slower), R the ramp, H the hop, P the PEs along the axis. These are the formulas
of NOWR (HPDC'24) with the rules of docs/machine.md; the instructions come from the compiled
listing (`kernel_costs`), every cycle count from `Architecture.timing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from onewafer.mesh.entry import CONTROL_KINDS, Kind, num_tests
from onewafer.mesh.kernel_costs import VectorOperation, kernel_costs, product
from onewafer.mesh.schedule import build_schedule, kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture, Timing
    from onewafer.mesh.kernel_costs import Counts, KernelCosts
    from onewafer.mesh.operations import MeshOperation
    from onewafer.mesh.program import Launch, MeshProgram

_WITH_SCALAR = frozenset({"fmach", "fmacs", "fmachs"})
"""DSD operations with a third, scalar source."""
_NO_SIZES: Mapping[str, int] = MappingProxyType({})
_Step = tuple["Kind | tuple[str, int]", ...]
"""A kind of operation and its sizes."""


@dataclass(frozen=True, slots=True)
class OperationCost:
    """Cycles of one operation on the PE that finishes last."""

    kind: Kind
    cycles: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cycles of one run of a mesh program, from the launch until the wafer is quiet."""

    launch_cycles: int
    operations: tuple[OperationCost, ...]
    """One a mesh operation, in order."""
    control_cycles: int
    """The REPEAT and STOP entries of the schedule."""

    @property
    def cycles(self) -> int:
        """The sum."""
        operations = sum(operation.cycles for operation in self.operations)
        return self.launch_cycles + operations + self.control_cycles


class Estimator:
    """The closed form of one program, for launches of any number of rows at any position."""

    def __init__(self, program: MeshProgram, architecture: Architecture) -> None:
        self._program = program
        self._timing = architecture.timing
        self._kernels = kernel_costs(program.dtype, is_sequence=program.sequence_rows is not None)
        schedule = build_schedule(program)
        self._kinds = kinds_of(schedule)
        self._control = tuple(entry for entry in schedule if entry.kind in CONTROL_KINDS)
        self._steps: dict[_Step, int] = {}

    def estimate(self, launch: Launch | None = None) -> Estimate:
        """Return the cycles of one launch: of all rows from position 0 on, unless one is given."""
        program = self._program
        where = launch or program.whole_launch()
        model = _CostModel(self._timing, self._kernels, program, where, self._kinds, self._steps)
        return Estimate(
            launch_cycles=model.launch_cycles(),
            operations=tuple(
                OperationCost(operation.kind, model.operation(operation))
                for operation in program.operations
            ),
            control_cycles=sum((entry.n + 1) * model.step(entry.kind) for entry in self._control),
        )

    def repeat_cycles(self) -> int:
        """Return the cycles of the step of the schedule that goes back to the layer before it."""
        where = self._program.whole_launch()
        model = _CostModel(
            self._timing, self._kernels, self._program, where, self._kinds, self._steps
        )
        return model.step(Kind.REPEAT)


def estimate(
    program: MeshProgram, architecture: Architecture, launch: Launch | None = None
) -> Estimate:
    """Return the cycles of one launch: of all rows from position 0 on, unless one is given."""
    return Estimator(program, architecture).estimate(launch)


@dataclass(frozen=True, slots=True)
class _CostModel:
    timing: Timing
    kernels: KernelCosts
    program: MeshProgram
    launch: Launch
    kinds: frozenset[Kind]
    """Kinds that the program has, and its state machine asks for."""
    steps: dict[_Step, int]
    """What steps take that have been asked for, whatever the launch: layers repeat them."""

    def operation(self, operation: MeshOperation) -> int:
        """Return the cycles of one operation."""
        return (
            self.step(operation.kind, operation.sizes(self.program, self.launch))
            + operation.traffic_cycles(self.program, self.launch, self.timing)
            + self._conflict_cycles(operation)
        )

    def step(self, kind: Kind, sizes: Mapping[str, int] = _NO_SIZES) -> int:
        """Return the cycles of a step of the state machine, from the start of its task."""
        key = (kind, *sizes.items())
        if key not in self.steps:
            self.steps[key] = self._step(kind, sizes)
        return self.steps[key]

    def _step(self, kind: Kind, sizes: Mapping[str, int]) -> int:
        cycles = self.timing.task_start_cycles
        cycles += num_tests(kind, self.kinds) * self._instructions(self.kernels.test, sizes)
        for rounds, counts in self.kernels.of(kind).items():
            cycles += product(rounds, sizes) * self._instructions(counts, sizes)
        return cycles

    def launch_cycles(self) -> int:
        """Return the cycles of the exported function."""
        timing = self.timing
        return timing.task_start_cycles + self._instructions(self.kernels.launch, _NO_SIZES)

    def _instructions(self, counts: Counts, sizes: Mapping[str, int]) -> int:
        timing = self.timing
        cycles = 0
        for name, count in counts.items():
            if name == "branch_taken":
                cycles += count * timing.branch_taken_cycles
            elif name == "map_begin":
                cycles += count * timing.memory_setup_cycles
            elif name in timing.instruction_cycles:
                cycles += count * timing.instruction_cycles[name]
            else:
                cycles += count * self._vector_operation(VectorOperation.parse(name), sizes)
        return cycles

    def _vector_operation(self, operation: VectorOperation, sizes: Mapping[str, int]) -> int:
        timing = self.timing
        num_elements = product(operation.length, sizes)
        rate, stride = timing.elements_per_cycle[operation.name], product(operation.stride, sizes)
        if operation.is_reduction and num_elements > 1:
            rate = min(rate, timing.reduction_elements_per_cycle)
        if stride > 1 and rate > 1:
            rate = max(Fraction(1), rate / stride)
        busy = math.ceil(num_elements / rate)
        if operation.is_mapped:
            return busy
        setup = timing.memory_setup_cycles
        if operation.name in _WITH_SCALAR:
            setup += timing.scalar_setup_cycles
        return setup + busy + timing.resume_cycles

    def _busy(self, operation: str, num_elements: Fraction | int) -> int:
        """Return the cycles that the data path takes for so many elements."""
        return math.ceil(num_elements / self.timing.elements_per_cycle[operation])

    def _conflict_cycles(self, operation: MeshOperation) -> int:
        """Return the cycles by which bank conflicts make an operation longer."""
        conflicts = operation.conflicts(self.program, self.launch)
        name, size = conflicts.operation, conflicts.num_elements
        longer = self._busy(name, size * self.timing.bank_conflict_factor) - self._busy(name, size)
        return conflicts.count * longer
