"""Measurements that replace formulas of kernel times, from two sources.

`aiconfigurator` reads the tables of a package, `profile` a file that was measured on the user's own
card. Everything is optional: where something is None, the formula is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.perf.gpu.collectives import Collective
    from onewafer.perf.gpu.kernels import AttentionShape, ExpertShape, NumberFormat
    from onewafer.perf.gpu.latency_table import Points


@dataclass(frozen=True, slots=True, eq=False)
class AttentionPoints:
    """Measured attention of one shape, the nearest one to what was asked."""

    shape: AttentionShape
    points: Points


@dataclass(frozen=True, slots=True, eq=False)
class CollectivePoints:
    """A measured collective of a number of GPUs, the nearest one to what was asked."""

    num_gpus: int
    points: Points
    """Seconds by bytes of the whole tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpertPoints:
    """Measured experts, of the parallelism nearest to the one asked for."""

    shape: ExpertShape
    points: Points
    """Seconds by rows."""


class Measurements:
    """Measured kernels of one GPU and one engine; by itself, no measurements."""

    @property
    def source(self) -> str:
        """The origin of the measurements, for people."""
        return "no measurements (extra `gpu` has some): rooflines with stated efficiencies"

    def gemm(self, number_format: NumberFormat) -> Points | None:
        """Return products by rows, outputs and inputs."""

    def decode_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return attention of one new token by sequences and context."""

    def prefill_attention(
        self, shape: AttentionShape, cache_format: NumberFormat
    ) -> AttentionPoints | None:
        """Return causal attention of whole prompts by sequences and tokens of each."""

    def experts(self, shape: ExpertShape, number_format: NumberFormat) -> ExpertPoints | None:
        """Return experts by rows; `shape` has the sizes of the model."""

    def collective(self, collective: Collective, num_gpus: int) -> CollectivePoints | None:
        """Return a collective within a domain by bytes."""
