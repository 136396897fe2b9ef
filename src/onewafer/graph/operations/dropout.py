"""Dropout whose elements are chosen where they are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.draws import DRAWN_BITS, SEEDS, are_drawn, draw_bits
from onewafer.graph.operations.elementwise import OfElement
from onewafer.graph.operations.layer_part import Place
from onewafer.graph.operations.names import ValueName

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward

__all__ = ["Dropout"]

_ALL = 1 << DRAWN_BITS
_MOST_NUMBERS = 1 << 16


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

    @staticmethod
    def threshold_of(share: float) -> int:
        """Return the threshold at which about that share is dropped."""
        return round(share * _ALL)

    @property
    def factor(self) -> float:
        """What elements that are kept are multiplied by: the inverse of their share, in f32."""
        kept = _ALL - self.threshold
        return float(np.float32(_ALL / kept)) if kept else 0.0

    def wrong_number(self) -> str | None:
        """Return what is wrong with its numbers; None if nothing is."""
        if not 0 <= self.threshold <= _ALL:
            return f"its threshold is {self.threshold}, must be 0 to {_ALL}"
        if not 0 <= self.number < _MOST_NUMBERS:
            return f"its number is {self.number}, must be 0 to {_MOST_NUMBERS - 1}"
        return None

    def evaluate(self, launch: Launch) -> Array:
        """Return its result in a launch."""
        values = launch[self.input]
        return values * self.factors(launch, *values.shape)

    def factors(self, launch: Launch, num_rows: int, num_features: int) -> Array:
        """Return what the elements of a launch are multiplied by."""
        if SEEDS not in launch.values:
            raise HostError(f"the input {SEEDS!r} is missing")
        seeds = launch[SEEDS]
        if not are_drawn(seeds):
            return np.ones((num_rows, num_features))
        rows, features = np.arange(num_rows)[:, np.newaxis], np.arange(num_features)
        is_kept = draw_bits(seeds, self.number, rows, features) >= self.threshold
        return np.where(is_kept, self.factor, 0.0)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        """Add the gradient of the elements that are kept, scaled as they are."""
        backward.give(self.input, Dropout, gradient, self.number, self.threshold)
