"""Windows over feature maps: the input pixels for each pixel of a result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """A kernel of taps that moves over a feature map of height × width pixels, row by row.

    Tap (i, j) of the result's pixel (y, x) is the pixel (y · stride_y + i · dilation_y − top, x ·
    stride_x + j · dilation_x − left) of the map. A tap outside the feature map counts as zeros, or,
    in a maximum, not at all. One spatial dimension is a feature map of height 1.
    """

    height: int
    """The height of the input feature map, in pixels."""
    width: int
    kernel_height: int = 1
    """The height of the kernel, in taps."""
    kernel_width: int = 1
    stride_y: int = 1
    stride_x: int = 1
    top: int = 0
    """Margins around the feature map, in pixels."""
    left: int = 0
    bottom: int = 0
    right: int = 0
    dilation_y: int = 1
    """The distance of neighbouring taps, in pixels."""
    dilation_x: int = 1

    @property
    def num_pixels(self) -> int:
        """The pixels of the feature map: the operand's rows for each sample."""
        return self.height * self.width

    @property
    def num_taps(self) -> int:
        """The number of taps of the kernel."""
        return self.kernel_height * self.kernel_width

    @property
    def result_height(self) -> int:
        """The height of the result; below 1 if the kernel exceeds the map with its margins."""
        reach = self.dilation_y * (self.kernel_height - 1) + 1
        return (self.height + self.top + self.bottom - reach) // self.stride_y + 1

    @property
    def result_width(self) -> int:
        """The width of the result; below 1 if the kernel exceeds the map with its margins."""
        reach = self.dilation_x * (self.kernel_width - 1) + 1
        return (self.width + self.left + self.right - reach) // self.stride_x + 1

    @property
    def num_result_pixels(self) -> int:
        """The pixels of the result: its rows for each sample."""
        return self.result_height * self.result_width

    def sources(self) -> NDArray[np.intp]:
        """Return the pixel of each tap, −1 outside the map: `[result pixels, taps]`, read-only.

        >>> Window(1, 3, kernel_width=2, left=1).sources().tolist()
        [[-1, 0], [0, 1], [1, 2]]
        """
        return _sources(self)

    def take(self, rows: NDArray[Any], missing: float) -> NDArray[Any]:
        """Return the rows at the taps of all samples: `[samples, result pixels, taps, features]`.

        Taps outside the map have the value `missing`.
        """
        sources = self.sources()
        maps = rows.reshape(-1, self.num_pixels, rows.shape[-1])
        return np.where((sources >= 0)[:, :, np.newaxis], maps[:, sources], missing)

    def add_up(self, taps: NDArray[Any]) -> NDArray[Any]:
        """Return for each pixel the sum of the values at its taps; the transpose of `take`."""
        sources = self.sources()
        samples, _, num_taps, features = taps.shape
        maps = np.zeros((samples, self.num_pixels, features), taps.dtype)
        for tap in range(num_taps):
            is_inside = sources[:, tap] >= 0
            maps[:, sources[is_inside, tap]] += taps[:, is_inside, tap]  # pixels are distinct
        return maps.reshape(-1, features)


@lru_cache(maxsize=64)
def _sources(w: Window) -> NDArray[np.intp]:
    """Return the array of `Window.sources`, cached for equal windows and read-only."""
    y = _taps(w.result_height, w.kernel_height, w.stride_y, w.dilation_y) - w.top
    x = _taps(w.result_width, w.kernel_width, w.stride_x, w.dilation_x) - w.left
    rows, columns = y[:, np.newaxis, :, np.newaxis], x[np.newaxis, :, np.newaxis, :]
    is_inside = (rows >= 0) & (rows < w.height) & (columns >= 0) & (columns < w.width)
    pixels = np.where(is_inside, rows * w.width + columns, -1)
    pixels = pixels.reshape(w.num_result_pixels, w.num_taps)
    pixels.setflags(write=False)
    return pixels


def _taps(size: int, kernel: int, stride: int, dilation: int) -> NDArray[np.intp]:
    """Return the positions of taps along one dimension, from its margin on: `[size, kernel]`."""
    return np.arange(size)[:, np.newaxis] * stride + np.arange(kernel) * dilation
