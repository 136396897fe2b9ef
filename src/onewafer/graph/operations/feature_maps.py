"""Convolutions, pools and scaling of feature maps."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.elementwise import Multiply, Scale
from onewafer.graph.operations.feature_map_gradients import (
    ConvolutionInputGradient,
    ConvolutionWeightGradient,
    DepthwiseInputGradient,
    DepthwiseWeightGradient,
    MaxPoolGradient,
    RepeatRows,
)
from onewafer.graph.operations.layer_part import LayerPart, Place
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.samples import OfRows, OnSamples, not_of_samples
from onewafer.graph.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Backward, Tensors
    from onewafer.graph.tensor import Tensor

__all__ = [
    "Convolution",
    "DepthwiseConvolution",
    "GlobalAveragePool",
    "MaxPool",
    "ScaleFeatureMaps",
]

_STACK = 3
"""The number of dimensions of a stack of matrices."""


class Windowed(OnSamples):
    """An operation whose result has a pixel for each place of a window."""

    __slots__ = ()

    input: ValueName
    window: Window

    @property
    def sample_rows(self) -> int:
        """Pixels of the input feature map."""
        return self.window.num_pixels

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the pixels of the result with the features of the input."""
        return (self._result_pixels(tensors), tensors[self.input].shape[1])

    def wrong_operand(self, tensors: Tensors) -> str | None:
        window = self.window
        if min(window.top, window.left, window.bottom, window.right) < 0:
            return "a margin of its window is negative"
        what = f"its feature map has {window.height}×{window.width} pixels"
        sizes = [window.height, window.width, window.kernel_height, window.kernel_width]
        sizes += [window.stride_y, window.stride_x, window.dilation_y, window.dilation_x]
        wrong = _wrong_samples(what, sizes, tensors[self.input], window.num_pixels)
        if wrong is not None:
            return wrong
        if min(window.result_height, window.result_width) < 1:
            map_ = f"its feature map of {window.height}×{window.width} pixels"
            return f"{self._kernel} does not fit {map_}"
        return self._wrong_taps(tensors)

    @abstractmethod
    def _wrong_taps(self, tensors: Tensors) -> str | None:
        """Return an error about the weights or the places of the taps, or None."""

    @property
    def _kernel(self) -> str:
        return f"a kernel of {self.window.kernel_height}×{self.window.kernel_width} taps"

    def _result_pixels(self, tensors: Tensors) -> int:
        return self.count_samples(tensors) * self.window.num_result_pixels

    def _taps(self, launch: Launch, missing: float) -> Array:
        """Return the rows at the taps of every place: `[samples, places, taps, features]`."""
        return self.window.take(launch[self.input], missing)


def _wrong_samples(what: str, sizes: Iterable[int], source: Tensor, rows: int) -> str | None:
    """Return an error about rows that are not whole samples, or None."""
    if min(sizes) < 1:
        return f"{what}; sizes, strides and dilations must be at least 1"
    return not_of_samples(what, rows, source)


@dataclass(frozen=True, slots=True)
class Convolution(Windowed):
    """Convolve feature maps; two-dimensional, on maps.

    `result[p, o] = Σₜ Σᵢ input[tap t of p, i] · weight[t, o, i]`, over the taps inside the map.
    """

    part = LayerPart.CONVOLUTION
    is_product = True

    input: ValueName
    weight: ParameterName
    """A parameter of shape (taps, out features, in features)."""
    window: Window

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the pixels of the result with the out features of the weight."""
        return (self._result_pixels(tensors), tensors[self.weight].shape[1])

    def _wrong_taps(self, tensors: Tensors) -> str | None:
        weight, features = tensors[self.weight].shape, tensors[self.input].shape[1]
        taps = self.window.num_taps
        if len(weight) == _STACK and (weight[0], weight[2]) == (taps, features):
            return None
        return f"the weight has shape {weight}, must be ({taps}, out features, {features})"

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * self.window.num_taps * tensors[self.input].shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        result = np.einsum("spti,toi->spo", self._taps(launch, missing=0), launch[self.weight])
        return result.reshape(-1, result.shape[-1])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ConvolutionInputGradient, gradient, self.weight, self.window)
        backward.give(self.weight, ConvolutionWeightGradient, gradient, self.input, self.window)


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution(Windowed):
    """Convolve each feature with its own weights; two-dimensional, on maps.

    `result[p, f] = Σₜ input[tap t of p, f] · weight[t, f]`, over the taps inside the map.
    """

    part = LayerPart.CONVOLUTION
    is_product = True

    input: ValueName
    weight: ParameterName
    """A parameter of shape (taps, features)."""
    window: Window

    def _wrong_taps(self, tensors: Tensors) -> str | None:
        weight = tensors[self.weight].shape
        expected = (self.window.num_taps, tensors[self.input].shape[1])
        return None if weight == expected else f"the weight has shape {weight}, must be {expected}"

    def count_flop(self, tensors: Tensors) -> int:
        del tensors
        return 2 * self.result.num_elements * self.window.num_taps

    def evaluate(self, launch: Launch) -> Array:
        taps = self._taps(launch, missing=0)
        return (taps * launch[self.weight]).sum(axis=2).reshape(-1, taps.shape[-1])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        numbers = (self.window,)
        backward.give(self.input, DepthwiseInputGradient, gradient, self.weight, *numbers)
        backward.give(self.weight, DepthwiseWeightGradient, gradient, self.input, *numbers)


@dataclass(frozen=True, slots=True)
class MaxPool(Windowed):
    """Take the maximum of each feature over the taps of a window; two-dimensional, on maps."""

    part = LayerPart.CONVOLUTION

    input: ValueName
    window: Window
    """A window for which every pixel of the result has a tap inside the map."""

    def _wrong_taps(self, tensors: Tensors) -> str | None:
        del tensors
        if (self.window.sources() < 0).all(axis=1).any():
            return f"{self._kernel} lies outside the map for some pixels of the result"
        return None

    def count_flop(self, tensors: Tensors) -> int:
        del tensors
        return self.result.num_elements * self.window.num_taps

    def evaluate(self, launch: Launch) -> Array:
        taps = self._taps(launch, missing=-np.inf)
        return taps.max(axis=2).reshape(-1, taps.shape[-1])

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        operands = gradient, self.input, self.result.name
        backward.give(self.input, MaxPoolGradient, *operands, self.window)


@dataclass(frozen=True, slots=True)
class GlobalAveragePool(OfRows):
    """Take the mean of all rows of each sample; two-dimensional, one row for each sample."""

    places = Place.FIRST_IN_HEAD

    input: ValueName
    rows: int
    """Rows of a sample: the pixels of its map."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return a row for each sample."""
        return (self.count_samples(tensors), tensors[self.input].shape[1])

    def count_flop(self, tensors: Tensors) -> int:
        del tensors
        return self.result.num_elements * (self.rows + 1)

    def evaluate(self, launch: Launch) -> Array:
        rows = launch[self.input]
        return rows.reshape(-1, self.rows, rows.shape[-1]).mean(axis=1)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        if backward.needs(self.input):
            shape = backward.shape(self.result.name)
            share = backward.compute(f"{gradient}.share", shape, Scale, gradient, 1 / self.rows)
            backward.give(self.input, RepeatRows, share, self.rows)


@dataclass(frozen=True, slots=True)
class ScaleFeatureMaps(OfRows):
    """Multiply all rows of each sample by a row of factors; two-dimensional, on maps."""

    input: ValueName
    factors: ValueName
    """An input or a result of shape (samples, features)."""
    rows: int
    """Rows of a sample: the pixels of its map."""

    def wrong_operand(self, tensors: Tensors) -> str | None:
        wrong = OfRows.wrong_operand(self, tensors)
        if wrong is not None:
            return wrong
        expected = (self.count_samples(tensors), tensors[self.input].shape[1])
        found = tensors[self.factors].shape
        return None if found == expected else f"the factors are {found}, must be {expected}"

    def evaluate(self, launch: Launch) -> Array:
        return launch[self.input] * np.repeat(launch[self.factors], self.rows, axis=0)

    def add_gradients(self, gradient: str, backward: Backward) -> None:
        backward.give(self.input, ScaleFeatureMaps, gradient, self.factors, self.rows)
        if not backward.needs(self.factors):
            return
        shape, few = backward.shape(self.input), backward.shape(self.factors)
        products = backward.compute(
            f"{self.factors}.products", shape, Multiply, gradient, self.input
        )
        mean = backward.compute(f"{self.factors}.mean", few, GlobalAveragePool, products, self.rows)
        backward.give(self.factors, Scale, mean, float(self.rows))
