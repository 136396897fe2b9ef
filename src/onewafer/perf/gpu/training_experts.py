"""The time of one micro-batch in the experts of a layer on one GPU, forward and backward.

In: the shape of the experts, a plan. Each GPU has r rows of its own (sequence parallelism), each
routed to k of E experts, which are distributed over `expert` groups. Out: items of both directions,
and separately the transfers, which another micro-batch may hide:

    permute                       r · (1 + k) rows read and written: copies in the order of experts
    dispatch                      all-to-all of r · k rows over the groups
    sort                          by expert, where a GPU has several
    gather                        over the GPUs that share an expert, behind the first product
    two products an expert        r · k · shares rows a GPU, all experts chosen equally often
    scatter, sort, combine, permute   the same way back

Several experts are several products in sequence, each as fast as measured for its size: the gain of
a grouped kernel is not modelled. The tables of experts of inference engines are not used: their
rows are chosen by a power law, their products are fused, and they have no backward pass.

Where tokens are sent once (DeepEP, 2025), a row goes once to each GPU, and over the network once to
each domain, with one of its experts. Such a unit with n of E experts has none of the k of a row,
chosen at random, with probability C(E − n, k) / C(E, k).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb
from typing import TYPE_CHECKING

from onewafer.perf.gpu.collectives import Collective, Group
from onewafer.perf.gpu.kernels import Communication, Elementwise, Gemm, NumberFormat
from onewafer.perf.kept_activations import ACTIVATION_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onewafer.perf.breakdown import Item
    from onewafer.perf.gpu.clock import KernelClock, KernelTime
    from onewafer.perf.gpu.kernels import ExpertShape
    from onewafer.perf.gpu.training_constants import TrainingConstants
    from onewafer.perf.gpu.training_plan import TrainingPlan

EXPERTS = "experts"
EXPERT_PARALLELISM = "expert parallelism"
EXPERT_TENSOR_PARALLELISM = "tensor parallelism of experts"
PERMUTATION = "permutation of tokens"
ELEMENTWISE = "norms and activations"
CASTS = "casts to fp8"


@dataclass(frozen=True, slots=True)
class ExpertTime:
    """One micro-batch in the experts of a layer."""

    forward: tuple[Item, ...]
    backward: tuple[Item, ...]
    transfers: tuple[Item, ...]
    """Dispatch and combine of one direction, with nothing hidden."""


def reached(units: int, num_experts: int, experts_per_row: int) -> float:
    """Return how many of `units`, with equal shares of the experts, a row reaches on average.

    >>> reached(8, 8, 2), reached(4, 8, 8), round(reached(8, 256, 8), 2)
    (2.0, 4.0, 5.29)
    """
    others = num_experts - num_experts // units
    missed = comb(others, experts_per_row) / comb(num_experts, experts_per_row)
    return units * (1.0 - missed)


class ExpertClock:
    """Computes the times of experts under one plan."""

    def __init__(
        self,
        clock: KernelClock,
        plan: TrainingPlan,
        *,
        products: NumberFormat,
        constants: TrainingConstants,
    ) -> None:
        self._clock, self._plan = clock, plan
        self._format, self._constants = products, constants
        self._share = constants.share_of(products)
        self._forward: list[Item] = []
        self._backward: list[Item] = []

    def time(self, shape: ExpertShape, rows: int) -> ExpertTime:
        """Return the time of the experts for `rows` of one GPU."""
        self._forward, self._backward = [], []
        shares = self._plan.expert_tensor
        local = ceil(shape.num_experts / self._plan.expert)
        copies = rows * shape.experts_per_row
        gathered = copies * shares
        hidden = ceil(shape.hidden / shares)
        widened = (shape.matrices - 1) * hidden
        if shape.num_experts > 1:
            self._add_permutations(rows, copies, shape.features, is_sorted=local > 1)
        first = self._add_products(gathered, local, widened, shape.features)
        last = self._add_products(gathered, local, shape.features, hidden)
        self._add_activation(gathered * shape.matrices * hidden)
        if shares > 1:
            self._add_sharing(gathered * shape.features, first, last)
        transfers = tuple(self._transfers(shape, rows)) if self._plan.expert > 1 else ()
        return ExpertTime((*self._forward,), (*self._backward,), transfers)

    def _add_permutations(self, rows: int, copies: int, features: int, *, is_sorted: bool) -> None:
        """Add two permutations that copy rows or sum copies, and two that sort received rows."""
        moved = [rows + copies] * 2 + [2 * copies] * (2 if is_sorted else 0)
        for count in moved:
            kernel = Elementwise(count * features * ACTIVATION_BYTES)
            for items in (self._forward, self._backward):
                items.append(self._clock.time(kernel).item(PERMUTATION))

    def _add_products(
        self, rows: int, local: int, outputs: int, inputs: int
    ) -> tuple[float, float, float]:
        """Add a product of each expert; return the seconds of it and of its two gradients."""
        each = ceil(rows / local)
        sizes = ((each, outputs, inputs), (each, inputs, outputs), (outputs, inputs, each))
        times = [self._clock.time(Gemm(*size, self._format)) for size in sizes]
        items = [time.item(EXPERTS, local * time.seconds / self._share) for time in times]
        self._forward.append(items[0])
        self._backward += items[1:]
        if self._format in (NumberFormat.FP8, NumberFormat.FP8_BLOCK):
            self._add_cast(self._forward, rows * inputs)
            self._add_cast(self._backward, rows * outputs)
        return items[0].seconds, items[1].seconds, items[2].seconds

    def _add_cast(self, items: list[Item], elements: int) -> None:
        kernel = Elementwise(elements * self._constants.cast_traffic_bytes)
        items.append(self._clock.time(kernel).item(CASTS))

    def _add_activation(self, elements: int) -> None:
        num_bytes = elements * ACTIVATION_BYTES
        backward = num_bytes * self._constants.elementwise_backward
        for items, size in ((self._forward, num_bytes), (self._backward, backward)):
            items.append(self._clock.time(Elementwise(size)).item(ELEMENTWISE))

    def _add_sharing(
        self,
        elements: int,
        first: tuple[float, float, float],
        last: tuple[float, float, float],
    ) -> None:
        """Add the transfers among the GPUs that share an expert."""
        group = Group(self._plan.expert_tensor)
        gather, scatter = (
            self._clock.time(Communication(collective, elements * ACTIVATION_BYTES, group))
            for collective in (Collective.ALL_GATHER, Collective.REDUCE_SCATTER)
        )
        self._forward += [self._exposed(gather, first[0]), self._exposed(scatter, last[0])]
        self._backward += [self._exposed(gather, last[1]), self._exposed(scatter, first[2])]

    def _exposed(self, transfer: KernelTime, product: float) -> Item:
        """Return the part of a transfer that its product does not hide, at least one chunk."""
        hidden = product if self._plan.is_overlapped else 0.0
        left = max(transfer.seconds - hidden, transfer.seconds / self._plan.expert_tensor)
        return transfer.item(EXPERT_TENSOR_PARALLELISM, left)

    def _transfers(self, shape: ExpertShape, rows: int) -> Iterator[Item]:
        row_bytes = rows * shape.features * ACTIVATION_BYTES
        for kernel in self._messages(shape, row_bytes):
            time = self._clock.time(kernel)
            for _ in ("dispatch", "combine"):
                yield time.item(EXPERT_PARALLELISM)

    def _messages(self, shape: ExpertShape, row_bytes: float) -> Iterator[Communication]:
        """Yield the all-to-alls of a dispatch; a combine has the same bytes the other way."""
        group = Group(self._plan.expert, stride=self._plan.expert_tensor)
        chosen = shape.num_experts, shape.experts_per_row
        if not self._plan.sends_once:
            num_bytes = row_bytes * shape.experts_per_row
            yield Communication(Collective.ALL_TO_ALL, num_bytes, group)
            return
        inside = group.size_in_domain(self._clock.gpu)
        domains = ceil(group.size / inside)
        to_gpus = row_bytes * reached(group.size, *chosen)
        near = Group(inside, stride=group.stride)
        yield Communication(Collective.ALL_TO_ALL, to_gpus, near)
        if domains > 1:
            to_domains = row_bytes * reached(domains, *chosen)
            far = Group(domains, stride=group.stride * inside)
            yield Communication(Collective.ALL_TO_ALL, to_domains, far)
