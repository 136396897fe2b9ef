"""The memory of GPUs: weights, keys and values, and the engine's own part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onewafer.graph import Embedding, Linear
from onewafer.perf.answer import Memory
from onewafer.perf.gpu.kernels import NumberFormat

if TYPE_CHECKING:
    from onewafer.arch import Gpu
    from onewafer.perf.gpu.engine import Engine
    from onewafer.perf.gpu.plan import Plan
    from onewafer.perf.gpu.steps import Formats, ShardedModel


@dataclass(frozen=True, slots=True)
class MemoryOfGpu:
    """Bytes on each GPU of a plan."""

    gpu: Gpu
    engine: Engine
    plan: Plan
    weight_bytes: float
    token_bytes: float
    """Keys and values of one token."""
    sample_bytes: float = 0.0
    """Feature maps of one sample."""

    @property
    def reserve_bytes(self) -> float:
        """Bytes that neither weights nor cache may use."""
        return self.gpu.memory_bytes * (1 - self.engine.memory_fraction) + self.gpu.reserve_bytes

    @property
    def cache_room_bytes(self) -> float:
        """Bytes left for keys and values; negative: not even the weights fit."""
        return self.gpu.memory_bytes - self.reserve_bytes - self.weight_bytes

    def num_cached_tokens(self) -> float:
        """Return the tokens that the cache has room for, over all sequences of a replica."""
        if self.token_bytes == 0:
            return float("inf") if self.cache_room_bytes >= 0 else 0.0
        return max(0.0, self.cache_room_bytes) / self.token_bytes

    def fits(self, tokens: float, *, samples: int = 0) -> bool:
        """Tell whether the weights, a cache of `tokens`, and feature maps of the samples fit."""
        needed = tokens * self.token_bytes + samples * self.sample_bytes
        return self.cache_room_bytes >= needed

    def memory(self, *, sequences: int, context: int) -> Memory:
        """Return the bytes over all GPUs of the plan, with `sequences` in each replica."""
        gpus = self.plan.num_gpus
        longest = self.num_cached_tokens() / max(1, sequences)
        return Memory(
            weight_bytes=round(self.weight_bytes * gpus),
            cache_bytes=round(sequences * context * self.token_bytes * gpus),
            other_bytes=round((self.reserve_bytes + sequences * self.sample_bytes) * gpus),
            available_bytes=self.gpu.memory_bytes * gpus,
            longest_context=None if self.token_bytes == 0 else int(longest),
        )


def memory_of_gpu(
    model: ShardedModel, gpu: Gpu, engine: Engine, *, plan: Plan, formats: Formats
) -> MemoryOfGpu:
    """Return the bytes on a GPU of the fullest stage; stages divide layers evenly."""
    weights = token = sample = 0.0
    for piece, repeats in model.pieces(plan.tensor, plan.expert):
        here = -(-repeats // plan.pipeline)
        products = piece.quantized_weights - piece.expert_weights
        weights += here * products * formats.products.num_bytes
        weights += here * piece.expert_weights * formats.experts.num_bytes
        weights += here * piece.plain_weights * NumberFormat.BF16.num_bytes
        token += here * piece.cached_features * formats.cache.num_bytes
        sample = max(sample, piece.sample_elements * formats.products.num_bytes)
    weights -= _tied_elements(model) / plan.tensor * NumberFormat.BF16.num_bytes
    return MemoryOfGpu(gpu, engine, plan, weights, token, sample)


def _tied_elements(model: ShardedModel) -> int:
    """Return the elements of tied tables, which embedding and head share."""
    operations = [op for segment in model.model.segments for op in segment.graph.operations]
    tables = {op.table: 0 for op in operations if isinstance(op, Embedding)}
    heads = {op.weight for op in operations if isinstance(op, Linear)} & {*tables}
    return sum(
        segment.graph.tensor(name).num_elements
        for segment in model.model.segments
        for name in heads
        if any(isinstance(op, Embedding) and op.table == name for op in segment.graph.operations)
    )
