"""Measure the kernels of the GPU at hand with PyTorch: `onewafer calibrate gpu`.

In: a device. Out: a `perf.gpu.Profile`: matrix products, attention, a copy, a launch. Each number
is the median of repeated runs, as `torch.utils.benchmark` takes it, which waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from torch.utils.benchmark import Timer

from onewafer.errors import ConfigurationError
from onewafer.perf.gpu import (
    AttentionPoints,
    AttentionShape,
    NumberFormat,
    Points,
    Profile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Progress = Callable[[str, int, int], None]
    """The progress of a calibration: the tensor, points done, and points in all."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The sizes that are measured."""

    rows: tuple[int, ...]
    features: tuple[int, ...]
    """Outputs and inputs of products, all pairs."""
    heads: tuple[tuple[int, int], ...]
    """Heads, and key and value heads."""
    head_features: tuple[int, ...]
    sequences: tuple[int, ...]
    lengths: tuple[int, ...]
    """Tokens of a sequence."""
    most_attention_elements: int
    """Keys, or queries, of a point of attention; larger ones are left out."""
    copy_bytes: int
    least_seconds: float
    """The time for which a point is repeated."""

    @property
    def num_points(self) -> int:
        """Products and points of attention, including those that are left out."""
        products = len(self.rows) * len(self.features) ** 2
        attention = len(self.heads) * len(self.head_features)
        return products + 2 * attention * len(self.sequences) * len(self.lengths)


FULL = Grid(
    rows=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
    features=(512, 1024, 2048, 4096, 8192, 16384),
    heads=((32, 8), (8, 1), (64, 8), (16, 16)),
    head_features=(64, 128),
    sequences=(1, 4, 16, 64, 256),
    lengths=(128, 512, 2048, 8192, 32768),
    most_attention_elements=1 << 30,
    copy_bytes=1 << 30,
    least_seconds=0.05,
)
"""Some minutes on a large GPU; sizes of layers of 1 to 400 billion weights, sharded or not."""
QUICK = Grid(
    rows=(1, 16, 256, 4096),
    features=(1024, 4096, 16384),
    heads=((32, 8),),
    head_features=(128,),
    sequences=(1, 16, 64),
    lengths=(512, 4096),
    most_attention_elements=1 << 28,
    copy_bytes=1 << 28,
    least_seconds=0.02,
)
"""Half a minute, to see that all works."""


def find_device(name: str | None) -> torch.device:
    """Return the device of a name like `cuda:1`; without a name, the first GPU.

    Raises ConfigurationError if there is none.
    """
    if not torch.cuda.is_available():
        raise ConfigurationError(
            "PyTorch sees no GPU here, so there is nothing to measure; without a profile, "
            "`onewafer compare` takes the kernels that aiconfigurator-core measured"
        )
    try:
        device = torch.device(name or "cuda:0")
    except RuntimeError:
        raise ConfigurationError(f"there is no device {name!r}; write cuda:0") from None
    if device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"{name!r} is not a GPU of this computer; it has {torch.cuda.device_count()}, "
            "the first of them cuda:0"
        )
    return device


def measure_gpu(device: torch.device, grid: Grid = FULL, *, progress: Progress) -> Profile:
    """Return the times of the kernels of a device; `progress` hears of every point."""
    with torch.inference_mode():
        return _Measuring(device, grid, progress).measure()


class _Measuring:
    """One run through a grid."""

    def __init__(self, device: torch.device, grid: Grid, progress: Progress) -> None:
        self._device = device
        self._grid = grid
        self._progress = progress
        self._num_done = 0

    def measure(self) -> Profile:
        grid, device = self._grid, self._device
        shapes = [
            AttentionShape(heads, kv_heads, features)
            for (heads, kv_heads), features in product(grid.heads, grid.head_features)
        ]
        return Profile(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            software=_software(),
            copy_bytes_per_second=self._copy_bytes_per_second(),
            launch_seconds=self._launch_seconds(),
            products={NumberFormat.BF16: self._products()},
            decode=tuple(self._attention(shape, is_decode=True) for shape in shapes),
            prefill=tuple(self._attention(shape, is_decode=False) for shape in shapes),
        )

    def _products(self) -> Points:
        sizes: list[tuple[int, int, int]] = []
        seconds: list[float] = []
        for outputs, inputs in product(self._grid.features, repeat=2):
            weight = self._random(outputs, inputs)
            for rows in self._grid.rows:
                x = self._random(rows, inputs)
                seconds.append(self._seconds("products", linear, x, weight))
                sizes.append((rows, outputs, inputs))
        return _points(sizes, seconds)

    def _attention(self, shape: AttentionShape, *, is_decode: bool) -> AttentionPoints:
        sizes: list[tuple[int, int]] = []
        seconds: list[float] = []
        what = "attention of one token" if is_decode else "attention of prompts"
        attend = _attend_to_all if is_decode else _attend_causally
        heads = shape.kv_heads if is_decode else shape.heads
        for sequences, length in product(self._grid.sequences, self._grid.lengths):
            if sequences * length * heads * shape.features > self._grid.most_attention_elements:
                self._count(what)
                continue
            query = self._random(sequences, shape.heads, 1 if is_decode else length, shape.features)
            key, value = (
                self._random(sequences, shape.kv_heads, length, shape.features) for _ in range(2)
            )
            seconds.append(self._seconds(what, attend, query, key, value))
            sizes.append((sequences, length))
        return AttentionPoints(shape, _points(sizes, seconds))

    def _copy_bytes_per_second(self) -> float:
        source = torch.empty(self._grid.copy_bytes, dtype=torch.uint8, device=self._device)
        target = torch.empty_like(source)
        return 2 * self._grid.copy_bytes / self._median(target.copy_, source)

    def _launch_seconds(self) -> float:
        one = torch.ones(1, device=self._device)
        return self._median(one.add_, 0.0)

    def _random(self, *shape: int) -> torch.Tensor:
        # Values matter little to the time, but zeros take less power than numbers do.
        return torch.randn(shape, dtype=torch.bfloat16, device=self._device)

    def _seconds(self, what: str, call: Callable[..., object], *arguments: object) -> float:
        seconds = self._median(call, *arguments)
        self._count(what)
        return seconds

    def _count(self, what: str) -> None:
        self._num_done += 1
        self._progress(what, self._num_done, self._grid.num_points)

    def _median(self, call: Callable[..., object], *arguments: object) -> float:
        timer = Timer("call(*arguments)", globals={"call": call, "arguments": arguments})
        return timer.blocked_autorange(min_run_time=self._grid.least_seconds).median


def _attend_to_all(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return scaled_dot_product_attention(query, key, value, enable_gqa=True)


def _attend_causally(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)


def _points(sizes: Sequence[tuple[int, ...]], seconds: Sequence[float]) -> Points:
    columns = np.array(sizes, dtype=np.float64).T
    return Points(tuple(columns), np.array(seconds))


def _software() -> str:
    cuda = torch.version.cuda
    return f"PyTorch {torch.__version__}" + (f", CUDA {cuda}" if cuda else "")
