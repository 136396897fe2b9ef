"""The closed form: the cycles of a mesh program, without simulation.

A launch takes as long as the PE that is last. PEs run the same operations, but some have less to do
than others, and a collective starts when its PEs come to it: `skew` follows when each of them does.

    local operation   s + Σ instructions + Σ DSD operations (set-up + ⌈n / rate⌉ + resume, or just
                      ⌈n / rate⌉ in a map loop); where both sources begin in the same banks,
                      ⌈c·n / rate⌉ with c the conflict factor
    chain reduce      s + instructions up to the issue + F + n·p + D·(2R + H + 1)
    broadcast         s + instructions up to the issue + F + n·p + D·H + 2R + 1

with s the start of a task, F the dispatch and set-up of a fabric operation, p the cycles a wavelet
(link or data path, whichever is slower), R the ramp, H the hop, D the PEs from the middle of the
axis to its end, from the last of them that is late on. In two phases words stop at fewer PEs than
they go past (`chains.Ways`). Where several chains come to a PE, it adds one after the other: F +
n·p and a resumption later, unless the next is still under way. These are the formulas of NOWR
(HPDC'24) with the rules of docs/explanation/machine.md; the instructions come from the compiled
listing (`kernel_costs`), every cycle count from `Architecture.timing`. The cycles of an operation
go from the latest start of its step on any PE to that of the next step, so that they add up.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.banks import bank
from onewafer.mesh.blocks import Axis, Block
from onewafer.mesh.collectives import ChainReduce
from onewafer.mesh.kinds import CONTROL_KINDS, REPEAT, answers
from onewafer.mesh.operation import Classes
from onewafer.mesh.schedule import build_schedule, kinds_of, schedule_parts
from onewafer.mesh.skew import Skew
from onewafer.mesh.step_costs import Rate, of_all_rows, step_costs

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from onewafer.arch import Architecture, Timing
    from onewafer.graph import DataType
    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.chains import Chains
    from onewafer.mesh.kernel_costs import Size
    from onewafer.mesh.kinds import Kind
    from onewafer.mesh.operation import MeshOperation, Traffic
    from onewafer.mesh.program import MeshProgram
    from onewafer.mesh.step_costs import StepCosts

_NO_SIZES: Mapping[str, Size] = MappingProxyType({})


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
    """The cost of each mesh operation of the entry, in order."""
    control_cycles: int
    """Cycles of the REPEAT and STOP entries of the schedule."""

    @property
    def cycles(self) -> int:
        """The total cycles."""
        operations = sum(operation.cycles for operation in self.operations)
        return self.launch_cycles + operations + self.control_cycles


class Estimator:
    """The closed form of one program, for launches of any rows and positions."""

    def __init__(self, program: MeshProgram, architecture: Architecture) -> None:
        self._program = program
        self._timing = architecture.timing
        self._costs = step_costs(self._timing, program.dtype, rows=program.row_kind)
        self._kinds = kinds_of(build_schedule(program))
        self._parts = schedule_parts(program)
        self._operations = number_alike(program)

    def estimate(self, launch: Launch | None = None) -> Estimate:
        """Return the cycles of one launch: of all rows from position 0 on, unless one is given."""
        program = self._program
        where = launch or program.whole_launch()
        model = _CostModel(self._timing, self._costs, program, where, self._kinds)
        stretch = program.stretch(where.entry)
        cycles = _Walk(model).run(self._operations[stretch])
        return Estimate(
            launch_cycles=model.launch_cycles(),
            operations=tuple(
                OperationCost(operation.kind, count)
                for operation, count in zip(program.operations[stretch], cycles, strict=True)
            ),
            control_cycles=sum(
                (entry.n + 1) * int(model.step(entry.kind))
                for entry in self._parts[where.entry]
                if entry.kind in CONTROL_KINDS
            ),
        )

    def repeat_cycles(self) -> int:
        """Return the cycles of the schedule step that jumps back to repeat a layer."""
        return self._step_cycles(REPEAT)

    def issue_cycles(self) -> int:
        """Return the cycles from the start of a chain's step to the issue of its wavelets."""
        return self._step_cycles(ChainReduce.kinds[0])

    def _step_cycles(self, kind: Kind) -> int:
        where = self._program.whole_launch()
        model = _CostModel(self._timing, self._costs, self._program, where, self._kinds)
        return int(model.step(kind))


def estimate(
    program: MeshProgram, architecture: Architecture, launch: Launch | None = None
) -> Estimate:
    """Return the cycles of one launch: of all rows from position 0 on, unless one is given."""
    return Estimator(program, architecture).estimate(launch)


def number_alike(program: MeshProgram) -> tuple[tuple[int, MeshOperation], ...]:
    """Return each operation with a number that equal operations share, in all layers."""
    numbers: dict[Hashable, int] = {}
    keys = [_kind_of_work(operation, program.dtype) for operation in program.operations]
    return tuple(
        (numbers.setdefault(key, len(numbers)), operation)
        for key, operation in zip(keys, program.operations, strict=True)
    )


def _kind_of_work(operation: MeshOperation, dtype: DataType) -> Hashable:
    """Return a key that is equal for operations that differ only in addresses, in equal banks."""
    values = [getattr(operation, name) for name in _field_names(type(operation))]
    return type(operation), *[
        (value.arena, bank(value.offset, dtype), value.rows, value.columns)
        if isinstance(value, Block)
        else value
        for value in values
    ]


@cache
def _field_names(operation: type[MeshOperation]) -> tuple[str, ...]:
    return tuple(item.name for item in dataclasses.fields(operation))


@dataclass(frozen=True, slots=True)
class Work:
    """The cycles of PEs in one step."""

    cycles: Size
    """`[classes, places along the other axis]`, or the same on all PEs; for a collective, the
    cycles until a PE has sent all wavelets, `[places along the other axis]`."""
    classes: Classes | None
    traffic: Traffic | None = None
    chains: Chains | None = None
    """The chains along the axis of the traffic."""
    again: Size = 0
    """Cycles in which a PE adds a second chain, `[places along the other axis]`."""

    def after(self, skew: Skew, timing: Timing) -> Skew:
        """Return the skew after the step, given the skew at its start."""
        traffic, chains = self.traffic, self.chains
        if traffic is not None and chains is not None:
            if traffic.is_chain:
                ways = chains.ways(timing, of_heads=traffic.of_heads)
                return skew.after_chain(traffic.axis, traffic.words, self.cycles, self.again, ways)
            roots = chains.roots(of_heads=traffic.of_heads)
            return skew.after_broadcast(traffic.axis, self.cycles, timing, roots)
        assert self.classes is not None, "what all PEs do takes them equally long"
        return skew.after_local(np.atleast_2d(self.cycles), self.classes)

    @property
    def of_all_pes(self) -> int | None:
        """The cycles that every PE takes, whatever the skew; None: PEs differ."""
        if self.traffic is None and np.size(self.cycles) == 1:
            return int(np.max(self.cycles))
        return None


@dataclass(frozen=True, slots=True)
class _Walk:
    """One pass over the operations of a launch.

    Layers repeat, so the result of an operation at a given skew is cached.
    """

    model: _CostModel
    work: dict[int, Work] = field(default_factory=dict[int, Work])
    """The work of an operation, by its number."""
    steps: dict[tuple[int, Hashable], tuple[int, Skew]] = field(
        default_factory=dict[tuple[int, "Hashable"], "tuple[int, Skew]"]
    )
    """Cycles and next skew of repeated operations, by number and skew."""

    def run(self, operations: tuple[tuple[int, MeshOperation], ...]) -> Iterator[int]:
        """Yield the cycles of each operation."""
        times = Counter(number for number, _ in operations)
        skew = Skew.none(self.model.program)  # relative to the latest PE
        for number, operation in operations:
            if number not in self.work:
                self.work[number] = self.model.work(operation)
            work = self.work[number]
            cycles = work.of_all_pes
            if cycles is not None:
                yield cycles
                continue
            if times[number] == 1:
                cycles, skew = self._step(work, skew)
            else:
                key = number, skew.key
                if key not in self.steps:
                    self.steps[key] = self._step(work, skew)
                cycles, skew = self.steps[key]
            yield cycles

    def _step(self, work: Work, skew: Skew) -> tuple[int, Skew]:
        after = work.after(skew, self.model.timing)
        latest = after.latest
        return latest, after.earlier(latest)


@dataclass(frozen=True, slots=True)
class _CostModel:
    timing: Timing
    costs: StepCosts
    program: MeshProgram
    launch: Launch
    kinds: frozenset[Kind]
    """The kinds of the program, of which the state machine has arms."""

    def work(self, operation: MeshOperation) -> Work:
        """Return the work of the PEs in a step."""
        program, launch = self.program, self.launch
        sizes = operation.sizes(program, launch)
        cycles = self.step(operation.kind, sizes) + self._conflict_cycles(operation)
        traffic = operation.traffic(program, launch)
        classes = self._of_all_groups(operation.classes(program, launch))
        if traffic is None:
            return Work(cycles, classes)
        stream = self._stream_cycles(traffic)
        again = self.costs.second_chain + stream + self.timing.resume_cycles
        chains = program.chains(traffic.axis)
        return Work(_largest(cycles) + stream, classes, traffic, chains, again)

    def _of_all_groups(self, classes: Classes | None) -> Classes | None:
        """Return the classes of all PEs along an axis, given those of a group of samples."""
        groups = self.program.sample_groups
        if classes is None or groups == 1 or classes.axis is Axis.X:
            return classes
        return Classes(Axis.Y, np.tile(classes.labels, groups))

    def step(self, kind: Kind, sizes: Mapping[str, Size] = _NO_SIZES) -> Size:
        """Return the cycles of a step of the state machine, from the start of its task.

        They are `[classes, places]` if the sizes differ from PE to PE.
        """
        learnt, costs = answers(kind, self.kinds), self.costs
        cycles = self.timing.task_start_cycles
        cycles += learnt.below * costs.below + learnt.above * costs.above
        return cycles + costs.cycles(kind, sizes)

    def launch_cycles(self) -> int:
        """Return the cycles of the exported function."""
        return self.timing.task_start_cycles + self.costs.launch

    def _conflict_cycles(self, operation: MeshOperation) -> Size:
        """Return the cycles that bank conflicts add to an operation."""
        conflicts = operation.conflicts(self.program, self.launch)
        if isinstance(conflicts.count, int) and conflicts.count == 0:
            return 0
        in_turns = self.costs.rates_in_turns[conflicts.operation].busy(conflicts.num_elements)
        usual = self.costs.rates[conflicts.operation].busy(conflicts.num_elements)
        return of_all_rows(conflicts.count * (in_turns - usual))

    def _stream_cycles(self, traffic: Traffic) -> Size:
        """Return the cycles from the issue of an asynchronous operation to its last element."""
        data_path = max(1, int(self.costs.rates[traffic.operation].busy(1)))
        fixed = self.timing.dispatch_cycles + self.timing.fabric_setup_cycles + data_path
        if isinstance(traffic.words, int):
            gap = max(traffic.words - 1, 0)
            return fixed + max(gap * data_path, self.costs.link.busy(gap))
        gaps = np.maximum(np.asarray(traffic.words) - 1, 0)
        slowest = np.maximum(gaps * data_path, self.costs.link.busy(gaps))
        return fixed + slowest


def cycles_at(elements_per_cycle: Fraction, num_elements: Size) -> Size:
    """Return the cycles that a number of elements takes, rounded up."""
    return Rate.of(Fraction(elements_per_cycle)).busy(num_elements)


def _largest(cycles: Size) -> int:
    return cycles if isinstance(cycles, int) else int(cycles.max())
