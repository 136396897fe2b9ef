"""Tables of measured time ÷ ideal roofline of one GPU, each built on first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from onewafer.arch import load_facts
from onewafer.perf.gpu.collectives import flat_seconds, nvlink
from onewafer.perf.gpu.kernels import (
    attention_flop,
    decode_bytes,
    experts_bytes,
    experts_flop,
    gemm_bytes,
    gemm_flop,
    prefill_bytes,
    prefill_pairs,
)
from onewafer.perf.gpu.latency_table import build_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onewafer.arch import Gpu
    from onewafer.perf.gpu.collectives import Collective
    from onewafer.perf.gpu.kernels import AttentionShape, ExpertShape, NumberFormat
    from onewafer.perf.gpu.latency_table import LatencyTable
    from onewafer.perf.gpu.measurements import Measurements


@dataclass(frozen=True, slots=True)
class Roofline:
    """Shares of a GPU's peaks that unmeasured kernels reach."""

    compute_efficiency: float
    """Share of the peak that products with weights reach."""
    attention_efficiency: float
    memory_efficiency: float
    kernel_seconds: float
    """The shortest time of a kernel."""

    def ideal(
        self, flop: NDArray[np.float64], num_bytes: NDArray[np.float64], peak: float, gpu: Gpu
    ) -> NDArray[np.float64]:
        """Return the seconds at the peaks: the formula that measured factors multiply."""
        work = np.maximum(flop / peak, num_bytes / gpu.memory_bytes_per_second)
        return work + self.kernel_seconds


@lru_cache
def load_roofline() -> Roofline:
    """Return the stated efficiencies, from `roofline.toml`."""
    return load_facts(Roofline, "onewafer.perf.gpu", "roofline", "table of efficiencies")


class MeasuredFactors:
    """Factors by kind of kernel; None where nothing was measured."""

    def __init__(self, gpu: Gpu, measurements: Measurements, roofline: Roofline) -> None:
        self._gpu = gpu
        self._measurements = measurements
        self._roofline = roofline
        self.gemm = cache(self._gemm)
        self.decode_attention = cache(self._decode_attention)
        self.prefill_attention = cache(self._prefill_attention)
        self.experts = cache(self._experts)
        self.collective = cache(self._collective)

    def _gemm(self, number_format: NumberFormat) -> LatencyTable | None:
        """Return factors by rows, outputs and inputs."""
        points = self._measurements.gemm(number_format)
        if points is None:
            return None
        rows, outputs, inputs = points.sizes
        flop = gemm_flop(rows, outputs, inputs)
        num_bytes = gemm_bytes(rows, outputs, inputs, number_format)
        peak = number_format.peak_flop_per_second(self._gpu)
        return build_table(points, self._roofline.ideal(flop, num_bytes, peak, self._gpu))

    def _decode_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> LatencyTable | None:
        """Return factors by sequences and context."""
        found = self._measurements.decode_attention(shape, cache_format)
        if found is None:
            return None
        sequences, context = found.points.sizes
        seen = context if found.shape.window is None else np.minimum(context, found.shape.window)
        flop = attention_flop(sequences, seen, found.shape)
        num_bytes = decode_bytes(sequences, seen, found.shape, cache_format)
        peak = self._gpu.bf16_flop_per_second
        return build_table(found.points, self._roofline.ideal(flop, num_bytes, peak, self._gpu))

    def _prefill_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> LatencyTable | None:
        """Return factors by sequences and tokens of each."""
        found = self._measurements.prefill_attention(shape, cache_format)
        if found is None:
            return None
        sequences, tokens = found.points.sizes
        none = np.zeros_like(tokens)
        pairs = prefill_pairs(tokens, none)
        if (window := found.shape.window) is not None:
            hidden = np.maximum(tokens - window, 0.0)
            pairs = pairs - hidden * (hidden + 1.0) / 2.0
        flop = attention_flop(sequences, pairs, found.shape)
        num_bytes = prefill_bytes(sequences, tokens, none, found.shape, cache_format)
        peak = self._gpu.bf16_flop_per_second
        return build_table(found.points, self._roofline.ideal(flop, num_bytes, peak, self._gpu))

    def _experts(self, shape: ExpertShape, number_format: NumberFormat) -> LatencyTable | None:
        """Return factors by rows."""
        found = self._measurements.experts(shape, number_format)
        if found is None:
            return None
        (rows,) = found.points.sizes
        flop = experts_flop(rows, found.shape)
        num_bytes = experts_bytes(rows, found.shape, number_format)
        peak = number_format.peak_flop_per_second(self._gpu)
        return build_table(found.points, self._roofline.ideal(flop, num_bytes, peak, self._gpu))

    def _collective(self, collective: Collective, num_gpus: int) -> LatencyTable | None:
        """Return factors on the formula of `collectives` by bytes."""
        found = self._measurements.collective(collective, num_gpus)
        if found is None:
            return None
        link = nvlink(self._gpu)
        sizes: list[float] = found.points.sizes[0].tolist()
        formula = [flat_seconds(collective, size, found.num_gpus, link) for size in sizes]
        return build_table(found.points, np.array(formula))
