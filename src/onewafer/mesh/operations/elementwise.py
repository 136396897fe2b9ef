"""Element-wise operations on blocks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph import ActivationFunction, DataType
from onewafer.mesh import arithmetic, functions
from onewafer.mesh.banks import bank, count_shared
from onewafer.mesh.entry import float_words
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.kernels import FACTORS
from onewafer.mesh.kinds import ELEMENT, Kind, Module
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, in_type, with_chunks
from onewafer.mesh.tokens.operations import LAST_ROW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


class _Unary(MeshOperation):
    """An operation that reads one block."""

    __slots__ = ()

    result: Block
    input: Block

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return block_entry(program, self.kind, self.result, self.input)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(program, self.result, launch)


class _Binary(MeshOperation):
    """An operation that reads two blocks with one DSD operation."""

    __slots__ = ()

    result: Block
    left: Block
    right: Block

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return block_entry(program, self.kind, self.result, self.left, self.right)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(program, self.result, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the one DSD operation, if both operands begin in the same banks."""
        left, right = (bank(block.offset, program.dtype) for block in (self.left, self.right))
        elements = self.sizes(program, launch)["elements"]
        return Conflicts(int(left == right), self.dsd_operation(program.dtype), elements)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""


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

    result: Block
    input: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        memories.write(self.result, memories.read(self.input))


class _WithVector(MeshOperation):
    """An operation that reads a block and a vector for each of its rows."""

    __slots__ = ()

    result: Block
    input: Block
    vector: Block

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        return block_entry(program, self.kind, self.result, self.input, self.vector)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(program, self.result, launch)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Count the rows that begin in the same banks as the vector."""
        num_rows = program.num_rows(self.input, launch)
        count = count_shared(self.input, self.vector, num_rows, program.dtype)
        return Conflicts(count, self.dsd_operation(program.dtype), self.result.columns)

    @abstractmethod
    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""


@dataclass(frozen=True, slots=True)
class AddBias(_WithVector):
    """Add one row to each row in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            19,
            "add_bias",
            """
            const vector = parameter(right, columns);
            bias.run(activation(result, columns), activation(left, columns), vector, rows, columns);
            """,
            (Module("bias", ELEMENT),),
        ),
    )

    result: Block
    input: Block
    vector: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        rows = arithmetic.add(memories.matrix(self.input), memories.matrix(self.vector))
        memories.write(self.result, rows)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return in_type("fadd", dtype)


@dataclass(frozen=True, slots=True)
class ScaleFeatures(_WithVector):
    """Multiply each row by one row in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            20,
            "scale_features",
            """
            const vector = parameter(right, columns);
            factors.run(activation(result, columns), activation(left, columns), vector,
                        rows, columns);
            """,
            (FACTORS,),
        ),
    )

    result: Block
    input: Block
    vector: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        rows = arithmetic.multiply(memories.matrix(self.input), memories.matrix(self.vector))
        memories.write(self.result, rows)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return in_type("fmul", dtype)


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

    result: Block
    input: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        memories.write(self.result, arithmetic.relu(memories.read(self.input)))


@dataclass(frozen=True, slots=True)
class Add(_Binary):
    """Add two blocks in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            22,
            "add",
            "add.run(activation(result, n), activation(left, n), activation(right, n));",
            (Module("add", ELEMENT),),
        ),
    )

    result: Block
    left: Block
    right: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        total = arithmetic.add(memories.read(self.left), memories.read(self.right))
        memories.write(self.result, total)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return in_type("fadd", dtype)


@dataclass(frozen=True, slots=True)
class Multiply(_Binary):
    """Multiply two blocks in the program's dtype, one rounding an element."""

    kinds = (
        Kind(
            23,
            "multiply",
            "multiply.run(activation(result, n), activation(left, n), activation(right, n));",
            (Module("multiply", ELEMENT),),
        ),
    )

    result: Block
    left: Block
    right: Block

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        product = arithmetic.multiply(memories.read(self.left), memories.read(self.right))
        memories.write(self.result, product)

    def dsd_operation(self, dtype: DataType) -> str:
        """Return the lower-case name of its DSD operation."""
        return in_type("fmul", dtype)


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

    result: Block
    input: Block
    factor: float

    def entry(self, program: ProgramShape) -> Entry:
        """Return its words in the schedule."""
        more = float_words(self.factor)
        return block_entry(program, self.kind, self.result, self.input, more=more)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        values = memories.read(self.input).astype(np.float32)
        factor = np.full((), self.factor, np.float32)
        memories.store(self.result, arithmetic.multiply(values, factor))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
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

    result: Block
    input: Block
    function: ActivationFunction

    @property
    def kind(self) -> Kind:
        """Its kind in the schedule."""
        return _ACTIVATIONS[self.function][0]

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        values = memories.read(self.input).astype(np.float32)
        function = _ACTIVATIONS[self.function][1]
        if memories.program.dtype is DataType.F16:
            function = _FOR_HALF.get(self.function, function)
        memories.store(self.result, function(values))

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return with_chunks(block_sizes(program, self.result, launch))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the square that some functions take, whose sources are one part of the scratch."""
        elements = self.sizes(program, launch)["elements"]
        return Conflicts(int(self.function in _SQUARING), "fmuls", elements)
