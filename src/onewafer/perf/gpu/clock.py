"""The time of a kernel: measured if there is a measurement, else by a roofline.

In: a kernel, a GPU, perhaps measurements. Out: seconds, what they are limited by, and whether a
measurement stands behind them. The formula that measured factors multiply is the ideal roofline,
`max(flop / peak, bytes / bandwidth)` plus the shortest time of a kernel; without measurements the
peaks are reduced by the stated efficiencies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from onewafer.perf.breakdown import Item, Limit
from onewafer.perf.gpu.collectives import collective_seconds
from onewafer.perf.gpu.factors import MeasuredFactors, load_roofline
from onewafer.perf.gpu.kernels import (
    Communication,
    Convolution,
    DecodeAttention,
    Elementwise,
    Experts,
    Gemm,
    PrefillAttention,
    Vector,
    attention_flop,
    convolution_bytes,
    decode_bytes,
    experts_bytes,
    experts_flop,
    gemm_bytes,
    gemm_flop,
    prefill_bytes,
    prefill_pairs,
)
from onewafer.perf.gpu.measurements import Measurements

if TYPE_CHECKING:
    from onewafer.arch import Gpu
    from onewafer.perf.gpu.factors import Roofline
    from onewafer.perf.gpu.kernels import Kernel


@dataclass(frozen=True, slots=True)
class KernelTime:
    """How long a kernel takes."""

    seconds: float
    limit: Limit
    is_measured: bool

    def item(self, name: str, seconds: float | None = None) -> Item:
        """Return an item of this time, or of `seconds` that are as well known."""
        return Item(
            name=name,
            seconds=self.seconds if seconds is None else seconds,
            limit=self.limit,
            is_cross_checked=self.is_measured,
        )


class KernelClock:
    """Computes the times of kernels on one GPU, cached by size."""

    def __init__(
        self,
        gpu: Gpu,
        measurements: Measurements | None = None,
        *,
        roofline: Roofline | None = None,
    ) -> None:
        self.gpu = gpu
        self.measurements = measurements or Measurements()
        self._roofline = roofline or load_roofline()
        self._factors = MeasuredFactors(gpu, self.measurements, self._roofline)
        self._known: dict[Kernel, KernelTime] = {}

    def time(self, kernel: Kernel) -> KernelTime:
        """Return how long a kernel takes; raise ConfigurationError if the GPU cannot do it."""
        known = self._known.get(kernel)
        if known is None:
            known = self._known[kernel] = self._time(kernel)
        return known

    def _time(self, kernel: Kernel) -> KernelTime:
        match kernel:
            case Gemm():
                return self._gemm(kernel)
            case Convolution():
                return self._convolution(kernel)
            case DecodeAttention():
                return self._decode_attention(kernel)
            case PrefillAttention():
                return self._prefill_attention(kernel)
            case Experts():
                return self._experts(kernel)
            case Elementwise():
                peak = self.gpu.bf16_flop_per_second
                efficiency = self._roofline.compute_efficiency
                return self._formula(kernel.flop, kernel.num_bytes, peak, efficiency)
            case Vector():
                peak = self.gpu.fp32_flop_per_second
                return self._formula(kernel.flop, kernel.num_bytes, peak, 1.0)
            case Communication():
                return self._communication(kernel)
            case _:
                assert_never(kernel)

    def _gemm(self, kernel: Gemm) -> KernelTime:
        sizes = (kernel.rows, kernel.outputs, kernel.inputs)
        number_format = kernel.number_format
        flop, num_bytes = gemm_flop(*sizes), gemm_bytes(*sizes, number_format)
        peak = number_format.peak_flop_per_second(self.gpu)
        table = self._factors.gemm(number_format)
        factor = None if table is None else table.factor(*sizes)
        return self._formula(flop, num_bytes, peak, self._roofline.compute_efficiency, factor)

    def _convolution(self, kernel: Convolution) -> KernelTime:
        """Return the roofline, times measured ÷ roofline of a product of the same sizes.

        Convolutions are not measured. They are assumed to reach the efficiency of products; with
        one tap a convolution is a product.
        """
        sizes = (kernel.rows, kernel.outputs, kernel.depth)
        flop, num_bytes = gemm_flop(*sizes), convolution_bytes(kernel)
        peak = kernel.number_format.peak_flop_per_second(self.gpu)
        table = self._factors.gemm(kernel.number_format)
        factor = None if table is None else table.factor(*sizes)
        time = self._formula(flop, num_bytes, peak, self._roofline.compute_efficiency, factor)
        return replace(time, is_measured=time.is_measured and kernel.is_dense)

    def _experts(self, kernel: Experts) -> KernelTime:
        shape, number_format = kernel.shape, kernel.number_format
        flop = experts_flop(kernel.rows, shape)
        num_bytes = experts_bytes(kernel.rows, shape, number_format)
        peak = number_format.peak_flop_per_second(self.gpu)
        table = self._factors.experts(shape, number_format)
        factor = None if table is None else table.factor(kernel.rows)
        return self._formula(flop, num_bytes, peak, self._roofline.compute_efficiency, factor)

    def _decode_attention(self, kernel: DecodeAttention) -> KernelTime:
        shape, seen = kernel.shape, kernel.shape.seen(kernel.context)
        flop = attention_flop(kernel.sequences, seen, shape)
        num_bytes = decode_bytes(kernel.sequences, seen, shape, kernel.cache_format)
        table = self._factors.decode_attention(shape, kernel.cache_format)
        factor = None if table is None else table.factor(kernel.sequences, kernel.context)
        return self._attention(flop, num_bytes, factor)

    def _prefill_attention(self, kernel: PrefillAttention) -> KernelTime:
        shape, new, cached = kernel.shape, kernel.new_tokens, kernel.cached_tokens
        pairs = _seen_pairs(kernel)
        flop = attention_flop(kernel.sequences, pairs, shape)
        reach = min(cached, shape.window) if shape.window is not None else cached
        num_bytes = prefill_bytes(kernel.sequences, new, reach, shape, kernel.cache_format)
        factor = None
        if kernel.is_causal:
            table = self._factors.prefill_attention(shape, kernel.cache_format)
            factor = None if table is None else table.factor(kernel.sequences, new + cached)
        return self._attention(flop, num_bytes, factor)

    def _attention(self, flop: float, num_bytes: float, factor: float | None) -> KernelTime:
        peak = self.gpu.bf16_flop_per_second
        return self._formula(flop, num_bytes, peak, self._roofline.attention_efficiency, factor)

    def _communication(self, kernel: Communication) -> KernelTime:
        group = kernel.group
        seconds, limit = collective_seconds(
            kernel.collective, kernel.num_bytes, group=group, gpu=self.gpu
        )
        if group.size == 1 or group.size_in_domain(self.gpu) < group.size:
            return KernelTime(seconds, limit, is_measured=False)
        table = self._factors.collective(kernel.collective, group.size)
        if table is None:
            return KernelTime(seconds, limit, is_measured=False)
        return KernelTime(seconds * table.factor(kernel.num_bytes), limit, is_measured=True)

    def _formula(
        self,
        flop: float,
        num_bytes: float,
        peak: float,
        efficiency: float,
        factor: float | None = None,
    ) -> KernelTime:
        """Return the ideal roofline times a measured factor, or that at stated efficiencies."""
        bandwidth = self.gpu.memory_bytes_per_second
        limit = Limit.COMPUTE if flop / peak > num_bytes / bandwidth else Limit.HBM
        floor = self._roofline.kernel_seconds
        if factor is not None:
            ideal = max(flop / peak, num_bytes / bandwidth) + floor
            return KernelTime(ideal * factor, limit, is_measured=True)
        memory = num_bytes / (bandwidth * self._roofline.memory_efficiency)
        seconds = max(flop / (peak * efficiency), memory) + floor
        return KernelTime(seconds, limit, is_measured=False)


def _seen_pairs(kernel: PrefillAttention) -> float:
    """Return the query-key pairs of one sequence that lie within the window."""
    new, cached = float(kernel.new_tokens), float(kernel.cached_tokens)
    pairs = prefill_pairs(new, cached, is_causal=kernel.is_causal)
    window = kernel.shape.window
    if window is None or not kernel.is_causal:
        return pairs
    last = max(0.0, new + cached - window)
    """Keys outside the window of the last row; each earlier row has one fewer."""
    first = max(0.0, cached + 1 - window)
    count = last - first + (1 if first else 0)
    return pairs - (first + last) * count / 2 if first else pairs - last * (last + 1) / 2
