"""Operations with a cost and no values, for graphs that are only counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.errors import HostError
from onewafer.graph.operations.checks import MATRIX
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import AnyName, ParameterName, ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors

__all__ = ["Experts", "Opaque"]

_GATE_FLOP = 2
"""FLOP of a hidden feature of a gated expert: the activation, and the product with the gate."""


class _Counted(Operation):
    """An operation with a cost and no values."""

    __slots__ = ()

    def evaluate(self, launch: Launch) -> Array:
        """Refuse: there are no values."""
        del launch
        kind = type(self).__name__
        raise HostError(f"{kind} {self.result.name!r} is counted, it has no values")


@dataclass(frozen=True, slots=True)
class Experts(_Counted):
    """Mixture of experts: route every row to some of many small networks, and sum their results.

    Counted, not computed: the mesh program has no form of it. The values of a row choose its
    experts; counts assume equally likely and independent choices.
    """

    places = Place.IN_MLP

    input: ValueName
    """Shape (rows, features)."""
    choice: ValueName
    """The input of the router, shape (rows, something)."""
    weights: tuple[ParameterName, ...]
    """Parameters whose first dimension is the experts: matrices and bias vectors."""
    num_experts: int
    experts_per_row: int
    hidden_features: int
    """Features between the matrices of an expert."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        if not 1 <= self.experts_per_row <= self.num_experts:
            return f"a row meets {self.experts_per_row} of {self.num_experts} experts"
        for name in self.weights:
            shape = tensors[name].shape
            if shape[0] != self.num_experts:
                return f"{name!r} has shape {shape}, must be ({self.num_experts} experts, …)"
        rows, found = tensors[self.input].shape[0], tensors[self.choice].shape[0]
        return None if rows == found else f"it chooses for {found} rows and has {rows}"

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of all rows, each with its experts."""
        shapes = [tensors[name].shape for name in self.weights]
        products = sum(2 * math.prod(shape[1:]) for shape in shapes if len(shape) > MATRIX)
        biases = sum(math.prod(shape[1:]) for shape in shapes if len(shape) <= MATRIX)
        gate = _GATE_FLOP * self.hidden_features
        joined = 2 * self.result.shape[-1]
        return self.result.shape[0] * self.experts_per_row * (products + biases + gate + joined)

    def count_read_weights(self, tensors: Tensors, sequences: int = 1) -> int:
        """Return the elements of the experts to which at least one row is expected to be routed."""
        elements = Operation.count_read_weights(self, tensors)
        return round(elements * self._share_met(self.result.shape[0] * sequences))

    def _share_met(self, rows: int) -> float:
        """Return the expected share, 0 to 1, of the experts to which some row is routed.

        A row misses an expert with probability 1 − k/E, all rows with (1 − k/E)^rows.
        """
        missed = 1 - self.experts_per_row / self.num_experts
        return 1 - missed**rows


@dataclass(frozen=True, slots=True)
class Opaque(_Counted):
    """An operation of PyTorch without a counterpart here: counted, not computed."""

    places = Place.BEFORE_ATTENTION | Place.WITH_OPERAND

    function: str
    """PyTorch's name, such as `aten.topk.default`."""
    inputs: tuple[AnyName, ...]
    """The inputs and results that it reads."""
    parameters: tuple[ParameterName, ...]
    flop_per_element: float
    """Floating point operations for each element of the result."""
    keeps_rows: bool
    """True if the result always has as many rows as the first input."""
    is_view: bool = False
    """True if the result is a view and no element moves."""
    refusal: str = field(default="", compare=False)
    """The line of the model's code, and the reason why it does not run on the wafer."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return PyTorch's shape, with the rows of the first input if it keeps them."""
        if not self.keeps_rows:
            return self.result.shape
        return (tensors[self.inputs[0]].shape[0], *self.result.shape[1:])

    def wrong_number(self) -> str | None:
        if not 0 <= self.flop_per_element < math.inf:
            return f"it has {self.flop_per_element} FLOP an element"
        return None

    def wrong_operand(self, tensors: Tensors) -> str | None:
        del tensors
        if self.keeps_rows and not self.inputs:
            return "it keeps the rows of its first input, and has no input"
        return None

    @property
    def moves_data(self) -> bool:
        return not self.is_view

    def count_flop(self, tensors: Tensors) -> int:
        """Return the floating point operations of all elements."""
        del tensors
        return round(self.flop_per_element * self.result.num_elements)
