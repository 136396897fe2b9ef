"""Activations of the forward pass that the backward pass reads: kept, or computed again.

In: the graph of a piece. Out: bytes of a token. These are the operands of products, norms,
activations and attention, each tensor once (Korthikanti et al., 2022, arXiv 2205.05198, without
dropout masks: large models are no longer trained with dropout). Scores of attention are never
stored (FlashAttention, arXiv 2205.14135). Each expert that a row meets keeps a copy of the row
where rows are sent to experts, what its first product makes, and the operand of its second one;
what it gives is not read again: weights of the choice multiply that operand (Megatron-Core).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from onewafer.graph import (
    Activation,
    Attention,
    Convolution,
    DepthwiseConvolution,
    Experts,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    OfElement,
    RmsNorm,
)
from onewafer.perf.expert_networks import network_of

if TYPE_CHECKING:
    from onewafer.graph import Graph, Operation

ACTIVATION_BYTES = 2
"""bf16 or fp16."""


class Recompute(StrEnum):
    """Activations that the backward pass computes again (Korthikanti et al., 2022)."""

    NONE = "none"
    SELECTIVE = "selective"
    """Norms, activations, rotations: results that take much room and little time. Attention keeps
    its operands; its scores are never stored (FlashAttention)."""
    FULL = "full"
    """Whole layers are computed again; only their input is kept."""


_CHEAP = (GroupNorm, LayerNorm, Multiply, OfElement, RmsNorm)
"""Operations that selective recomputation repeats."""
_READ_BACKWARD = (
    Convolution,
    DepthwiseConvolution,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    OfElement,
    RmsNorm,
)
_STATISTICS_BYTES = 4
"""Bytes of a row and a head: the logarithm of the sum of exponentials, in fp32 (FlashAttention)."""


def kept_bytes(
    graph: Graph, recompute: Recompute, *, operand_bytes: float, copies_of_rows: int = 1
) -> float:
    """Return the bytes that a piece keeps of each row of its input, over the group of a layer.

    `operand_bytes` is the size of an element that only products read, in their format. An expert
    that a row meets keeps `copies_of_rows`: one for each GPU that shares it, 0 where rows are read
    in their place.
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
    experts = (op for op in graph.operations if isinstance(op, Experts))
    for operation in experts:
        kept = _of_experts(graph, operation, recompute, operand_bytes, copies_of_rows)
        total += kept * operation.result.shape[0] / rows
    return total + _statistics(graph, rows)


def _of_experts(
    graph: Graph,
    operation: Experts,
    recompute: Recompute,
    operand_bytes: float,
    copies_of_rows: int,
) -> float:
    """Return the bytes that the experts of a row keep."""
    network = network_of(graph, operation)
    row = copies_of_rows * network.features * operand_bytes
    inner = network.widened * ACTIVATION_BYTES
    if recompute is not Recompute.SELECTIVE:
        inner += network.hidden * operand_bytes
    return network.experts_per_row * (row + inner)


def _readers(graph: Graph) -> dict[str, list[Operation]]:
    """Return the tensors that the backward pass needs, with the operations that need them."""
    readers: dict[str, list[Operation]] = {}
    for operation in graph.operations:
        names = operation.activation_operands if isinstance(operation, _READ_BACKWARD) else ()
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
