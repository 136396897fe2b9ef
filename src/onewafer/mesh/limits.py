"""The limits of an operation's cycles: instructions, memory, hops, wavelets.

In: a mesh program, a launch, and its closed form. Out: a split of every operation's cycles.

    local operation   memory: ⌈n / rate⌉ of each DSD operation, at the rate of its reads
                      instructions: all other cycles, set-ups included
    collective        wavelets: (n − 1)·p, with p the period of the link or the data path
                      travel: all other cycles, those that a single wavelet would take, too
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh.cost import cycles_at, number_alike
from onewafer.mesh.kernel_costs import VectorOperation, kernel_costs, product
from onewafer.mesh.step_costs import of_all_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.arch import Architecture, Timing
    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.cost import Estimate
    from onewafer.mesh.kernel_costs import KernelCost, Size
    from onewafer.mesh.operation import MeshOperation, Traffic
    from onewafer.mesh.program import MeshProgram


@dataclass(frozen=True, slots=True)
class Waits:
    """The cycles of an operation, by the limit."""

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
    """Return the limits of each mesh operation of an estimate of `launch`, in order."""
    timing = architecture.timing
    kernels = kernel_costs(program.dtype, rows=program.row_kind)
    known: dict[int, int] = {}

    def waits(number: int, operation: MeshOperation, cycles: int) -> Waits:
        traffic = operation.traffic(program, launch)
        if number not in known:
            known[number] = (
                _memory_cycles(kernels.of(operation.kind), operation.sizes(program, launch), timing)
                if traffic is None
                else _wavelet_cycles(traffic, timing)
            )
        busy = min(known[number], cycles)
        if traffic is not None:
            return Waits(travel=cycles - busy, wavelets=busy)
        return Waits(instructions=cycles - busy, memory=busy)

    return tuple(
        waits(number, operation, cost.cycles)
        for (number, operation), cost in zip(
            number_alike(program)[program.stretch(launch.entry)], estimate.operations, strict=True
        )
    )


def _wavelet_cycles(traffic: Traffic, timing: Timing) -> int:
    """Return the cycles from the first wavelet of a collective to its last one."""
    gaps = max(int(np.max(traffic.words)) - 1, 0)
    data_path = max(1, math.ceil(1 / timing.elements_per_cycle[traffic.operation]))
    link = Fraction(timing.link_window_cycles, timing.link_window_words)
    return math.ceil(gaps * max(data_path, link))


def _memory_cycles(kernel: KernelCost, sizes: Mapping[str, Size], timing: Timing) -> int:
    """Return the cycles in which the data path moves elements, on the PE with the most."""
    cycles: Size = 0
    for rounds, counts in kernel.items():
        for name, count in counts.items():
            if "(" in name:
                vector = VectorOperation.parse(name)
                rate = timing.elements_per_cycle[vector.name]
                busy = cycles_at(rate, product(vector.length, sizes))
                cycles = cycles + of_all_rows(product(rounds, sizes) * count * busy)
    return int(np.max(cycles))
