"""Softplus and its gradient: operations, lowerings from the graph, cost cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer import graph
from onewafer.graph import DataType
from onewafer.mesh import arithmetic, functions
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.distances import Bounded
from onewafer.mesh.elementwise.unary import InPlaceLowering
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.lowering.lowering import DerivativeLowering, Lowerings
from onewafer.mesh.operation import MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

_MODULE = Module("softplus", f"{ELEMENT}, .functions = functions", (FUNCTIONS,))


@dataclass(frozen=True, slots=True)
class Softplus(MeshOperation):
    """Apply softplus to every element, in f32; one rounding to the program's dtype."""

    kinds = (
        Kind(
            83,
            "softplus",
            """
            softplus.run(activation(result, n), activation(left, n), number(words, 8),
                         number(words, 10), number(words, 12), n);
            entry += 6;
            """,
            (_MODULE,),
        ),
    )

    result: Block
    input: Block
    beta: float
    threshold: float

    def entry(self, program: ProgramShape) -> Entry:
        numbers = self.beta, self.threshold, 1 / self.beta
        more = tuple(word for number in numbers for word in float_words(number))
        return block_entry(program, self.kind, self.result, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        values = memories.read(self.input).astype(np.float32)
        memories.store(self.result, functions.softplus(values, self.beta, self.threshold))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))


@dataclass(frozen=True, slots=True)
class SoftplusGradient(MeshOperation):
    """Multiply a gradient by the derivative of softplus, every operation rounded."""

    kinds = (
        Kind(
            226,
            "softplus_gradient",
            """
            softplus.back(activation(result, n), activation(left, n), activation(right, n),
                          number(words, 8), number(words, 10), n);
            entry += 4;
            """,
            (_MODULE,),
        ),
    )

    result: Block
    gradient: Block
    value: Block
    """The operand of the function."""
    beta: float
    threshold: float

    def entry(self, program: ProgramShape) -> Entry:
        more = (*float_words(self.beta), *float_words(self.threshold))
        operands = self.result, self.gradient, self.value
        return block_entry(program, self.kind, *operands, more=more)

    def execute(self, memories: Memories) -> None:
        values = memories.read(self.value)
        derivative = functions.softplus_derivative(values, self.beta, self.threshold)
        product = arithmetic.multiply(memories.read(self.gradient), derivative)
        memories.write(self.result, product)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))


class SoftplusLowering(InPlaceLowering[graph.Softplus]):
    """Apply softplus to every element."""

    bounded_types = (DataType.F32,)

    def lower(self, operation: graph.Softplus, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        result = builder.allocate_in_place(operation)
        builder.append(Softplus(result, source, operation.beta, operation.threshold))

    def bound(self, operation: graph.Softplus, distances: Distances) -> Bounded:
        """Return softplus with the errors of both evaluations; its slope is at most 1.

        β · x is rounded; near the threshold one evaluation may leave out what the other one adds.
        """
        source, exact = distances.of(operation.input), distances.exact[operation.result.name]
        unit = distances.gamma(1)
        own = 12 * unit * np.abs(exact) + 2 * unit * source.magnitude
        jump = np.log1p(np.exp(-operation.threshold)) / abs(operation.beta)
        is_near = operation.beta * source.exact > operation.threshold / 2
        return distances.rounded(Bounded(exact, source.error + own + np.where(is_near, jump, 0)))


class SoftplusGradientLowering(DerivativeLowering[graph.SoftplusGradient]):
    """Multiply by a derivative, in place if an operand is not read again."""

    def lower(self, operation: graph.SoftplusGradient, builder: Builder) -> None:
        axis = builder.layouts[operation.value].axis
        operands = builder.lay(operation.gradient, axis), builder.blocks[operation.value]
        result = builder.allocate_in_place(operation)
        numbers = operation.beta, operation.threshold
        builder.append(SoftplusGradient(result, *operands, *numbers))


LOWERINGS: Lowerings = {
    graph.Softplus: SoftplusLowering(),
    graph.SoftplusGradient: SoftplusGradientLowering(),
}


def _forward(sizes: Sizes) -> Softplus:
    return Softplus(sizes.block(), sizes.block(), 2.0, 20.0)


def _back(sizes: Sizes) -> SoftplusGradient:
    result, gradient, value = (sizes.block() for _ in range(3))
    return SoftplusGradient(result, gradient, value, 2.0, 20.0)


_CHUNKS = grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK))
"""Sizes whose rows are whole chunks."""
COST_CASES = (
    CostCase(_forward, rounds=("chunks",), lengths=("chunk",), grid=_CHUNKS),
    CostCase(
        _back,
        rounds=("chunks",),
        lengths=("chunk",),
        grid=_CHUNKS,
        is_of_singles=True,
        rows=OF_TRAINING,
    ),
)
