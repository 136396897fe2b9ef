"""Gradients of operations on feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onewafer.graph.operations.checks import MATRIX, not_a_matrix, wrong_gradient
from onewafer.graph.operations.names import ParameterName, ValueName
from onewafer.graph.operations.samples import OnSamples
from onewafer.graph.window import Window

if TYPE_CHECKING:
    from onewafer.graph.operations.launch import Array, Launch
    from onewafer.graph.operations.operation import Tensors

__all__ = [
    "ConvolutionInputGradient",
    "ConvolutionWeightGradient",
    "DepthwiseInputGradient",
    "DepthwiseWeightGradient",
    "MaxPoolGradient",
    "RepeatRows",
]


@dataclass(frozen=True, slots=True)
class RepeatRows(OnSamples):
    """Copy the row of each sample to all its rows; two-dimensional."""

    element_flop = 0

    input: ValueName
    rows: int
    """Rows of each sample of the result."""

    @property
    def sample_rows(self) -> int:
        return 1

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return `rows` rows for each row of the input."""
        rows, features = tensors[self.input].shape
        return (rows * self.rows, features)

    def wrong_operand(self, tensors: Tensors) -> str | None:
        if self.rows < 1:
            return f"it repeats each row {self.rows} times; must be at least once"
        return not_a_matrix("input", tensors[self.input])

    def evaluate(self, launch: Launch) -> Array:
        return np.repeat(launch[self.input], self.rows, axis=0)


class _WindowedGradient(OnSamples):
    """A gradient of an operation with a window."""

    __slots__ = ()

    gradient: ValueName
    window: Window

    @property
    def sample_rows(self) -> int:
        """Places of the window: rows of each sample of the gradient."""
        return self.window.num_result_pixels

    def wrong_operand(self, tensors: Tensors) -> str | None:
        gradient, pixels = tensors[self.gradient], self.window.num_result_pixels
        if len(gradient.shape) == MATRIX and gradient.shape[0] % pixels:
            return f"its maps have {pixels} pixels, which must divide {gradient.shape[0]} rows"
        return not_a_matrix("gradient", gradient) or self._wrong_other(tensors)

    def _wrong_other(self, tensors: Tensors) -> str | None:
        """Return an error about the shape of the other operand, or None."""
        del tensors
        return None

    def _pixels(self, tensors: Tensors) -> int:
        """Return the number of rows of the feature maps."""
        return self.count_samples(tensors) * self.window.num_pixels

    def _places(self, launch: Launch) -> Array:
        """Return the gradient as `[samples, places, features]`."""
        gradient = launch[self.gradient]
        return gradient.reshape(-1, self.window.num_result_pixels, gradient.shape[-1])


class _InputGradient(_WindowedGradient):
    """Gradients of the pixels of the input, computed with weights."""

    __slots__ = ()

    is_product = True

    weight: ParameterName

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        """Return the pixels of the maps with the in features of the weight."""
        return (self._pixels(tensors), tensors[self.weight].shape[-1])

    def _wrong_other(self, tensors: Tensors) -> str | None:
        weight, features = tensors[self.weight].shape, tensors[self.gradient].shape[1]
        if weight[:2] == (self.window.num_taps, features):
            return None
        return f"the weight has shape {weight}, must be ({self.window.num_taps}, {features}, …)"


class _WeightGradient(_WindowedGradient):
    """Gradients of the weights of all taps."""

    __slots__ = ()

    is_product = True

    input: ValueName

    def _wrong_other(self, tensors: Tensors) -> str | None:
        source, rows = tensors[self.input], self._pixels(tensors)
        if source.shape[0] == rows:
            return not_a_matrix("input", source)
        return f"the input has {source.shape[0]} rows, must have {rows}"


@dataclass(frozen=True, slots=True)
class ConvolutionInputGradient(_InputGradient):
    """Compute the gradient of the input of a `Convolution`; two-dimensional, on maps.

    `result[q, i] = Σ gradient[p, o] · weight[t, o, i]` over all o, and all p and t where q is tap t
    of p.
    """

    gradient: ValueName
    weight: ParameterName
    """A parameter of shape (taps, out features, in features)."""
    window: Window
    """The window of the convolution."""

    def count_flop(self, tensors: Tensors) -> int:
        products = tensors[self.gradient].num_elements * self.window.num_taps
        return 2 * products * self.result.shape[-1]

    def evaluate(self, launch: Launch) -> Array:
        products = np.einsum("spo,toi->spti", self._places(launch), launch[self.weight])
        return self.window.add_up(products)


@dataclass(frozen=True, slots=True)
class ConvolutionWeightGradient(_WeightGradient):
    """Compute the gradient of the weight of a `Convolution`; two-dimensional, on maps.

    `result[t, o, i] = Σₚ gradient[p, o] · input[tap t of p, i]`, over the taps inside the map.
    """

    gradient: ValueName
    input: ValueName
    window: Window
    """The window of the convolution."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        features = (tensors[name].shape[1] for name in (self.gradient, self.input))
        return (self.window.num_taps, *features)

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * tensors[self.gradient].shape[0]

    def evaluate(self, launch: Launch) -> Array:
        taps = self.window.take(launch[self.input], missing=0)
        return np.einsum("spti,spo->toi", taps, self._places(launch))


@dataclass(frozen=True, slots=True)
class DepthwiseInputGradient(_InputGradient):
    """Compute the input gradient of a `DepthwiseConvolution`; two-dimensional, on maps.

    `result[q, f] = Σ gradient[p, f] · weight[t, f]` over all p and t where q is tap t of p.
    """

    gradient: ValueName
    weight: ParameterName
    """A parameter of shape (taps, features)."""
    window: Window
    """The window of the convolution."""

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * tensors[self.gradient].num_elements * self.window.num_taps

    def evaluate(self, launch: Launch) -> Array:
        gradient = self._places(launch)[:, :, np.newaxis]
        return self.window.add_up(gradient * launch[self.weight])


@dataclass(frozen=True, slots=True)
class DepthwiseWeightGradient(_WeightGradient):
    """Compute the weight gradient of a `DepthwiseConvolution`; two-dimensional, on maps.

    `result[t, f] = Σₚ gradient[p, f] · input[tap t of p, f]`, over the taps inside the map.
    """

    gradient: ValueName
    input: ValueName
    window: Window
    """The window of the convolution."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return (self.window.num_taps, tensors[self.gradient].shape[1])

    def count_flop(self, tensors: Tensors) -> int:
        return 2 * self.result.num_elements * tensors[self.gradient].shape[0]

    def evaluate(self, launch: Launch) -> Array:
        taps = self.window.take(launch[self.input], missing=0)
        return np.einsum("sptf,spf->tf", taps, self._places(launch))


@dataclass(frozen=True, slots=True)
class MaxPoolGradient(_WindowedGradient):
    """Add each place's gradient to the pixel that was its maximum: of equals, the first tap.

    Two-dimensional, on maps.
    """

    gradient: ValueName
    input: ValueName
    """The input of the `MaxPool`."""
    found: ValueName
    """The result of the `MaxPool`."""
    window: Window
    """The window of the pool."""

    def result_shape(self, tensors: Tensors) -> tuple[int, ...]:
        return tensors[self.input].shape

    def _wrong_other(self, tensors: Tensors) -> str | None:
        gradient, shape = tensors[self.gradient], tensors[self.input].shape
        expected = (shape[0] // self.window.num_pixels * self.window.num_result_pixels, shape[-1])
        found = tensors[self.found].shape
        if found != expected:
            return f"the maxima are {found}, must be {expected}"
        return wrong_gradient(gradient, expected)

    def count_flop(self, tensors: Tensors) -> int:
        """Return the comparisons and the additions."""
        return tensors[self.gradient].num_elements * (self.window.num_taps + 1)

    def evaluate(self, launch: Launch) -> Array:
        taps = self.window.take(launch[self.input], missing=-np.inf)
        found = taps.argmax(axis=2)[:, :, np.newaxis]
        is_found = np.arange(self.window.num_taps)[:, np.newaxis] == found
        return self.window.add_up(np.where(is_found, self._places(launch)[:, :, np.newaxis], 0))
