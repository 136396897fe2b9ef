"""Gradients of activation functions: operations, lowering, cost cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer import graph
from onewafer.graph import ActivationFunction
from onewafer.mesh import arithmetic, functions
from onewafer.mesh.cost_case import OF_TRAINING, CostCase, Sizes, grid
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.lowering.lowering import DerivativeLowering, Lowerings
from onewafer.mesh.operation import NO_CONFLICTS, Conflicts, MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

_GRADIENTS = Module("activation_gradients", ".functions = functions", (FUNCTIONS,))


def _kind(number: int, name: str) -> Kind:
    code = f"""
    activation_gradients.{name}(activation(result, n), activation(left, n), activation(right, n),
                                n);
    """
    return Kind(number, f"{name}_gradient", code, (_GRADIENTS,))


_DERIVATIVES = {
    ActivationFunction.SILU: (_kind(221, "silu"), functions.silu_derivative),
    ActivationFunction.GELU: (_kind(222, "gelu"), functions.gelu_derivative),
    ActivationFunction.GELU_TANH: (_kind(223, "gelu_tanh"), functions.gelu_tanh_derivative),
    ActivationFunction.SIGMOID: (_kind(224, "sigmoid"), functions.sigmoid_derivative),
    ActivationFunction.TANH: (_kind(225, "tanh"), functions.tanh_derivative),
}
_SQUARES = {ActivationFunction.GELU: 1, ActivationFunction.GELU_TANH: 2}
"""How often each function squares a chunk: both sources are the same vector, and conflict."""


@dataclass(frozen=True, slots=True)
class ActivationGradient(MeshOperation):
    """Multiply a gradient by the derivative of an activation function, rounding each step."""

    kinds = tuple(kind for kind, _ in _DERIVATIVES.values())

    result: Block
    gradient: Block
    value: Block
    """The function's operand in the forward pass."""
    function: ActivationFunction

    @property
    def kind(self) -> Kind:
        return _DERIVATIVES[self.function][0]

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.gradient, self.value)

    def execute(self, memories: Memories) -> None:
        derivative = _DERIVATIVES[self.function][1](memories.read(self.value))
        product = arithmetic.multiply(memories.read(self.gradient), derivative)
        memories.write(self.result, product)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the squares that GELU and its tanh form compute."""
        count = _SQUARES.get(self.function)
        if count is None:
            return NO_CONFLICTS
        return Conflicts(count, "fmuls", self.sizes(program, launch)["elements"])


class ActivationGradientLowering(DerivativeLowering[graph.ActivationGradient]):
    """Multiply by a derivative, in place if an operand is not read again."""

    def lower(self, operation: graph.ActivationGradient, builder: Builder) -> None:
        axis = builder.layouts[operation.value].axis
        operands = builder.lay(operation.gradient, axis), builder.blocks[operation.value]
        result = builder.allocate_in_place(operation)
        builder.append(ActivationGradient(result, *operands, operation.function))


LOWERINGS: Lowerings = {graph.ActivationGradient: ActivationGradientLowering()}


def _case(function: ActivationFunction) -> CostCase:
    """Return a cost case whose rows are whole chunks."""

    def build(sizes: Sizes) -> ActivationGradient:
        result, gradient, value = (sizes.block() for _ in range(3))
        return ActivationGradient(result, gradient, value, function)

    return CostCase(
        build,
        rounds=("chunks",),
        lengths=("chunk",),
        grid=grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK)),
        is_of_singles=True,
        rows=OF_TRAINING,
    )


COST_CASES = tuple(map(_case, ActivationFunction))
