"""Constants of training steps beside the tables of kernels, read from `training.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from onewafer.arch import load_facts
from onewafer.perf.gpu.kernels import NumberFormat


@dataclass(frozen=True, slots=True)
class TrainingConstants:
    """Constants of a training step: shares of speed, and bytes per weight, logit or element."""

    sustained_share: float
    """Share of the measured speed of products and attention that a long run in bf16 sustains."""
    sustained_share_fp8: float
    """The same share with products in fp8."""
    attention_backward: float
    """Backward ÷ forward time of attention."""
    elementwise_backward: float
    weight_bytes: float
    gradient_bytes: float
    optimizer_bytes: float
    """Bytes for each weight, over the GPUs that share the optimizer's states."""
    optimizer_traffic_bytes: float
    """Bytes that the optimizer reads and writes for each weight."""
    loss_bytes: float
    """Bytes of each logit that are kept from the forward to the backward pass."""
    loss_traffic_bytes: float
    """Bytes read and written for each logit, forward and backward."""
    cast_traffic_bytes: float
    """Bytes read and written to convert each operand of fp8 products."""

    def share_of(self, products: NumberFormat) -> float:
        """Return the sustained share at a format of products."""
        is_fp8 = products in (NumberFormat.FP8, NumberFormat.FP8_BLOCK)
        return self.sustained_share_fp8 if is_fp8 else self.sustained_share


@lru_cache
def load_training_constants() -> TrainingConstants:
    """Return the constants."""
    return load_facts(TrainingConstants, "onewafer.perf.gpu", "training", "table of constants")
