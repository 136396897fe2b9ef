"""Functions of every element: operations, lowerings from the graph, cost cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer import graph
from onewafer.graph import FLOATING, ActivationFunction, DataType
from onewafer.mesh import arithmetic, functions
from onewafer.mesh.cost_case import CostCase, Sizes, grid
from onewafer.mesh.distances import Bounded
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.lowering.lowering import AlikeLowering, Lowerings, OperationType
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_chunks
from onewafer.mesh.tokens.operations import LAST_ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.distances import Distances
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.lowering.builder import Builder
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


@dataclass(frozen=True, slots=True)
class _Unary(MeshOperation):
    """An operation that reads one block."""

    result: Block
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.result, self.input)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.result, launch)


@dataclass(frozen=True, slots=True)
class Copy(_Unary):
    """Copy elements of the program's dtype."""

    kinds = (
        Kind(
            30,
            "copy",
            "last_row.run(activation(result, n), activation(left, n), 0, n);",
            (LAST_ROW,),
        ),
    )

    def execute(self, memories: Memories) -> None:
        memories.write(self.result, memories.read(self.input))


@dataclass(frozen=True, slots=True)
class Relu(_Unary):
    """Take the maximum with +0; exact. −0 becomes +0, where PyTorch keeps it."""

    kinds = (
        Kind(
            21,
            "relu",
            "relu.run(activation(result, n), activation(left, n));",
            (Module("relu", ELEMENT),),
        ),
    )

    def execute(self, memories: Memories) -> None:
        memories.write(self.result, arithmetic.relu(memories.read(self.input)))


@dataclass(frozen=True, slots=True)
class Scale(_Unary):
    """Multiply by a number, rounded to f32, in f32; one rounding to the program's dtype."""

    kinds = (
        Kind(
            24,
            "scale",
            """
            scale.run(activation(result, n), activation(left, n), n, number(words, 8));
            entry += 2;
            """,
            (Module("scale", f"{ELEMENT}, .functions = functions", (FUNCTIONS,)),),
        ),
    )

    factor: float

    def entry(self, program: ProgramShape) -> Entry:
        more = float_words(self.factor)
        return block_entry(program, self.kind, self.result, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        values = memories.read(self.input).astype(np.float32)
        factor = np.full((), self.factor, np.float32)
        memories.store(self.result, arithmetic.multiply(values, factor))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))


_ACTIVATION = Module("activation_functions", f"{ELEMENT}, .functions = functions", (FUNCTIONS,))


def _activation(number: int, name: str) -> Kind:
    code = f"activation_functions.{name}(activation(result, n), activation(left, n), n);"
    return Kind(number, name, code, (_ACTIVATION,))


_ACTIVATIONS = {
    ActivationFunction.SILU: (_activation(25, "silu"), functions.silu),
    ActivationFunction.GELU: (_activation(26, "gelu"), functions.gelu),
    ActivationFunction.GELU_TANH: (_activation(27, "gelu_tanh"), functions.gelu_tanh),
    ActivationFunction.SIGMOID: (_activation(28, "sigmoid"), functions.sigmoid),
    ActivationFunction.TANH: (_activation(29, "tanh"), functions.tanh),
}


_FOR_HALF = {ActivationFunction.SILU: functions.silu_for_half}


_SQUARING = (ActivationFunction.TANH, ActivationFunction.GELU_TANH)


@dataclass(frozen=True, slots=True)
class Activation(_Unary):
    """Apply a function to every element, in f32; one rounding to the program's dtype."""

    kinds = tuple(kind for kind, _ in _ACTIVATIONS.values())

    function: ActivationFunction

    @property
    def kind(self) -> Kind:
        return _ACTIVATIONS[self.function][0]

    def execute(self, memories: Memories) -> None:
        values = memories.read(self.input).astype(np.float32)
        function = _ACTIVATIONS[self.function][1]
        if memories.program.dtype is DataType.F16:
            function = _FOR_HALF.get(self.function, function)
        memories.store(self.result, function(values))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the squares of some functions: both sources are one part of the scratch."""
        elements = self.sizes(program, launch)["elements"]
        return Conflicts(int(self.function in _SQUARING), "fmuls", elements)


_LEAST = np.full((), -100, np.float32)
"""The lower bound of a negated exponent: e¹⁰⁰ is infinite in f32 already."""


@dataclass(frozen=True, slots=True)
class Exp(_Unary):
    """Raise e to the power of every element, in f32; one rounding to the program's dtype."""

    kinds = (
        Kind(
            70,
            "exp",
            "exp.run(activation(result, n), activation(left, n), n);",
            (Module("exp", f"{ELEMENT}, .functions = functions", (FUNCTIONS,)),),
        ),
    )

    def execute(self, memories: Memories) -> None:
        opposite = -memories.read(self.input).astype(np.float32)
        bounded = -arithmetic.maximum(opposite, _LEAST)
        memories.store(self.result, functions.exponential(bounded))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.result, launch))


class InPlaceLowering(AlikeLowering[OperationType]):
    """An operation in place of its only operand if that is dead; the layouts are equal."""

    works_in_place = True


class ReluLowering(InPlaceLowering[graph.Relu]):
    """Take the maximum with zero."""

    bounded_types = FLOATING

    def lower(self, operation: graph.Relu, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        builder.append(Relu(builder.allocate_in_place(operation), source))

    def bound(self, operation: graph.Relu, distances: Distances) -> Bounded:
        """Return the maximum, which is exact and never increases an error."""
        source = distances.of(operation.input)
        return Bounded(np.maximum(source.exact, 0.0), source.error)


class ScaleLowering(InPlaceLowering[graph.Scale]):
    """Multiply by a number."""

    def lower(self, operation: graph.Scale, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        result = builder.allocate_in_place(operation)
        builder.append(Scale(result, source, operation.factor))


class ActivationLowering(InPlaceLowering[graph.Activation]):
    """Apply a function to every element."""

    bounded_types = (DataType.F32,)

    def lower(self, operation: graph.Activation, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        result = builder.allocate_in_place(operation)
        builder.append(Activation(result, source, operation.function))

    def bound(self, operation: graph.Activation, distances: Distances) -> Bounded:
        """Return the function with the errors of both evaluations; its slope is at most 1.13.

        The wafer's errors are in docs/explanation/numerics.md; PyTorch's gelu multiplies by
        1 + tanh or 1 + erf, which cancels below 0.
        """
        source, exact = distances.of(operation.input), distances.exact[operation.result.name]
        unit = distances.gamma(1)
        own = 8 * unit * np.abs(exact)
        if operation.function in (ActivationFunction.GELU, ActivationFunction.GELU_TANH):
            own = 160 * unit * np.abs(exact) + 4 * unit * source.magnitude
        return distances.rounded(Bounded(exact, 1.13 * source.error + own))


class ExpLowering(InPlaceLowering[graph.Exp]):
    """Raise e to the power of every element."""

    def lower(self, operation: graph.Exp, builder: Builder) -> None:
        source = builder.blocks[operation.input]
        builder.append(Exp(builder.allocate_in_place(operation), source))


LOWERINGS: Lowerings = {
    graph.Relu: ReluLowering(),
    graph.Scale: ScaleLowering(),
    graph.Activation: ActivationLowering(),
    graph.Exp: ExpLowering(),
}


def _plain(build: Callable[[Sizes], MeshOperation]) -> CostCase:
    return CostCase(build, lengths=("elements",))


def _in_chunks(build: Callable[[Sizes], MeshOperation]) -> CostCase:
    """Return a cost case whose rows are whole chunks."""
    chunks = grid(rows=(2, 3, 5), columns=(CHUNK, 2 * CHUNK))
    return CostCase(build, rounds=("chunks",), lengths=("elements", "chunk"), grid=chunks)


def _case(function: ActivationFunction) -> CostCase:
    return _in_chunks(lambda sizes: Activation(sizes.block(), sizes.block(), function))


COST_CASES = (
    _plain(lambda sizes: Copy(sizes.block(), sizes.block())),
    _plain(lambda sizes: Relu(sizes.block(), sizes.block())),
    _in_chunks(lambda sizes: Scale(sizes.block(), sizes.block(), 0.5)),
    *map(_case, ActivationFunction),
    _in_chunks(lambda sizes: Exp(sizes.block(), sizes.block())),
)
