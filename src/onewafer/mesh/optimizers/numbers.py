"""The numbers of an optimizer's step, computed from the options of PyTorch's optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onewafer.mesh.optimizers.operations import (
    MOST_NUMBERS,
    AdamStep,
    MomentumStep,
    SgdStep,
    StepOperation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Optimizer(ABC):
    """The options of a group of parameters, which may change from step to step."""

    __slots__ = ()

    @property
    @abstractmethod
    def step(self) -> type[StepOperation]:
        """The class of the step, which is part of the program."""

    @abstractmethod
    def numbers(self, index: int) -> NDArray[Any]:
        """Return the numbers of step `index`, counted from 1, in f32, `[1, MOST_NUMBERS]`."""


def _in_f32(values: Sequence[float]) -> NDArray[Any]:
    numbers = np.zeros((1, MOST_NUMBERS), np.float32)
    numbers[0, : len(values)] = values
    return numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd(Optimizer):
    """The options of `torch.optim.SGD`, by their names."""

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    maximize: bool = False

    @property
    def step(self) -> type[StepOperation]:
        """The class of the step; with momentum it keeps a moment of each parameter."""
        return MomentumStep if self.momentum else SgdStep

    def numbers(self, index: int) -> NDArray[Any]:
        """Return the numbers of a step in the order of sgd.csl."""
        sign = -1.0 if self.maximize else 1.0
        share = 1.0 if index == 1 else 1 - self.dampening
        direct, moved = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
        return _in_f32([sign, self.weight_decay, -self.lr, self.momentum, share, direct, moved])


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam(Optimizer):
    """The options of `torch.optim.Adam`, by their names."""

    is_decoupled: ClassVar[bool] = False
    """True if weights decay directly; false if the decay is part of the gradient."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    maximize: bool = False

    @property
    def step(self) -> type[StepOperation]:
        return AdamStep

    def numbers(self, index: int) -> NDArray[Any]:
        """Return the numbers of a step in the order of adam.csl."""
        first, second = self.betas
        decay, keep = self.weight_decay, 1.0
        if self.is_decoupled:
            decay, keep = 0.0, 1 - self.lr * self.weight_decay
        rate = -self.lr / (1 - first**index)
        scale = 1 / (1 - second**index)
        sign = -1.0 if self.maximize else 1.0
        return _in_f32([sign, decay, rate, keep, 1 - first, second, 1 - second, scale, self.eps])


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW(Adam):
    """The options of `torch.optim.AdamW`, by their names."""

    is_decoupled = True

    weight_decay: float = 1e-2
