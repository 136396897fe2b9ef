"""The time of one micro-batch in one piece of a model on one GPU, forward and backward.

In: the parts of a sharded piece, a plan. Out: two breakdowns. For each product of the forward pass,
the backward pass has two: rows × inputs × outputs for the gradient of the input, outputs × inputs ×
rows for that of the weight.

With sequence parallelism (Korthikanti et al., 2022, arXiv 2205.05198) what lies between products is
sharded by rows: each all-reduce becomes a reduce-scatter after the second product of a block and an
all-gather before the first, forward; backward the other way round, and the input of the first
product is gathered again for the gradient of its weight. A transfer overlaps with the product that
it feeds or empties, part by part: all but one of the parts are hidden if the product takes as long
(`--tp-comm-overlap` of Megatron-LM; Wang et al., ASPLOS 2023).

Context parallelism sends keys and values round a ring while attention works on those that are there
(Liu et al., 2023, arXiv 2310.01889), and with them their gradients on the way back. Or it gathers
them before attention begins, forward and once more backward, and scatters sums of gradients behind
it: nothing hides that (The Llama 3 Herd of Models, arXiv 2407.21783, section 3.3.2, for the sake of
masks between documents; that of TransformerEngine gathers again). Early and late parts of a
sequence are paired, so that all GPUs have as many pairs under a causal mask.

Transfers to experts and back (`training_experts`) overlap with another micro-batch: those of the
forward pass with its backward computation in this piece, and the other way round (DualPipe,
DeepSeek-V3, arXiv 2412.19437, section 3.2.1; `--overlap-moe-expert-parallel-comm` of Megatron-Core
0.14). The exposed rest belongs to the piece. Nothing hides the transfers of the first micro-batch
forward and of the last one backward, which belong to the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, assert_never

from onewafer.errors import InternalError
from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.kernels import (
    Communication,
    Elementwise,
    Gemm,
    NumberFormat,
    PrefillAttention,
)
from onewafer.perf.gpu.sharding import Attend, Exchange, Fused, ImplicitProduct, Mix, Product, Sweep
from onewafer.perf.gpu.training_experts import (
    CASTS,
    ELEMENTWISE,
    EXPERT_PARALLELISM,
    EXPERT_TENSOR_PARALLELISM,
    ExpertClock,
)
from onewafer.perf.kept_activations import ACTIVATION_BYTES

if TYPE_CHECKING:
    from onewafer.perf.gpu.clock import KernelClock, KernelTime
    from onewafer.perf.gpu.sharding import Part
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_plan import TrainingPlan

TENSOR_PARALLELISM = "tensor parallelism"
CONTEXT_PARALLELISM = "context parallelism"
LOSS = "loss"
ROUTER = "choice of experts"
_TRANSFERS = (
    CONTEXT_PARALLELISM,
    EXPERT_PARALLELISM,
    EXPERT_TENSOR_PARALLELISM,
    TENSOR_PARALLELISM,
)
"""Items of communication, which hide no transfers."""


class HiddenTransfers(NamedTuple):
    """Seconds of transfers to experts and back that another micro-batch hides."""

    forward: float
    backward: float


@dataclass(frozen=True, slots=True)
class PieceTime:
    """One micro-batch in one piece."""

    forward: Breakdown
    backward: Breakdown
    elementwise: Breakdown
    """Elementwise operations of the forward pass: selective recomputation repeats them."""
    hidden: HiddenTransfers
    hidden_limit: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """The rows of a micro-batch on one GPU."""

    tokens: int
    """Tokens that go through the layers."""
    outputs: int
    """Tokens that go through the head."""
    sequences: int
    sequence: int
    """Tokens of a sequence, over all GPUs of context parallelism."""


class PieceClock:
    """Computes the times of the parts of a piece under one plan."""

    def __init__(
        self,
        clock: KernelClock,
        plan: TrainingPlan,
        micro_batch: MicroBatch,
        *,
        products: NumberFormat,
        constants: TrainingConstants,
    ) -> None:
        self._clock = clock
        self._plan = plan
        self._rows = micro_batch
        self._format = products
        self._constants = constants
        self._share = constants.share_of(products)
        self._group = Group(plan.tensor)
        self._experts = ExpertClock(clock, plan, products=products, constants=constants)
        self._forward: list[Item] = []
        self._backward: list[Item] = []
        self._to_experts: list[Item] = []

    def time(self, parts: tuple[Part, ...], *, whole: frozenset[int]) -> PieceTime:
        """Return the time of a piece; elementwise parts at indices `whole` are sharded by rows."""
        self._forward, self._backward, self._to_experts = [], [], []
        for index, part in enumerate(parts):
            follower = parts[index + 1] if index + 1 < len(parts) else None
            match part:
                case Product(is_choice=True):
                    self._add_gemms(ROUTER, self._own_rows, part, NumberFormat.BF16)
                case Product():
                    self._add_product(part, is_row_parallel=_is_sum(follower))
                case Attend():
                    self._add_attention(part)
                case Mix():
                    self._add_experts(part)
                case Fused():
                    self._add_elementwise(part, is_whole=index in whole)
                case Exchange():
                    self._add_exchange(part, parts[index - 1])
                case ImplicitProduct() | Sweep():
                    raise InternalError(
                        "feature maps in a layer of sequences; MapPieces times them"
                    )
                case _:
                    assert_never(part)
        again = [item for item in self._forward if item.name == ELEMENTWISE]
        hidden = self._add_expert_transfers()
        forward, backward, twice, transfers = (
            Breakdown((*items,)).merged()
            for items in (self._forward, self._backward, again, self._to_experts)
        )
        return PieceTime(forward, backward, twice, hidden, transfers.limit or Limit.NVLINK)

    def _add(self, name: str, forward: KernelTime, *backward: KernelTime) -> None:
        self._forward.append(forward.item(name))
        self._backward += [time.item(name) for time in backward]

    def _add_gemms(
        self, name: str, rows: int, product: Product, number_format: NumberFormat
    ) -> list[KernelTime]:
        """Add a product, and those of the gradients of its input and weight; return their times."""
        outputs, inputs = product.outputs, product.inputs
        sizes = ((rows, outputs, inputs), (rows, inputs, outputs), (outputs, inputs, rows))
        times = [self._clock.time(Gemm(*size, number_format)) for size in sizes]
        forward, *backward = (time.item(name, time.seconds / self._share) for time in times)
        self._forward.append(forward)
        self._backward += backward
        return times

    def _add_experts(self, part: Mix) -> None:
        time = self._experts.time(part.shape, self._own_rows)
        self._forward += time.forward
        self._backward += time.backward
        self._to_experts += time.transfers

    @property
    def _own_rows(self) -> int:
        """Rows per GPU under sequence parallelism."""
        return -(-self._rows.tokens // self._plan.tensor)

    def _add_expert_transfers(self) -> HiddenTransfers:
        """Add the exposed transfers to experts; return the hidden ones."""
        seconds = math.fsum(item.seconds for item in self._to_experts)
        if not seconds:
            return HiddenTransfers(0.0, 0.0)
        hides = self._plan.is_overlapped and self._plan.overlaps_experts
        forward, backward = (
            _computed(items) if hides else 0.0 for items in (self._forward, self._backward)
        )
        hidden = HiddenTransfers(min(seconds, backward), min(seconds, forward))
        for items, covered in zip((self._forward, self._backward), hidden, strict=True):
            items.extend(Breakdown((*self._to_experts,)).scaled(1.0 - covered / seconds).items)
        return hidden

    def _add_product(self, product: Product, *, is_row_parallel: bool) -> None:
        is_head = not product.is_quantized
        number_format = NumberFormat.BF16 if is_head else self._format
        rows = self._rows.outputs if is_head else self._rows.tokens
        times = self._add_gemms(product.name, rows, product, number_format)
        if self._plan.tensor > 1:
            width = product.outputs if is_row_parallel else product.inputs
            self._add_transfers(rows * width, times, is_row_parallel=is_row_parallel)
        if number_format in (NumberFormat.FP8, NumberFormat.FP8_BLOCK):
            self._add_casts(rows, product, is_row_parallel=is_row_parallel)
        if is_head:
            self._add_loss(rows * product.outputs)

    def _add_transfers(
        self, elements: int, products: list[KernelTime], *, is_row_parallel: bool
    ) -> None:
        """Add the transfers of tensor parallelism that the three products do not hide."""
        forward, of_input, of_weight = products
        gather = self._exchange(Collective.ALL_GATHER, elements)
        scatter = self._exchange(Collective.REDUCE_SCATTER, elements)
        if is_row_parallel:
            self._forward.append(self._exposed(scatter, forward))
            self._backward.append(self._exposed(gather, of_input))
            return
        self._forward.append(self._exposed(gather, forward))
        self._backward.append(self._exposed(gather, of_input))
        self._backward.append(self._exposed(scatter, of_weight))

    def _add_casts(self, rows: int, product: Product, *, is_row_parallel: bool) -> None:
        """Add the casts of operands to fp8, which precede an all-gather of the operand."""
        tensor = self._plan.tensor
        inputs = product.inputs / (1 if is_row_parallel else tensor)
        outputs = product.outputs / (tensor if is_row_parallel else 1)
        row_bytes = rows * self._constants.cast_traffic_bytes
        self._add_elementwise_kernels(CASTS, row_bytes * inputs, row_bytes * outputs)

    def _add_loss(self, logits: int) -> None:
        half = logits * self._constants.loss_traffic_bytes / 2
        self._add_elementwise_kernels(LOSS, half, half)

    def _add_elementwise_kernels(self, name: str, forward: float, backward: float) -> None:
        """Add a kernel forward and one backward, of so many bytes."""
        self._add(name, *(self._clock.time(Elementwise(size)) for size in (forward, backward)))

    def _add_attention(self, part: Attend) -> None:
        rows, context = self._rows, self._plan.context
        kernel = PrefillAttention(
            part.shape, rows.sequences, rows.sequence, 0, NumberFormat.BF16, part.is_causal
        )
        whole = self._clock.time(kernel)
        forward = whole.seconds / self._share / context
        backward = forward * self._constants.attention_backward
        self._forward.append(whole.item("attention", forward))
        self._backward.append(whole.item("attention", backward))
        if context > 1:
            num_bytes = rows.tokens * 2 * part.shape.kv_heads * part.shape.features
            if self._plan.gathers_context:
                self._add_gather(num_bytes * ACTIVATION_BYTES * context)
            else:
                self._add_ring(num_bytes * ACTIVATION_BYTES, forward, backward)

    def _add_gather(self, num_bytes: float) -> None:
        """Add the all-gather before attention; `num_bytes` are those of all keys and values."""
        group = Group(self._plan.context, stride=self._plan.tensor)
        gather, scatter = (
            self._clock.time(Communication(collective, num_bytes, group))
            for collective in (Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
        )
        self._add(CONTEXT_PARALLELISM, gather, gather, scatter)

    def _add_ring(self, num_bytes: float, forward: float, backward: float) -> None:
        group = Group(self._plan.context, stride=self._plan.tensor)
        step = self._clock.time(Communication(Collective.SEND, num_bytes, group))
        steps = self._plan.context - 1
        for items, seconds, tensors in (
            (self._forward, forward, 1),
            (self._backward, backward, 2),  # keys and values, and their gradients
        ):
            exposed = max(0.0, steps * (tensors * step.seconds - seconds / self._plan.context))
            items.append(Item(name=CONTEXT_PARALLELISM, seconds=exposed, limit=step.limit))

    def _add_elementwise(self, part: Fused, *, is_whole: bool) -> None:
        rows = self._rows.tokens / (self._plan.tensor if is_whole else 1)
        num_bytes = rows * part.elements * ACTIVATION_BYTES
        backward = num_bytes * self._constants.elementwise_backward
        self._add_elementwise_kernels(part.name, num_bytes, backward)

    def _add_exchange(self, part: Exchange, before: Part) -> None:
        """Add an exchange that belongs to no product: of an embedding, of a norm over features."""
        if isinstance(before, Mix):
            return  # the combine has returned the rows
        is_sum = part.collective is Collective.ALL_REDUCE
        if isinstance(before, Product) and (is_sum or not before.is_quantized):
            return  # all-reduces overlap with products; logits are not gathered
        elements = self._rows.tokens * part.elements
        forward, backward = Collective.REDUCE_SCATTER, Collective.ALL_GATHER
        if part.collective is Collective.ALL_GATHER:
            forward, backward = backward, forward
        times = (self._exchange(collective, elements) for collective in (forward, backward))
        self._add(TENSOR_PARALLELISM, *times)

    def _exchange(self, collective: Collective, elements: int) -> KernelTime:
        return self._clock.time(Communication(collective, elements * ACTIVATION_BYTES, self._group))

    def _exposed(self, transfer: KernelTime, product: KernelTime) -> Item:
        """Return the part of a transfer that its product does not hide, at least one chunk."""
        hidden = product.seconds / self._share if self._plan.is_overlapped else 0.0
        seconds = max(transfer.seconds - hidden, transfer.seconds / self._plan.tensor)
        return transfer.item(TENSOR_PARALLELISM, seconds)


def _computed(items: list[Item]) -> float:
    return math.fsum(item.seconds for item in items if item.name not in _TRANSFERS)


def _is_sum(follower: Part | None) -> bool:
    """Tell whether a product makes partial sums, which an all-reduce follows."""
    match follower:
        case Exchange(collective=Collective.ALL_REDUCE):
            return True
        case _:
            return False
