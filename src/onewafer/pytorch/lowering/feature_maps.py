"""Feature maps and the kernels that move over them, for convolutions, pools and norms.

A feature map of PyTorch has its features before its pixels; in the graph each pixel is a row, those
of a sample one after the other. An image that comes with the call is transposed by the host, which
computes nothing; everything after it is a layout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from onewafer.graph import Tensor, Window
from onewafer.pytorch.lowering.operands import External, Value, see

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.pytorch.lowering.registry import Call
    from onewafer.pytorch.lowering.writer import GraphWriter

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class FeatureMaps:
    """Feature maps of several samples as a matrix (samples · pixels, features)."""

    tensor: Tensor
    samples: int
    sides: tuple[int, ...]
    """Pixels along each spatial dimension."""
    is_batch: bool
    """True if PyTorch's tensor has a dimension for the samples."""

    @property
    def features(self) -> int:
        """Features of a pixel."""
        return self.tensor.shape[1]

    def see(self, tensor: Tensor, sides: Sequence[int]) -> Value:
        """Return a matrix of pixels seen in PyTorch's order: ([samples,] features, *sides)."""
        value = see(tensor, (self.samples, *sides, tensor.shape[1]))
        rank = len(value.shape)
        order = (0, rank - 1, *range(1, rank - 1))
        layout = value.layout.permute(order)
        return Value(tensor, layout if self.is_batch else layout.select(0, 0))


def read_feature_maps(writer: GraphWriter, call: Call, num_sides: int) -> FeatureMaps:
    """Return the first argument of a call as feature maps with so many spatial dimensions."""
    operand = call.operand(0)
    if not isinstance(operand, External):
        operand = writer.value(operand)
    shape = operand.shape
    if len(shape) not in (num_sides + 1, num_sides + 2):
        raise call.unsupported(f"an operand of shape {shape} is not a batch of feature maps")
    is_batch = len(shape) == num_sides + 2
    features = len(shape) - num_sides - 1
    dimensions = [index for index in range(len(shape)) if index != features]
    if isinstance(operand, External):
        tensor = to_image(writer, operand, dimensions, features)
    else:
        tensor = writer.matrix(operand, dimensions, (features,))
    samples = shape[0] if is_batch else 1
    writer.note_samples(samples)
    return FeatureMaps(tensor, samples, shape[features + 1 :], is_batch)


def to_image(writer: GraphWriter, image: External, rows: Sequence[int], features: int) -> Tensor:
    """Return an argument with one dimension as features; the host puts it last."""
    transposed = writer.view(
        image, f"{image.name}__turned", _aten.permute.default, (*rows, features)
    )
    shape = (math.prod(transposed.shape[:-1]), transposed.shape[-1])
    pixels = writer.view(transposed, f"{image.name}__pixels", _aten.reshape.default, shape)
    return writer.rows(pixels)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Kernel size, stride, padding before the map and dilation along each spatial dimension."""

    taps: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    dilation: tuple[int, ...]

    def over(self, sides: Sequence[int], result_sides: Sequence[int]) -> Window:
        """Return the window for maps of these sides; padding after them follows from the result."""
        parts = [*zip(self.taps, self.stride, self.before, self.dilation, sides, strict=True)]
        after = [
            max(0, (result - 1) * stride + dilation * (taps - 1) + 1 - size - before)
            for (taps, stride, before, dilation, size), result in zip(
                parts, result_sides, strict=True
            )
        ]
        if len(parts) == 1:
            parts.insert(0, (1, 1, 0, 1, 1))
            after.insert(0, 0)
        taps, stride, before, dilation, size = zip(*parts, strict=True)
        return Window(*size, *taps, *stride, *before, *after, *dilation)


def numbers(value: object, count: int) -> tuple[int, ...]:
    """Return one number for each spatial dimension, given one for all or one for each."""
    numbers = [value] if isinstance(value, int) else [*cast("Sequence[int]", value)]
    return tuple(numbers) * count if len(numbers) == 1 else tuple(numbers)
