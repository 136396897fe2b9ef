"""What the cycles of an operation are spent waiting for: instructions, memory, hops, wavelets.

In: a mesh program, a launch, and the closed form of it. Out: a split of every operation's cycles.

    local operation   memory: ⌈n / rate⌉ of each DSD operation, whose rates are those of its reads
                      instructions: all the rest, set-ups included
    collective        wavelets: (n − 1)·p, as long as the link or the data path is busy
                      travel: all the rest, from the start of the step over ramps and hops to the
                      end, which one wavelet would take as well
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from onewafer.mesh.entry import COLLECTIVE_KINDS
from onewafer.mesh.kernel_costs import VectorOperation, kernel_costs, product

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture, Timing
    from onewafer.mesh.cost import Estimate
    from onewafer.mesh.kernel_costs import KernelCost
    from onewafer.mesh.operations import MeshOperation
    from onewafer.mesh.program import Launch, MeshProgram


@dataclass(frozen=True, slots=True)
class Waits:
    """The cycles of an operation by what they wait for."""

    instructions: int = 0
    memory: int = 0
    travel: int = 0
    wavelets: int = 0

    @property
    def cycles(self) -> int:
        """The sum: the cycles of the operation."""
        return self.instructions + self.memory + self.travel + self.wavelets


def split_waits(
    program: MeshProgram, launch: Launch, estimate: Estimate, architecture: Architecture
) -> tuple[Waits, ...]:
    """Return what each mesh operation of an estimate of `launch` waits for, in order."""
    timing = architecture.timing
    kernels = kernel_costs(program.dtype, is_sequence=program.sequence_rows is not None)
    known: dict[object, int] = {}

    def waits(operation: MeshOperation, cycles: int) -> Waits:
        sizes = operation.sizes(program, launch)
        key = (operation.kind, *sizes.items())
        is_collective = operation.kind in COLLECTIVE_KINDS
        if key not in known:
            known[key] = (
                _wavelet_cycles(sizes, timing)
                if is_collective
                else _memory_cycles(kernels.of(operation.kind), sizes, timing)
            )
        busy = min(known[key], cycles)
        if is_collective:
            return Waits(travel=cycles - busy, wavelets=busy)
        return Waits(instructions=cycles - busy, memory=busy)

    return tuple(
        waits(operation, cost.cycles)
        for operation, cost in zip(program.operations, estimate.operations, strict=True)
    )


def _wavelet_cycles(sizes: Mapping[str, int], timing: Timing) -> int:
    """Return the cycles from the first wavelet of a collective to its last one."""
    scores = sizes["rows"] * sizes["num_heads"] * sizes["slots"] if "slots" in sizes else None
    gaps = (sizes["elements"] if scores is None else scores) - 1
    data_path = max(1, math.ceil(1 / timing.elements_per_cycle["fadds"]))
    link = Fraction(timing.link_window_cycles, timing.link_window_words)
    return math.ceil(gaps * max(data_path, link))


def _memory_cycles(kernel: KernelCost, sizes: Mapping[str, int], timing: Timing) -> int:
    """Return the cycles in which elements go through the data path."""
    cycles = 0
    for rounds, counts in kernel.items():
        for name, count in counts.items():
            if "(" in name:
                vector = VectorOperation.parse(name)
                rate = timing.elements_per_cycle[vector.name]
                busy = math.ceil(product(vector.length, sizes) / rate)
                cycles += product(rounds, sizes) * count * busy
    return cycles
