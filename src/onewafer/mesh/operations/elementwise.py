"""Operations whose elements meet only those in the same place of other blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import DataType
from onewafer.mesh import arithmetic
from onewafer.mesh.banks import bank, row_banks
from onewafer.mesh.entry import Kind
from onewafer.mesh.operations.operation import Conflicts, MeshOperation
from onewafer.mesh.operations.sizes import block_entry, block_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program import Block, MeshProgram


@dataclass(frozen=True, slots=True)
class Convert(MeshOperation):
    """Round f32 sums to f16, to nearest even."""

    result: Block
    input: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.CONVERT

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        del program
        return block_entry(self.kind, self.result, self.input)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        memories.write(self.result, arithmetic.round_to_half(memories.read(self.input)))

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(self.result)


@dataclass(frozen=True, slots=True)
class AddBias(MeshOperation):
    """Add one row to each row in the program's dtype, one rounding an element."""

    result: Block
    input: Block
    bias: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.ADD_BIAS

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        del program
        return block_entry(self.kind, self.result, self.input, self.bias)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        rows = arithmetic.add(memories.matrix(self.input), memories.matrix(self.bias))
        memories.write(self.result, rows)

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(self.result)

    def conflicts(self, dtype: DataType) -> Conflicts:
        """Count the rows that begin in the same banks as the bias."""
        count = row_banks(self.input, dtype)[bank(self.bias.offset, dtype)]
        return Conflicts(count, _addition(dtype), self.result.columns)


@dataclass(frozen=True, slots=True)
class Relu(MeshOperation):
    """Take the maximum with +0; exact. −0 becomes +0, where PyTorch keeps it."""

    result: Block
    input: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.RELU

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        del program
        return block_entry(self.kind, self.result, self.input)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        memories.write(self.result, arithmetic.relu(memories.read(self.input)))

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(self.result)


@dataclass(frozen=True, slots=True)
class Add(MeshOperation):
    """Add two blocks in the program's dtype, one rounding an element."""

    result: Block
    left: Block
    right: Block

    @property
    def kind(self) -> Kind:
        """What the state machine knows it as."""
        return Kind.ADD

    def entry(self, program: MeshProgram) -> Entry:
        """Return its words in the schedule."""
        del program
        return block_entry(self.kind, self.result, self.left, self.right)

    def execute(self, memories: Memories) -> None:
        """Do on NumPy arrays what the kernel does."""
        total = arithmetic.add(memories.read(self.left), memories.read(self.right))
        memories.write(self.result, total)

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes that its cost depends on."""
        return block_sizes(self.result)

    def conflicts(self, dtype: DataType) -> Conflicts:
        """Return the one addition, if both operands begin in the same banks."""
        count = int(bank(self.left.offset, dtype) == bank(self.right.offset, dtype))
        return Conflicts(count, _addition(dtype), self.result.num_elements)


def _addition(dtype: DataType) -> str:
    return "faddh" if dtype is DataType.F16 else "fadds"
