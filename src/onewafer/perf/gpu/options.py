"""Choices for GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.perf.gpu.kernels import NumberFormat, product_format
from onewafer.perf.gpu.steps import Formats
from onewafer.perf.jobs import Goal, Precision

if TYPE_CHECKING:
    from onewafer.perf.gpu.plan import Plan
    from onewafer.perf.gpu.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuOptions:
    """Choices for GPUs; everything has a usual value."""

    precision: Precision = Precision.BF16
    """Format of weights and of products with them; the head stays in bf16, and with mxfp4 all but
    the experts do."""
    cache: Precision | None = None
    """Format of keys and values; None: fp8 with weights in fp8 or fp4, else bf16."""
    has_block_scales: bool = False
    """True if fp8 weights have one scale for 128 × 128 weights."""
    engine: str = "trtllm"
    """`trtllm`, `vllm` or `sglang`."""
    is_served: bool = True
    """False: prompts pass as in a script, in one launch of all kernels, without an engine."""
    plan: Plan | None = None
    """None: the best plan for the goal."""
    goal: Goal = Goal.LATENCY
    profile: Profile | None = None
    """Kernels measured on the user's card, instead of the tables of aiconfigurator-core; None:
    those tables, if they are installed."""
    uses_tables: bool = True
    """True if the tables of aiconfigurator-core may be used."""

    @property
    def formats(self) -> Formats:
        """How weights and the cache are stored."""
        products = product_format(self.precision, has_block_scales=self.has_block_scales)
        is_narrow = products in (NumberFormat.FP8, NumberFormat.FP4)
        usual = NumberFormat.FP8 if is_narrow else NumberFormat.BF16
        return Formats(
            products=products,
            cache=usual if self.cache is None else product_format(self.cache),
            own_experts=NumberFormat.MXFP4 if self.precision is Precision.MXFP4 else None,
        )
