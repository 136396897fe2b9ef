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
from onewafer.pytorch.lowering.operands import External, Value, see_in_order

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
        shape = (self.samples, tensor.shape[1], *sides)
        value = see_in_order(tensor, shape, [0, *range(2, len(shape)), 1])
        return value if self.is_batch else Value(tensor, value.layout.select(0, 0))


def read_feature_maps(writer: GraphWriter, call: Call, num_sides: int) -> FeatureMaps:
    """Return the first argument of a call as feature maps with so many spatial dimensions."""
    operand = call.operand(0)
    shape = operand.shape if isinstance(operand, External) else writer.value(operand).shape
    if len(shape) not in (num_sides + 1, num_sides + 2):
        raise call.unsupported(f"an operand of shape {shape} is not a batch of feature maps")
    maps = read_pixels(writer, call, len(shape) - num_sides - 1)
    writer.note_samples(maps.samples)
    return maps


def read_pixels(writer: GraphWriter, call: Call, features: int = 1) -> FeatureMaps:
    """Return the first argument, ([batch,] features, *sides), with the pixels as rows.

    The host transposes an argument of the call.
    """
    operand = call.operand(0)
    if not isinstance(operand, External):
        operand = writer.value(operand)
    shape = operand.shape
    pixels = [index for index in range(len(shape)) if index != features]
    if isinstance(operand, External):
        name, order = operand.name, (*pixels, features)
        last = writer.view(operand, f"{name}__turned", _aten.permute.default, order)
        matrix = (math.prod(last.shape[:-1]), last.shape[-1])
        tensor = writer.rows(writer.view(last, f"{name}__pixels", _aten.reshape.default, matrix))
    else:
        tensor = writer.matrix(operand, pixels, (features,))
    return FeatureMaps(tensor, shape[0] if features else 1, shape[features + 1 :], features == 1)


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


def count_sides(call: Call) -> int:
    """Return the spatial dimensions that an operation has in its name: 1 for `conv1d`."""
    return 1 if "1d" in call.name else 2


def numbers(value: object, count: int) -> tuple[int, ...]:
    """Return one number for each spatial dimension, given one for all or one for each."""
    numbers = [value] if isinstance(value, int) else [*cast("Sequence[int]", value)]
    return tuple(numbers) * count if len(numbers) == 1 else tuple(numbers)
