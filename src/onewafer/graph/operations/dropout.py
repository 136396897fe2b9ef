"""Dropout with elements drawn from the seeds of a launch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onewafer.graph.draws import Draw
from onewafer.graph.operations.elementwise import OfElement
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ValueName

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward

__all__ = ["Dropout"]


@dataclass(frozen=True, slots=True)
class Dropout(OfElement):
    """Set elements whose random bits are below a threshold to 0, and scale the others.

    The expected result is the input. In an evaluation, the result is the input.
    """

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    number: int
    """The number of the dropout among those of a launch."""
    threshold: int
    """From 0 (all elements are kept) to 2¹⁵."""

    @property
    def draw(self) -> Draw:
        return Draw(self.number, self.threshold, self.result.shape[-1])

    def unnumbered(self) -> Dropout:
        """Return the operation with the number 0."""
        return replace(self, number=0)

    def wrong_number(self) -> str | None:
        return self.draw.wrong_number()

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] * launch.factors(self.draw)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, Dropout, gradient, self.number, self.threshold)
