"""The pieces of a model on feature maps under a plan: each GPU has the whole model.

A micro-batch is some samples. Its BatchNorms have statistics of their own, as those of PyTorch's
DistributedDataParallel have; nothing is exchanged for them.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from onewafer.perf.breakdown import Breakdown, Item, Limit
from onewafer.perf.gpu.feature_map_pieces import sweep_kernel
from onewafer.perf.gpu.kernels import Elementwise, NumberFormat, PrefillAttention
from onewafer.perf.gpu.sharding import Attend, Sweep
from onewafer.perf.gpu.training_layer import LOSS, HiddenWays, PieceTime
from onewafer.perf.gpu.training_map_kernels import WeightedMaps, trained_piece
from onewafer.perf.gpu.training_pieces import Pieces, WeightCounts
from onewafer.perf.kept_activations import ACTIVATION_BYTES, Recompute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onewafer.perf.gpu.clock import KernelTime
    from onewafer.perf.gpu.kernels import Kernel
    from onewafer.perf.gpu.training_map_kernels import MapPart, TrainedPiece
    from onewafer.perf.gpu.training_plan import TrainingPlan


class MapPieces(Pieces):
    """The pieces of one model on feature maps for one job."""

    @cached_property
    def _trained(self) -> Callable[[int], TrainedPiece]:
        return cache(self._piece)

    def _piece(self, index: int) -> TrainedPiece:
        segment = self.segments[index]
        return trained_piece(
            segment,
            is_first=index == 0 and segment.repeats == 1,
            is_last=index == len(self.segments) - 1,
        )

    def count_weights(self, index: int, plan: TrainingPlan) -> WeightCounts:
        """Return the weights of a piece, all of which a GPU has."""
        del plan
        return WeightCounts(self._trained(index).num_weights, 0)

    def count_kept(self, index: int, plan: TrainingPlan) -> float:
        """Return the bytes that one micro-batch keeps for the backward pass of a piece."""
        piece = self._trained(index)
        is_whole = plan.recompute is Recompute.FULL
        elements = piece.input_elements if is_whole else piece.kept_elements
        return elements * ACTIVATION_BYTES * plan.micro_batch

    def count_logits(self, index: int, plan: TrainingPlan) -> int:
        """Return the elements of a micro-batch that the loss is computed of."""
        is_last = index == len(self.segments) - 1
        return self._trained(index).result_elements * plan.micro_batch if is_last else 0

    def time(self, index: int, plan: TrainingPlan) -> PieceTime:
        """Return the time of one micro-batch in a piece."""
        piece, samples = self._trained(index), plan.micro_batch
        loss = [*self._loss(self.count_logits(index, plan))]
        forward = [self._item(part, samples) for part in piece.forward]
        backward = [
            self._item(part, samples, self.constants.attention_backward)
            if isinstance(part, Attend)
            else self._item(part, samples)
            for part in piece.backward
        ]
        return PieceTime(
            Breakdown((*forward, *loss)).merged(),
            Breakdown((*loss, *backward)).merged(),
            elementwise=Breakdown(),
            hidden=HiddenWays(0.0, 0.0),
            hidden_limit=Limit.NVLINK,
        )

    def _loss(self, logits: int) -> Iterator[Item]:
        if logits:
            half = Elementwise(logits * self.constants.loss_traffic_bytes / 2)
            yield _item(LOSS, self.clock.time(half))

    def _item(self, part: MapPart, samples: int, factor: float = 1.0) -> Item:
        """Return the time of a part; products and attention do not sustain their speed alone."""
        name = "attention" if isinstance(part, Attend) else part.name
        is_product = not isinstance(part, Sweep) or part.is_product
        share = self.constants.share_of(self.products) if is_product else 1.0
        return _item(name, self.clock.time(self._kernel(part, samples)), factor / share)

    def _kernel(self, part: MapPart, samples: int) -> Kernel:
        match part:
            case WeightedMaps():
                return part.kernel(samples, self.products)
            case Sweep():
                return sweep_kernel(part, samples, self.products)
            case Attend():
                rows = part.tokens or self.job.sequence
                number_format = NumberFormat.BF16
                return PrefillAttention(part.shape, samples, rows, 0, number_format, part.is_causal)


def _item(name: str, time: KernelTime, factor: float = 1.0) -> Item:
    return Item(
        name=name,
        seconds=time.seconds * factor,
        limit=time.limit,
        is_cross_checked=time.is_measured,
    )
