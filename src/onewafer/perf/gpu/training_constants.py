"""What a training step takes that is in no table of kernels, read from `training.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from onewafer.arch.sourced import entries_of, fitted, read_document

_FOLDER = "onewafer.perf.gpu"


@dataclass(frozen=True, slots=True)
class TrainingConstants:
    """Shares, and bytes of a weight, a logit or an element."""

    sustained_share: float
    """Of the speed of products and attention measured alone, what is left in a long run."""
    attention_backward: float
    """Time of the backward pass of attention, of its forward pass."""
    elementwise_backward: float
    weight_bytes: float
    gradient_bytes: float
    optimizer_bytes: float
    """Of a weight, over the GPUs that share the optimizer's states."""
    optimizer_traffic_bytes: float
    """That the optimizer reads and writes of each weight."""
    loss_bytes: float
    """Of a logit that are kept from the forward to the backward pass."""
    loss_traffic_bytes: float
    """Of a logit that are read and written, forward and backward."""
    cast_traffic_bytes: float
    """Of an operand of fp8 products that are read and written to make it."""


@lru_cache
def load_training_constants() -> TrainingConstants:
    """Return the constants."""
    document = read_document(_FOLDER, "training", "table of constants")
    known = {e.path.split(".", 1)[1]: e.value for e in entries_of(document, "facts", "training")}
    return TrainingConstants(**fitted(known, TrainingConstants, "training"))  # pyright: ignore[reportArgumentType]  # from TOML
