"""Optimizer steps: sweeps over parameters, gradients and moments, which have equal layouts.

The numbers of a step, such as learning rates, are in the memory of every PE, so that they change
without a new program. All operations are in f32, each rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from onewafer.mesh import arithmetic, functions
from onewafer.mesh.blocks import Arena, Block
from onewafer.mesh.functions import FUNCTIONS
from onewafer.mesh.gradients.operations import GRADIENT
from onewafer.mesh.kinds import Kind, Module
from onewafer.mesh.operation import Conflicts, MeshOperation
from onewafer.mesh.sizes import block_entry, block_sizes, with_chunks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from onewafer.mesh.blocks import Launch
    from onewafer.mesh.entry import Entry
    from onewafer.mesh.memories import Memories
    from onewafer.mesh.program_shape import ProgramShape

    Floats = NDArray[np.float32]

MOMENTS = Arena("first_moments", "f32")
"""Running means of gradients, at the offsets of their parameters in `Arena.PARAMETERS`."""
SQUARES = Arena("second_moments", "f32")
"""Running means of squared gradients, at the offsets of their parameters."""
NUMBERS = Arena("step_numbers", "f32")
"""The numbers of a step, which the host writes to all PEs."""
MOST_NUMBERS = 16
"""Numbers reserved for each step; an optimizer may use fewer."""

_MOMENT = """
// Elements of the running means of gradients, which lie as the parameters do.
inline fn moment(offset: u16, n: u16) mem1d_dsd {
  const all = @get_dsd(mem1d_dsd, .{ .base_address = &model.first_moments, .extent = 1 });
  return @increment_dsd_offset(@set_dsd_length(all, n), @as(i16, round_offset + offset), f32);
}
"""
_SQUARE = """
// Elements of the running means of squares of gradients, which lie as the parameters do.
inline fn square(offset: u16, n: u16) mem1d_dsd {
  const all = @get_dsd(mem1d_dsd, .{ .base_address = &model.second_moments, .extent = 1 });
  return @increment_dsd_offset(@set_dsd_length(all, n), @as(i16, round_offset + offset), f32);
}
"""
STEP_NUMBERS_FROM = """
// The numbers of a step, from an offset on.
inline fn step_numbers(offset: u16) [*]f32 {
  return @ptrcast([*]f32, &model.step_numbers[offset]);
}
"""
"""A function of `pe.csl` that points to the numbers of a step."""
_SGD = Module("sgd", ".functions = functions", (FUNCTIONS,))


@dataclass(frozen=True, slots=True)
class ClearGradients(MeshOperation):
    """Set gradients of parameters to +0."""

    kinds = (
        Kind(
            100,
            "clear_gradients",
            "clear_gradients.run(gradient(result, n));",
            (Module("clear_gradients"),),
            (GRADIENT,),
        ),
    )

    gradients: Block

    def entry(self, program: ProgramShape) -> Entry:
        return block_entry(program, self.kind, self.gradients)

    def execute(self, memories: Memories) -> None:
        memories.whole(self.gradients)[...] = 0

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return block_sizes(program, self.gradients, launch)


@dataclass(frozen=True, slots=True)
class StepOperation(MeshOperation):
    """An optimizer's step on a row of adjacent parameters."""

    arenas: ClassVar[tuple[Arena, ...]] = ()
    """The arenas of the optimizer's state."""

    parameters: Block
    """A block of one row."""
    numbers: Block
    """A row of `MOST_NUMBERS`."""

    def entry(self, program: ProgramShape) -> Entry:
        """Return the schedule entry; gradients and moments have the parameters' offsets."""
        return block_entry(program, self.kind, self.parameters, self.numbers)

    def sizes(self, program: ProgramShape, launch: Launch) -> Mapping[str, int]:
        return with_chunks(block_sizes(program, self.parameters, launch))

    def _in(self, memories: Memories, arena: Arena) -> Floats:
        """Return the values in another arena that belong to the parameters."""
        place = self.parameters
        return memories.whole(Block(arena, place.offset, place.rows, place.columns))

    def _numbers(self, memories: Memories, count: int) -> list[Floats]:
        """Return the first `count` numbers of the step, each with one value for each PE."""
        values = memories.whole(self.numbers)
        return [values[..., index, np.newaxis] for index in range(count)]


@dataclass(frozen=True, slots=True)
class SgdStep(StepOperation):
    """A step of stochastic gradient descent without momentum."""

    kinds = (
        Kind(
            101,
            "sgd_step",
            """
            const weights = parameter(result, n);
            sgd.step(false, weights, gradient(result, n), weights, step_numbers(left), n);
            """,
            (_SGD,),
            (GRADIENT, STEP_NUMBERS_FROM),
        ),
    )

    def execute(self, memories: Memories) -> None:
        weights = memories.whole(self.parameters)
        sign, decay, rate = self._numbers(memories, 3)
        gradients = self._in(memories, Arena.GRADIENTS)
        weights[...] = _descend(weights, _direction(weights, gradients, sign, decay), rate)


@dataclass(frozen=True, slots=True)
class MomentumStep(StepOperation):
    """A step of stochastic gradient descent with momentum."""

    kinds = (
        Kind(
            102,
            "momentum_step",
            """
            sgd.step(true, parameter(result, n), gradient(result, n), moment(result, n),
                     step_numbers(left), n);
            """,
            (_SGD,),
            (GRADIENT, _MOMENT, STEP_NUMBERS_FROM),
        ),
    )
    arenas = (MOMENTS,)

    def execute(self, memories: Memories) -> None:
        weights, moments = memories.whole(self.parameters), self._in(memories, MOMENTS)
        sign, decay, rate, momentum, share, direct, moved = self._numbers(memories, 7)
        multiply, add = arithmetic.multiply, arithmetic.add
        d = _direction(weights, self._in(memories, Arena.GRADIENTS), sign, decay)
        moments[...] = add(multiply(moments, momentum), multiply(d, share))
        d = add(multiply(d, direct), multiply(moments, moved))
        weights[...] = _descend(weights, d, rate)


@dataclass(frozen=True, slots=True)
class AdamStep(StepOperation):
    """A step of Adam or AdamW."""

    kinds = (
        Kind(
            103,
            "adam_step",
            """
            adam.step(parameter(result, n), gradient(result, n), moment(result, n),
                      square(result, n), step_numbers(left), n);
            """,
            (Module("adam", ".functions = functions", (FUNCTIONS,)),),
            (GRADIENT, _MOMENT, _SQUARE, STEP_NUMBERS_FROM),
        ),
    )
    arenas = (MOMENTS, SQUARES)

    def execute(self, memories: Memories) -> None:
        weights = memories.whole(self.parameters)
        moments, squares = (self._in(memories, arena) for arena in self.arenas)
        numbers = self._numbers(memories, 9)
        sign, decay, rate, keep, first, second, rest, scale, epsilon = numbers
        multiply, add, subtract = arithmetic.multiply, arithmetic.add, arithmetic.subtract
        d = _direction(weights, self._in(memories, Arena.GRADIENTS), sign, decay)
        kept = multiply(weights, keep)
        moments[...] = add(moments, multiply(subtract(d, moments), first))
        squares[...] = add(multiply(squares, second), multiply(multiply(d, d), rest))
        divisor = add(root(multiply(squares, scale)), epsilon)
        weights[...] = _descend(kept, multiply(functions.inverse(divisor), moments), rate)

    def conflicts(self, program: ProgramShape, launch: Launch) -> Conflicts:
        """Return the squares, whose two sources are the same vector: d², and three in the root."""
        sizes = self.sizes(program, launch)
        return Conflicts(_SQUARES * sizes["chunks"], "fmuls", sizes["chunk"])


def _direction(weights: Floats, gradients: Floats, sign: Floats, decay: Floats) -> Floats:
    """Return sign · gradient + decay · weight."""
    return arithmetic.add(arithmetic.multiply(gradients, sign), arithmetic.multiply(weights, decay))


def _descend(weights: Floats, direction: Floats, rate: Floats) -> Floats:
    """Return weight + rate · direction."""
    return arithmetic.add(weights, arithmetic.multiply(direction, rate))


_SQUARES = 4
"""Squares of a chunk in adam.csl."""
_LEAST, _HALF, _THREE_HALVES = (np.full((), value, np.float32) for value in (1e-30, 0.5, 1.5))


def root(x: Floats) -> Floats:
    """Return √x as adam.csl does."""
    multiply = arithmetic.multiply
    bounded = arithmetic.maximum(x, _LEAST)
    upper = np.uint32(0x5F37) - (bounded.view(np.uint32) >> np.uint32(17))
    y = (upper << np.uint32(16)).view(np.float32)
    half = multiply(bounded, _HALF)
    for _ in range(3):
        lack = arithmetic.subtract(_THREE_HALVES, multiply(multiply(y, y), half))
        y = multiply(y, lack)
    return multiply(arithmetic.add(half, half), y)
