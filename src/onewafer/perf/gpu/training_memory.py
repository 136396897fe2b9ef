"""The memory of a training step on one GPU: weights, gradients, optimizer states, activations.

Between products activations are sharded by rows, elsewhere by features, so that the group of tensor
parallelism has each element once (Korthikanti et al., 2022, arXiv 2205.05198).

A stage keeps them of as many micro-batches as lie between its forward and its backward pass: the
first of p stages of p, and with v parts a stage of p + (p − 1) / v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_plan import TrainingPlan


def in_flight(plan: TrainingPlan, num_micro_batches: int, *, stage: int) -> float:
    """Return how many micro-batches' activations of all its layers a stage keeps at most."""
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

    `weights` are the elements of the GPU's part of its stage before they are sharded over replicas,
    or, if they are those of experts, over the GPUs with the same experts. Of sharded ones, two
    pieces are whole at a time: that which is in use, and the next one.
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
