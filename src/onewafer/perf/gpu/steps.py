"""The kernels of one step of an engine, and how long they take on the GPUs of a replica.

A step is what an engine launches at once: new tokens of sequences, prompts or parts of them, or
both. Products take all rows together, attention takes new tokens and prompts separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, assert_never

from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.feature_map_pieces import piece_on_feature_maps, sweep_kernel
from onewafer.perf.gpu.kernels import (
    Communication,
    Convolution,
    DecodeAttention,
    Elementwise,
    Experts,
    Gemm,
    NumberFormat,
    PrefillAttention,
)
from onewafer.perf.gpu.plan import num_layers
from onewafer.perf.gpu.sharding import (
    Attend,
    Exchange,
    Fused,
    ImplicitProduct,
    Mix,
    Product,
    Rows,
    Sweep,
    shard,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.gpu.clock import KernelClock, KernelTime
    from onewafer.perf.gpu.kernels import Kernel
    from onewafer.perf.gpu.plan import Plan
    from onewafer.perf.gpu.sharding import Part, ShardedPiece
    from onewafer.perf.jobs import Pass
    from onewafer.perf.model import Model

_ACTIVATION_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """How weights and the cache are stored."""

    products: NumberFormat
    cache: NumberFormat
    own_experts: NumberFormat | None = None
    """Format of experts, if it differs from that of products."""

    @property
    def experts(self) -> NumberFormat:
        """How weights of experts are stored."""
        return self.own_experts or self.products


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The work of one replica in a step: prompts, new tokens, or both."""

    decode: Pass | None = None
    """One new token a sequence."""
    prefill: Pass | None = None

    @property
    def rows(self) -> int:
        """Tokens that go through the layers."""
        return sum(part.rows for part in (self.decode, self.prefill) if part is not None)

    @property
    def sequences(self) -> int:
        """Sequences whose next token is computed."""
        return sum(part.sequences for part in (self.decode, self.prefill) if part is not None)


class ShardedModel:
    """A model as pieces on one GPU, cached for each size of the groups that share them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pieces = cache(self._pieces)

    def _pieces(self, group_size: int, groups: int) -> tuple[tuple[ShardedPiece, int], ...]:
        first, last = self.model.segments[0], self.model.segments[-1]
        if self.model.has_feature_maps:
            return tuple(
                (
                    piece_on_feature_maps(
                        segment, is_first=segment is first, is_last=segment is last
                    ),
                    segment.repeats,
                )
                for segment in self.model.segments
            )
        return tuple(
            (
                shard(segment, group_size, expert_groups=groups, is_last=segment is last),
                segment.repeats,
            )
            for segment in self.model.segments
        )

    @property
    def hidden(self) -> int:
        """Features of the residual stream, which stages send each other."""
        return self.model.segments[-1].graph.inputs[0].shape[-1]


@dataclass(frozen=True, slots=True)
class StepClock:
    """Times steps of one replica."""

    model: ShardedModel
    plan: Plan
    formats: Formats
    clock: KernelClock

    def breakdown(self, step: Step) -> Breakdown:
        """Return where the time of a step goes, over all stages, without the engine's own work."""
        kernels = Breakdown(
            tuple(
                time.item(name, time.seconds * count) for name, time, count in self._kernels(step)
            )
        ).merged()
        return kernels + Breakdown((*self._between_stages(step, kernels.seconds),))

    def seconds(self, step: Step) -> float:
        """Return the sum of the breakdown."""
        kernels = sum(time.seconds * count for _, time, count in self._kernels(step))
        return kernels + sum(item.seconds for item in self._between_stages(step, kernels))

    def _kernels(self, step: Step) -> Iterator[tuple[str, KernelTime, int]]:
        for piece, repeats in self.model.pieces(self.plan.tensor, self.plan.expert):
            for part in piece.parts:
                for name, kernel in self._launches(part, step):
                    yield name, self.clock.time(kernel), repeats

    def _launches(self, part: Part, step: Step) -> Iterator[tuple[str, Kernel]]:
        match part:
            case Product():
                number_format = self.formats.products if part.is_quantized else NumberFormat.BF16
                rows = _count(part.rows, step)
                yield part.name, Gemm(rows, part.outputs, part.inputs, number_format)
            case Attend():
                for kernel in self._attention(part, step):
                    yield "attention", kernel
            case Mix():
                yield "experts", Experts(part.shape, step.rows, self.formats.experts)
            case Fused():
                rows = _count(part.rows, step)
                num_bytes = (part.elements * rows + part.fixed) * _ACTIVATION_BYTES
                yield part.name, Elementwise(num_bytes, part.flop * rows)
            case ImplicitProduct() | Sweep():
                yield part.name, self._on_feature_maps(part, step.sequences)
            case Exchange():
                num_bytes = part.elements * _count(part.rows, step) * _ACTIVATION_BYTES
                group = Group(self.plan.tensor)
                yield str(part.collective), Communication(part.collective, num_bytes, group)
            case _:
                assert_never(part)

    def _on_feature_maps(self, part: ImplicitProduct | Sweep, samples: int) -> Kernel:
        """Return a kernel on the feature maps of `samples`, in the format of the products."""
        number_format = self.formats.products
        if isinstance(part, ImplicitProduct):
            rows, depth = part.rows * samples, part.taps * part.inputs
            elements = part.read * samples + (depth + rows) * part.outputs
            return Convolution(
                rows, part.outputs, depth, elements, number_format, is_dense=part.taps == 1
            )
        return sweep_kernel(part, samples, number_format)

    def _attention(self, part: Attend, step: Step) -> Iterator[Kernel]:
        if step.decode is not None:
            yield DecodeAttention(
                part.shape, step.decode.sequences, step.decode.context, self.formats.cache
            )
        if (prefill := step.prefill) is not None:
            yield PrefillAttention(
                part.shape,
                prefill.sequences,
                part.tokens or prefill.new_tokens,
                prefill.cached_tokens,
                self.formats.cache,
                part.is_causal,
            )

    def _between_stages(self, step: Step, kernels: float) -> Iterator[Item]:
        stages = self.plan.pipeline
        if stages == 1:
            return
        num_bytes = step.rows * self.model.hidden * _ACTIVATION_BYTES
        group = Group(2, stride=self.plan.tensor)
        sent = self.clock.time(Communication(Collective.SEND, num_bytes, group))
        yield Item(name="between stages", seconds=(stages - 1) * sent.seconds, limit=sent.limit)
        layers = num_layers(self.model.model)
        uneven = -(-layers // stages) * stages / layers - 1
        yield Item(name="uneven stages", seconds=uneven * kernels, limit=Limit.BUBBLE)


def _count(rows: Rows, step: Step) -> int:
    match rows:
        case Rows.ALL:
            return step.rows
        case Rows.LAST:
            return step.sequences
        case _:
            assert_never(rows)
