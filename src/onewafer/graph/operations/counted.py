"""Operations that have a cost, and no values: a graph that is only counted may have them."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph.operations.names import AnyName, ParameterName, ValueName
from onewafer.graph.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Experts(Operation):
    """Send every row through some of many small networks (experts), and add up their results.

    Counted, not computed: the mesh program has no form of it. The data of a row choose its
    networks; counts assume that all are chosen equally often and independently.
    """

    input: ValueName
    """Shape (rows, features)."""
    choice: ValueName
    """The input of the choice: shape (rows, something)."""
    weights: tuple[ParameterName, ...]
    """Parameters whose first dimension is the experts: matrices, and vectors of biases."""
    num_experts: int
    experts_per_row: int
    hidden_features: int
    """Between the matrices of an expert."""


@dataclass(frozen=True, slots=True)
class Opaque(Operation):
    """Something that PyTorch computes and that has no other form here: counted, not computed."""

    function: str
    """PyTorch's name: `aten.topk.default`."""
    inputs: tuple[AnyName, ...]
    """Inputs and results of operations that it reads."""
    parameters: tuple[ParameterName, ...]
    flop_per_element: float
    """Floating point operations for each element of the result."""
    keeps_rows: bool
    """Whether the result has the rows of the first input, however many those are."""
    is_view: bool = False
    """Whether nothing moves: the same elements are seen in another way."""
