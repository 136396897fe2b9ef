"""The memory of a training step on one GPU: weights, gradients, optimizer states, activations.

Activations are sharded by rows between products and by features elsewhere, so that a
tensor-parallel group has each element once (Korthikanti et al., 2022, arXiv 2205.05198).

A stage saves activations of the micro-batches between their forward and backward pass: the first of
p stages those of p, or of p + (p − 1) / v with v parts a stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_plan import TrainingPlan


def in_flight(plan: TrainingPlan, num_micro_batches: int, *, stage: int) -> float:
    """Return the most micro-batches whose activations a stage saves at a time."""
    behind = plan.pipeline - stage
    if plan.interleave > 1:
        behind += (plan.pipeline - 1) / plan.interleave
    return min(float(num_micro_batches), behind)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Bytes on one GPU of a stage."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    reserve: float

    @property
    def total(self) -> float:
        """The total bytes of a GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserve


def state_bytes(
    weights: float,
    largest_piece: float,
    plan: TrainingPlan,
    constants: TrainingConstants,
    *,
    are_experts: bool = False,
) -> tuple[float, float, float]:
    """Return the bytes of weights, gradients and optimizer states of one GPU.

    `weights` are the GPU's elements before they are sharded over replicas, or, for experts, over
    the GPUs with the same experts. With sharded weights, two pieces are gathered at a time: the one
    in use and the next.
    """
    shards = plan.expert_replicas if are_experts else plan.optimizer_shards
    optimizer = weights * constants.optimizer_bytes / shards
    if not plan.shards_weights:
        return weights * constants.weight_bytes, weights * constants.gradient_bytes, optimizer
    whole = 2 * largest_piece
    return (
        (weights / shards + whole) * constants.weight_bytes,
        (weights / shards + whole) * constants.gradient_bytes,
        optimizer,
    )
