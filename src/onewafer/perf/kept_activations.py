"""Activations saved for the backward pass, or recomputed in it.

In: the graph of a piece. Out: bytes per token. Saved are the operands of products, norms,
activations and attention, each tensor once (Korthikanti et al., 2022, arXiv 2205.05198, without
dropout masks: large models are no longer trained with dropout). Attention scores are never saved
(FlashAttention, arXiv 2205.14135). Each expert of a row saves a copy of the row where rows are sent
to experts, the output of its first product, and the input of its second. It does not save its
output: the routing weights multiply the input of the second product (Megatron-Core).
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
    """Activations that the backward pass recomputes (Korthikanti et al., 2022)."""

    NONE = "none"
    SELECTIVE = "selective"
    """Norms, activations and rotations, which take much room and little time, are recomputed.
    Attention saves its operands; its scores are never saved (FlashAttention)."""
    FULL = "full"
    """Whole layers are recomputed; only their inputs are saved."""


_CHEAP = (GroupNorm, LayerNorm, Multiply, OfElement, RmsNorm)
"""Operations whose results selective recomputation recomputes."""
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
"""Bytes per row and head: the logarithm of the sum of exponentials, in fp32 (FlashAttention)."""


def kept_bytes(
    graph: Graph, recompute: Recompute, *, operand_bytes: float, copies_of_rows: int = 1
) -> float:
    """Return the bytes that a piece saves per row of its input, summed over the GPUs that share it.

    `operand_bytes` is the size of an element that only products read. Each expert of a row saves
    `copies_of_rows` copies of the row: one for each GPU that shares it, 0 where rows are read in
    place.
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
    """Return the bytes that all experts of a row save."""
    network = network_of(graph, operation)
    row = copies_of_rows * network.features * operand_bytes
    inner = network.widened * ACTIVATION_BYTES
    if recompute is not Recompute.SELECTIVE:
        inner += network.hidden * operand_bytes
    return network.experts_per_row * (row + inner)


def _readers(graph: Graph) -> dict[str, list[Operation]]:
    """Return the tensors that the backward pass reads, each with the operations that need it."""
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
    """Tell whether a tensor is recomputed, as the kernel of a gate always does."""
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
