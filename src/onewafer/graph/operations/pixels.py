"""Factors and shifts of pixels, the same for all samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.operations.elementwise import Multiply
from onewafer.graph.operations.names import PARAMETERS, ParameterName, ValueName, fields_with
from onewafer.graph.operations.samples import OfRows

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors

__all__ = ["ScalePixels", "ShiftPixels", "SumSamples"]


class _OfPixels(OfRows):
    """An operation on samples with a parameter that has a row for each pixel."""

    __slots__ = ()

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = OfRows.wrong_operand(self, tensors)
        if wrong is not None:
            return wrong
        expected = (self.rows, tensors[self.input].shape[1])
        for field in fields_with(type(self), PARAMETERS):
            found = tensors[getattr(self, field)].shape
            if found != expected:
                return f"the {field} have shape {found}, must be {expected}"
        return None

    def _cut(self, launch: Launch) -> Array:
        """Return the input as `[samples, rows, features]`."""
        source = launch[self.input]
        return source.reshape(-1, self.rows, source.shape[-1])


@dataclass(frozen=True, slots=True)
class ScalePixels(_OfPixels):
    """Multiply every sample by factors: `result[s, p, f] = input[s, p, f] · factors[p, f]`.

    For pixel p and feature f of sample s; two-dimensional.
    """

    input: ValueName
    factors: ParameterName
    """A parameter of shape (rows, features)."""
    rows: int
    """Rows of a sample: the pixels of its map."""

    def evaluate(self, launch: Launch) -> Array:
        return (self._cut(launch) * launch[self.factors]).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ScalePixels, gradient, self.factors, self.rows)
        if backward.needs(self.factors):
            name, shape = f"{self.factors}.products", backward.shape(self.input)
            products = backward.compute(name, shape, Multiply, gradient, self.input)
            backward.give(self.factors, SumSamples, products, self.rows)


@dataclass(frozen=True, slots=True)
class ShiftPixels(_OfPixels):
    """Add shifts to every sample: `result[s, p, f] = input[s, p, f] + shifts[p, f]`.

    For pixel p and feature f of sample s; two-dimensional.
    """

    input: ValueName
    shifts: ParameterName
    """A parameter of shape (rows, features)."""
    rows: int
    """Rows of a sample: the pixels of its map."""

    def evaluate(self, launch: Launch) -> Array:
        return (self._cut(launch) + launch[self.shifts]).reshape(launch[self.input].shape)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.pass_on(self.input, gradient)
        backward.give(self.shifts, SumSamples, gradient, self.rows)


@dataclass(frozen=True, slots=True)
class SumSamples(_OfPixels):
    """Sum all samples: `result[p, f] = Σₛ input[s, p, f]`; two-dimensional, one sample."""

    input: ValueName
    rows: int
    """Rows of each sample, and of the result."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the shape of one sample."""
        return (self.rows, tensors[self.input].shape[-1])

    def count_flop(self, tensors: Tensors) -> int:
        return tensors[self.input].num_elements

    def evaluate(self, launch: Launch) -> Array:
        return self._cut(launch).sum(axis=0)
