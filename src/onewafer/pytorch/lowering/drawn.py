"""Inputs of a graph that are random numbers, which the host draws anew in every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from onewafer.pytorch.lowering.layout import Layout

DRAWN = "drawing what dropout keeps"
"""What the host does for a graph with dropout."""


@dataclass(frozen=True, slots=True)
class DropoutFactors:
    """The factors of the elements of one dropout: 0, or one over the share that is kept."""

    name: str
    """The input of the graph."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """As PyTorch's tensor lies: they decide which number is which element's."""
    kept: float
    """The share of elements."""
    matrix: tuple[int, int]
    """Rows and features of the input."""
    layout: Layout
    """How the tensor lies in the input."""

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """Draw the input of a call."""
        factors = torch.empty_strided(self.shape, self.strides)
        if self.kept:
            factors.bernoulli_(self.kept, generator=generator).div_(self.kept)
        else:  # PyTorch draws no number
            factors.zero_()
        places = self.layout.take(np.arange(factors.numel()).reshape(self.matrix))
        found = torch.empty(self.matrix)
        found.view(-1)[torch.from_numpy(places.reshape(-1))] = factors.reshape(-1)  # pyright: ignore[reportUnknownMemberType]  # partly typed
        return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a call has drawn."""

    inputs: dict[str, torch.Tensor]
    """Input of the graph → factors."""
    before: torch.Tensor
    """The state of PyTorch's generator before the call."""
    after: torch.Tensor
    """Its state afterwards."""

    @classmethod
    def of(cls, factors: tuple[DropoutFactors, ...]) -> Drawn:
        """Draw factors in their order; PyTorch's own generator stays as it is."""
        before = torch.default_generator.get_state()
        generator = torch.Generator()
        generator.set_state(before)
        inputs = {one.name: one.draw(generator) for one in factors}
        return cls(inputs, before, generator.get_state())
