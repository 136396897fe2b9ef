"""Dropout whose elements are chosen where they are computed."""

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
    """Replace the elements for which less than a threshold is drawn by 0, and scale the others.

    The mean over all draws is the input. In an evaluation, the result is the input.
    """

    places = Place.JOINING | Place.IN_HEAD

    input: ValueName
    number: int
    """Tells dropouts of a launch apart."""
    threshold: int
    """From 0, where all are kept, to 2¹⁵."""

    @property
    def draw(self) -> Draw:
        return Draw(self.number, self.threshold, self.result.shape[-1])

    def unnumbered(self) -> Dropout:
        """Return the same with the number 0."""
        return replace(self, number=0)

    def wrong_number(self) -> str | None:
        return self.draw.wrong_number()

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] * launch.factors(self.draw)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add the gradient of the elements that are kept, scaled as they are."""
        backward.give(self.input, Dropout, gradient, self.number, self.threshold)
