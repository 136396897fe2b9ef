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


class _Copy(Operation):
    """A copy of a tensor."""

    __slots__ = ()

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

    input: ValueName


@dataclass(frozen=True, slots=True)
class Recall(_Copy):
    """A copy of kept rows."""

    input: ValueName
    """The result of a `Keep`."""
