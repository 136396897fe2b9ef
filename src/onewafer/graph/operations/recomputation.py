"""Copies that keep rows for the recomputation of layers in a backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ValueName
from onewafer.graph.operations.operation import Operation

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward

__all__ = ["Keep", "Recall"]


@dataclass(frozen=True, slots=True)
class _Copy(Operation):
    """A copy of a tensor."""

    places = Place.WITH_OPERAND | Place.IN_HEAD
    element_flop = 0

    input: ValueName

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input]

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.pass_on(self.input, gradient)


@dataclass(frozen=True, slots=True)
class Keep(_Copy):
    """A copy that is kept until it is recalled."""


@dataclass(frozen=True, slots=True)
class Recall(_Copy):
    """A copy of kept rows, the result of a `Keep`."""
