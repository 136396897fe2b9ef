"""Clipping of gradients in place: the sum of their squares, and sweeps that change them.

The host turns the sum into a norm and the norm into a factor; one number goes each way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from onewafer.mesh import arithmetic
from onewafer.mesh.blocks import Axis
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.gradients.operations import GRADIENT
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.optimizers.operations import STEP_NUMBERS_FROM
from onewafer.mesh.sizes import CHUNK, block_entry, block_sizes, with_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.mesh.blocks import Block, Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape


_GOES_ON, _COPIED = 1, {Axis.X: 2, Axis.Y: 4}
_FLAGS = """
// How a sum of squares is made: it goes on; all PEs along an axis have the same.
const goes_on: u16 = 1;
const copied_x: u16 = 2;
const copied_y: u16 = 4;
"""


@dataclass(frozen=True, slots=True)
class AddSquares(MeshOperation):
    """Add the squares of a row of gradients to a number.

    The squares of all chunks are first added element by element; the sums are then added in
    ascending order.
    """

    kinds = (
        Kind(
            104,
            "add_squares",
            """
            const is_first_x = inner & copied_x == 0 or place(0) == 0;
            const is_first_y = inner & copied_y == 0 or place(1) == 0;
            const here = if (is_first_x and is_first_y) n else 0;
            squares.add(totals(result), gradient(left, n), here, inner & goes_on);
            """,
            (Module("squares", ".functions = functions", (FUNCTIONS,)),),
            (GRADIENT, _FLAGS),
        ),
    )

    total: Block
    """A block of one number."""
    gradients: Block
    """A block of one row."""
    copied: tuple[Axis, ...] = ()
    """Axes along which all PEs hold the same gradients; only the first PE counts them."""
    goes_on: bool = field(default=False, kw_only=True)
    """True if the squares are added to the number; false if it starts at 0."""

    def entry(self, program: ProgramShape) -> Entry:
        flags = _GOES_ON * self.goes_on + sum(_COPIED[axis] for axis in self.copied)
        blocks, n = (self.total, self.gradients), self.gradients.columns
        entry = block_entry(program, self.kind, *blocks, n=n, inner=flags)
        return replace(entry, rows=1)  # independent of the launch

    def execute(self, memories: Memories) -> None:
        total, values = memories.whole(self.total), memories.whole(self.gradients)
        before = total[..., 0] if self.goes_on else np.zeros_like(total[..., 0])
        found = before
        sums = arithmetic.multiply(values[..., :CHUNK], values[..., :CHUNK])
        for start in range(CHUNK, values.shape[-1], CHUNK):
            part = values[..., start : start + CHUNK]
            length = part.shape[-1]
            squares = arithmetic.multiply(part, part)
            sums[..., :length] = arithmetic.add(sums[..., :length], squares)
        for index in range(sums.shape[-1]):
            found = arithmetic.add(found, sums[..., index])
        are_first = [memories.at(axis) == 0 for axis in self.copied]
        total[..., 0] = np.where(np.all(are_first, axis=0), found, before)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        """Return the sizes that the cost depends on, for a PE that counts its gradients."""
        return with_chunks(block_sizes(program, self.gradients, launch))

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the squares, whose two sources are the same vector."""
        sizes = self.sizes(program, launch)
        return Conflicts(sizes["chunks"], "fmuls", sizes["chunk"])


@dataclass(frozen=True, slots=True)
class _Sweep(MeshOperation):
    """An element-wise operation on gradients in place, with a number that the host writes."""

    gradients: Block
    """A block of one row."""
    number: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.gradients, self.number)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.gradients, launch)


@dataclass(frozen=True, slots=True)
class ScaleGradients(_Sweep):
    """Multiply gradients by a number."""

    kinds = (
        Kind(
            105,
            "scale_gradients",
            "@fmuls(gradient(result, n), gradient(result, n), step_numbers(left)[0]);",
            (),
            (GRADIENT, STEP_NUMBERS_FROM),
        ),
    )

    def execute(self, memories: Memories) -> None:
        values = memories.whole(self.gradients)
        values[...] = arithmetic.multiply(values, memories.whole(self.number))


@dataclass(frozen=True, slots=True)
class ClampGradients(_Sweep):
    """Bound gradients below by a number and above by its negative; NaN stays NaN."""

    kinds = (
        Kind(
            106,
            "clamp_gradients",
            """
            const all = gradient(result, n);
            const least = step_numbers(left)[0];
            @fmaxs(all, all, least);
            @fnegs(all, all);
            @fmaxs(all, all, least);
            @fnegs(all, all);
            """,
            (),
            (GRADIENT, STEP_NUMBERS_FROM),
        ),
    )

    def execute(self, memories: Memories) -> None:
        values, least = memories.whole(self.gradients), memories.whole(self.number)
        for _ in range(2):
            values[...] = -arithmetic.maximum(values, least)
