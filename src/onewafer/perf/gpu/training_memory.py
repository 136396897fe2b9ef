"""What a training step keeps on one GPU: weights, gradients, optimizer states, activations.

Activations are what the backward pass reads of the forward pass: the operands of products, norms,
activations and attention, each tensor once (Korthikanti et al., 2022, arXiv 2205.05198, without the
masks of dropout, which nobody trains large models with any more). Between products they are sharded
by rows, elsewhere by features, so that the group of tensor parallelism has each element once.

A stage keeps them of as many micro-batches as lie between its forward and its backward pass: the
first of p stages of p, and with v parts a stage of p + (p − 1) / v.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import (
    Activation,
    Attention,
    Convolution,
    Depthwise,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Relu,
    RmsNorm,
    activation_operands,
)
from onewafer.perf.gpu.training_layer import ACTIVATION_BYTES
from onewafer.perf.gpu.training_plan import Recompute

if TYPE_CHECKING:
    from onewafer.graph import Graph, Operation
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_plan import TrainingPlan

_CHEAP = (Activation, LayerNorm, Multiply, Relu, RmsNorm)
"""What selective recomputation does again."""
_READ_BACKWARD = (
    Activation,
    Convolution,
    Depthwise,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Relu,
    RmsNorm,
)
_STATISTICS_BYTES = 4
"""Of a row and a head: the logarithm of the sum of exponentials, in fp32 (FlashAttention)."""


def kept_bytes(graph: Graph, recompute: Recompute, *, operand_bytes: float) -> float:
    """Return the bytes that a piece keeps of each row of its input, over the group of a layer.

    `operand_bytes` is the size of an element that only products read, in their format.
    """
    rows = graph.inputs[0].shape[0]
    if recompute is Recompute.FULL:
        return graph.inputs[0].num_elements / rows * ACTIVATION_BYTES
    readers = _readers(graph)
    sources = {op.result.name: op for op in graph.operations}
    total = 0.0
    for name, reading in readers.items():
        source = sources.get(name)
        if _is_made_again(source, reading, recompute):
            continue
        only_products = all(isinstance(operation, Linear) for operation in reading)
        size = operand_bytes if only_products else ACTIVATION_BYTES
        total += graph.tensor(name).num_elements / rows * size
    return total + _statistics(graph, rows)


def _readers(graph: Graph) -> dict[str, list[Operation]]:
    """Return the tensors that the backward pass needs, with the operations that need them."""
    readers: dict[str, list[Operation]] = {}
    for operation in graph.operations:
        names = activation_operands(operation) if isinstance(operation, _READ_BACKWARD) else ()
        if isinstance(operation, Attention):
            names = (operation.query, operation.key, operation.value, operation.result.name)
        for name in names:
            readers.setdefault(name, []).append(operation)
    return readers


def _is_made_again(
    source: Operation | None, readers: list[Operation], recompute: Recompute
) -> bool:
    """Tell whether a tensor is computed from what is kept; a gate's kernel does so in any case."""
    if recompute is Recompute.SELECTIVE:
        return isinstance(source, _CHEAP)
    gates = all(isinstance(operation, Multiply) for operation in readers)
    return gates and isinstance(source, Activation)


def _statistics(graph: Graph, rows: int) -> float:
    return sum(
        _STATISTICS_BYTES * operation.heads * operation.result.shape[0] / rows
        for operation in graph.operations
        if isinstance(operation, Attention)
    )


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
        """The sum."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.reserve


def state_bytes(
    weights: float, largest_piece: float, plan: TrainingPlan, constants: TrainingConstants
) -> tuple[float, float, float]:
    """Return the bytes of weights, gradients and optimizer states of one GPU.

    `weights` are the elements of the GPU's part of its stage before they are sharded over replicas.
    Of sharded ones, two pieces are whole at a time: that which is in use, and the next one.
    """
    shards = plan.optimizer_shards
    optimizer = weights * constants.optimizer_bytes / shards
    if not plan.shards_weights:
        return weights * constants.weight_bytes, weights * constants.gradient_bytes, optimizer
    whole = 2 * largest_piece
    return (
        (weights / shards + whole) * constants.weight_bytes,
        (weights / shards + whole) * constants.gradient_bytes,
        optimizer,
    )
