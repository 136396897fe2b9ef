"""Inputs of a graph that are random numbers, which the host draws anew in every call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from onewafer.graph import Draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.pytorch.lowering.layout import Layout

_HALF = 1 << 31
DRAWN = "drawing what dropout keeps"
"""The work of the host for a graph with dropout."""


@dataclass(frozen=True, slots=True)
class RandomInput(ABC):
    """An input of a graph whose elements are drawn."""

    is_factor: ClassVar[bool]
    """True if its elements only scale those of another tensor; they are 1 in evaluation mode."""

    work: ClassVar[str]
    """The work of the host for a graph with such an input."""

    name: str
    """The input of the graph."""
    strides: tuple[int, ...]
    """Strides of PyTorch's tensor: numbers are drawn in the order of its memory."""
    matrix: tuple[int, int]
    """Rows and features of the input."""
    layout: Layout
    """Element of the tensor → element of the matrix."""

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """Draw the elements for one call."""
        numbers = torch.empty_strided(self.layout.shape, self.strides)
        self._fill(numbers, generator)
        places = self.layout.take(np.arange(numbers.numel()).reshape(self.matrix))
        found = torch.empty(self.matrix)
        found.view(-1)[torch.from_numpy(places.reshape(-1))] = numbers.reshape(-1)  # pyright: ignore[reportUnknownMemberType]  # partly typed
        return found

    @property
    def is_on_wafer(self) -> bool:
        """True if the wafer draws it, from seeds."""
        return False

    @abstractmethod
    def _fill(self, numbers: torch.Tensor, generator: torch.Generator) -> None:
        """Draw all elements of a tensor, as PyTorch does."""


@dataclass(frozen=True, slots=True)
class DropoutFactors(RandomInput):
    """The factors of the elements of one dropout: 0, or one over the share that is kept."""

    is_factor = True
    work = DRAWN

    kept: float
    """The probability that an element is kept."""
    number: int | None = None
    """The index of the dropout if the wafer draws its factors; None: the host does."""

    @property
    def is_on_wafer(self) -> bool:
        """True if the wafer draws it, from seeds."""
        return self.number is not None

    @property
    def threshold(self) -> int:
        """The threshold of the graph's `Draw`."""
        return Draw.threshold_of(1 - self.kept)

    def _fill(self, numbers: torch.Tensor, generator: torch.Generator) -> None:
        if self.kept:
            numbers.bernoulli_(self.kept, generator=generator).div_(self.kept)
        else:  # PyTorch draws no number
            numbers.zero_()


@dataclass(frozen=True, slots=True)
class NormalNumbers(RandomInput):
    """Numbers of the normal distribution with mean 0 and variance 1."""

    is_factor = False
    work = "drawing random numbers"

    def _fill(self, numbers: torch.Tensor, generator: torch.Generator) -> None:
        numbers.normal_(generator=generator)


@dataclass(frozen=True, slots=True)
class Drawn:
    """The random inputs of one call."""

    inputs: dict[str, torch.Tensor]
    """Input of the graph → its elements."""
    before: torch.Tensor
    """The state of PyTorch's generator before the call."""
    after: torch.Tensor
    """Its state afterwards."""
    seeds: tuple[int, int] | None = None
    """Seeds of the wafer's generator; None: the wafer draws nothing."""

    @classmethod
    def of(cls, drawn: tuple[RandomInput, ...]) -> Drawn:
        """Draw inputs in their order; PyTorch's own generator stays as it is."""
        before = torch.default_generator.get_state()
        generator = torch.Generator()
        generator.set_state(before)
        inputs = {one.name: one.draw(generator) for one in drawn if not one.is_on_wafer}
        seeds = None
        if any(one.is_on_wafer for one in drawn):
            first, second = torch.randint(-_HALF, _HALF, (2,), generator=generator)
            seeds = int(first), int(second)
        return cls(inputs, before, generator.get_state(), seeds)

    def seeds_of(self, part: int) -> NDArray[np.int32]:
        """Return the seeds of one sequence of the call, or of one part of its batch, by its index.

        All launches of a sequence have the same: numbers depend on the row in the sequence.
        """
        assert self.seeds is not None, "the wafer draws"  # invariant
        first, second = self.seeds
        return np.array([[first, second ^ part, 1]], np.int32)
