"""Read a mesh program as cycles, in closed form.

All PEs do the same work at the same pace, so the time of a program is the sum over its operations
along the chain of PEs that finish last. A collective starts at the far end of its axis and ends
there; that PE is the last to finish one operation and the last to begin the next.

    local operation   s + Σ instructions + Σ DSD operations (set-up + ⌈n / rate⌉ + resume); where
                      both sources begin in the same banks, ⌈c·n / rate⌉ with c the conflict factor
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
from typing import TYPE_CHECKING

from onewafer.graph import DataType
from onewafer.mesh.banks import num_conflicts
from onewafer.mesh.kernel_costs import kernel_costs
from onewafer.mesh.program import (
    Add,
    AddBias,
    Broadcast,
    ChainReduce,
    Convert,
    Matmul,
    Relu,
    Turn,
)
from onewafer.mesh.schedule import CONTROL_KINDS, Kind, build_schedule, kind_of, kinds_of

if TYPE_CHECKING:
    from fractions import Fraction

    from onewafer.arch import Architecture, Timing
    from onewafer.mesh.kernel_costs import Counts, KernelCosts
    from onewafer.mesh.program import MeshOperation, MeshProgram

_WITH_SCALAR = frozenset({"fmach", "fmacs", "fmachs"})
"""DSD operations with a third, scalar source."""


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


def estimate(program: MeshProgram, architecture: Architecture) -> Estimate:
    """Return the cycles of one run."""
    schedule = build_schedule(program)
    model = _CostModel(
        architecture.timing,
        kernel_costs(program.dtype),
        program,
        kinds_of(schedule),
    )
    return Estimate(
        launch_cycles=model.task(model.kernels.launch),
        operations=tuple(
            OperationCost(kind_of(operation), model.operation(operation) + model.turns(operation))
            for operation in program.operations
        ),
        control_cycles=sum(
            (entry.n + 1) * model.step(entry.kind)
            for entry in schedule
            if entry.kind in CONTROL_KINDS
        ),
    )


@dataclass(frozen=True, slots=True)
class _CostModel:
    timing: Timing
    kernels: KernelCosts
    program: MeshProgram
    kinds: frozenset[Kind]
    """Kinds that the program has, and its state machine asks for."""

    def operation(self, operation: MeshOperation) -> int:
        kind = kind_of(operation)
        kernel = self.kernels.of(kind)
        match operation:
            case Matmul(result, _, weight):
                columns = result.columns  # PEs with padding are through earlier
                return (
                    self.step(kind, result.num_elements)
                    + result.rows * self._instructions(kernel.row, columns)
                    + result.rows * weight.rows * self._instructions(kernel.inner, columns)
                )
            case Turn(result, source):
                # A row of what the blocks share is at most as long as the shorter of theirs.
                shared = min(result.columns, source.columns)
                call = self.step(kind, result.num_elements)
                return call + result.rows * self._instructions(kernel.row, shared)
            case AddBias(result):
                call = self.step(kind, result.num_elements)
                return call + result.rows * self._instructions(kernel.row, result.columns)
            case Convert(result) | Relu(result) | Add(result):
                return self.step(kind, result.num_elements)
            case ChainReduce(values, axis):
                timing, num_links = self.timing, self.program.size(axis) - 1
                stage = 2 * timing.ramp_cycles + timing.hop_cycles + 1
                stream = self._stream("fadds", values.num_elements)
                return self.step(kind) + stream + num_links * stage
            case Broadcast(values, axis):
                timing, num_links = self.timing, self.program.size(axis) - 1
                travel = 2 * timing.ramp_cycles + num_links * timing.hop_cycles + 1
                stream = self._stream("fmovs", values.num_elements)
                return self.step(kind) + stream + travel

    def turns(self, operation: MeshOperation) -> int:
        """Return the cycles by which bank conflicts make an operation longer."""
        conflicts = num_conflicts(operation, self.program.dtype)
        match operation:
            case Matmul(result):
                name, size = "fmacs", result.columns
            case AddBias(result):
                name, size = self._addition, result.columns
            case Add(result):
                name, size = self._addition, result.num_elements
            case _:
                return 0
        factor = self.timing.bank_conflict_factor
        return conflicts * (self._busy(name, size * factor) - self._busy(name, size))

    @property
    def _addition(self) -> str:
        return "faddh" if self.program.dtype is DataType.F16 else "fadds"

    def step(self, kind: Kind, num_elements: int = 0) -> int:
        """Return the cycles of a step of the state machine, loops not included."""
        num_tests = sum(other < kind for other in self.kinds)
        tests = num_tests * self._instructions(self.kernels.test, 0)
        return self.task(self.kernels.of(kind).call, num_elements) + tests

    def task(self, counts: Counts, num_elements: int = 0) -> int:
        """Return the cycles of a task that executes these instructions."""
        return self.timing.task_start_cycles + self._instructions(counts, num_elements)

    def _instructions(self, counts: Counts, num_elements: int) -> int:
        timing = self.timing
        cycles = 0
        for name, count in counts.items():
            if name == "branch_taken":
                cycles += count * timing.branch_taken_cycles
            elif name in timing.instruction_cycles:
                cycles += count * timing.instruction_cycles[name]
            else:
                cycles += count * self._memory_operation(name, num_elements)
        return cycles

    def _memory_operation(self, operation: str, num_elements: int) -> int:
        timing = self.timing
        setup = timing.memory_setup_cycles
        if operation in _WITH_SCALAR:
            setup += timing.scalar_setup_cycles
        return setup + self._busy(operation, num_elements) + timing.resume_cycles

    def _busy(self, operation: str, num_elements: Fraction | int) -> int:
        """Return the cycles that the data path takes for so many elements."""
        return math.ceil(num_elements / self.timing.elements_per_cycle[operation])

    def _stream(self, operation: str, num_elements: int) -> int:
        """Return the cycles from the issue of a fabric operation until its last element is over."""
        timing = self.timing
        data_path = max(1, math.ceil(1 / timing.elements_per_cycle[operation]))
        gaps = num_elements - 1
        link = math.ceil(gaps * timing.link_window_cycles / timing.link_window_words)
        return timing.fabric_setup_cycles + max(gaps * data_path, link) + data_path
