"""A piece of a model on feature maps as kernels of one GPU, for each sample of a batch.

In: the graph of a segment, whose rows are pixels of maps. Out: parts as `sharding` has them:

    ImplicitProduct   a convolution, or a linear operation at every pixel: a product of the taps
                      of each pixel by a weight, which no matrix is made for
    Sweep             anything else on feature maps: pools, depthwise convolutions,
                      norms
    Attend            attention among the pixels of a sample

Elementwise operations on a result (the scale and shift of a batch norm, an activation, a residual
connection) are fused into the kernel that writes it, as compilers of inference do; they only read
the other operand. Those that a piece begins with are fused into the piece before.
"""

from __future__ import annotations

from functools import singledispatchmethod
from typing import TYPE_CHECKING

from onewafer.graph import (
    Attention,
    BatchedMatmul,
    BatchNorm,
    Convolution,
    DepthwiseConvolution,
    Embedding,
    Experts,
    GlobalAveragePool,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool,
    RmsNorm,
)
from onewafer.perf.gpu.feature_map_kernels import count_readers, form_kernels
from onewafer.perf.gpu.kernels import AttentionShape, Elementwise, Vector
from onewafer.perf.gpu.sharding import Attend, ImplicitProduct, ShardedPiece, Sweep

if TYPE_CHECKING:
    from onewafer.graph import Graph, Operation, Segment
    from onewafer.perf.gpu.feature_map_kernels import MapKernel
    from onewafer.perf.gpu.kernels import NumberFormat
    from onewafer.perf.gpu.sharding import Part

_PRODUCTS = (Linear, Convolution)
_TENSOR_CORES = (BatchedMatmul, Experts)
"""Operations of a sweep that tensor cores compute."""
_TITLES: dict[type[object], str] = {
    BatchedMatmul: "attention",
    BatchNorm: "norms and activations",
    DepthwiseConvolution: "depthwise convolutions",
    Embedding: "embedding",
    Experts: "experts",
    GroupNorm: "norms and activations",
    LayerNorm: "norms and activations",
    MaxPool: "pools",
    GlobalAveragePool: "pools",
    RmsNorm: "norms and activations",
}


def piece_on_feature_maps(
    segment: Segment, *, is_first: bool = False, is_last: bool = False
) -> ShardedPiece:
    """Return a segment's piece on one GPU, which has all of it."""
    return _Piece(segment, is_first=is_first, is_last=is_last).piece()


def attention_of_sample(operation: Attention, graph: Graph) -> Attend:
    """Return attention among all rows of a sample."""
    rows, features = graph.tensor(operation.query).shape
    query = features // operation.heads
    value = operation.result.shape[-1] // operation.heads
    shape = AttentionShape(
        operation.heads, operation.kv_heads, (query + value) // 2, operation.window
    )
    return Attend(shape, operation.is_causal, tokens=rows)


def sweep_kernel(part: Sweep, samples: int, number_format: NumberFormat) -> Elementwise | Vector:
    """Return the kernel of a sweep over the feature maps of some samples."""
    num_bytes = (part.elements * samples + part.fixed) * number_format.num_bytes
    kind = Elementwise if part.is_product else Vector
    return kind(num_bytes, part.flop * samples)


def title_of_product(operation: Operation, rows: int, *, is_last: bool) -> str:
    """Return the title of a product with a weight, by its rows per sample."""
    if isinstance(operation, Linear) and rows == 1:
        return "head" if is_last else "MLP"
    return "convolutions"


def title_of(operation: Operation) -> str:
    """Return the title of a kernel without products, by its first operation."""
    return _TITLES.get(type(operation), "other operations")


class _Piece:
    def __init__(self, segment: Segment, *, is_first: bool, is_last: bool) -> None:
        self._segment = segment
        self._graph = segment.graph
        self._is_first, self._is_last = is_first, is_last
        self._elements = {tensor.name: tensor.num_elements for tensor in self._graph.tensors}
        self._num_readers = count_readers(self._graph)
        self._kernels, self._same_as = form_kernels(
            self._graph,
            may_join=lambda kernel, operation: True,  # noqa: ARG005  # whatever they are
            is_done_before=self._is_done_before,
        )

    def piece(self) -> ShardedPiece:
        quantized, plain = self._count_weights()
        return ShardedPiece(
            tuple(map(self._part, self._kernels)),
            quantized,
            plain,
            cached_features=0,
            sample_elements=self._most_live(),
        )

    def _is_done_before(self, names: list[str]) -> bool:
        """Tell whether an operation on the piece's input is fused into the piece before."""
        (name, *others) = names
        is_input = any(tensor.name == name for tensor in self._graph.inputs)
        return is_input and not others and not self._is_first and self._num_readers[name] == 1

    def _part(self, kernel: MapKernel) -> Part:
        return self._part_of(kernel.first, kernel)

    @singledispatchmethod
    def _part_of(self, operation: Operation, kernel: MapKernel) -> Part:
        """Return the kernel that begins with an operation: a sweep, unless it multiplies."""
        work = operation.count_work(self._graph.by_name)
        return Sweep(
            title_of(operation),
            elements=self._elements_read(kernel) + self._elements[kernel.result],
            fixed=work.weights,
            flop=work.flop,
            is_product=isinstance(operation, _TENSOR_CORES),
        )

    @_part_of.register(Linear | Convolution)
    def _multiply(self, operation: Linear | Convolution, kernel: MapKernel) -> ImplicitProduct:
        taps = operation.window.num_taps if isinstance(operation, Convolution) else 1
        outputs, inputs = self._graph.tensor(operation.weight).shape[-2:]
        rows = operation.result.num_elements // outputs
        seen = min(self._elements[operation.input], rows * taps * inputs)
        read = self._elements_read(kernel) + seen - self._elements[operation.input]
        return ImplicitProduct(self._title(operation, rows), rows, outputs, inputs, taps, read)

    def _elements_read(self, kernel: MapKernel) -> int:
        return sum(self._elements[name] for name in {*kernel.read})

    def _title(self, operation: Operation, rows: int) -> str:
        return title_of_product(operation, rows, is_last=self._is_last)

    @_part_of.register(Attention)
    def _attend(self, operation: Attention, kernel: MapKernel) -> Attend:
        del kernel
        return attention_of_sample(operation, self._graph)

    def _count_weights(self) -> tuple[int, int]:
        """Return the elements in the job's format, and those in bf16."""
        learned = {tensor.name: tensor.num_elements for tensor in self._segment.weights}
        products = {op.weight for op in self._graph.operations if isinstance(op, _PRODUCTS)}
        quantized = sum(count for name, count in learned.items() if name in products)
        return quantized, sum(learned.values()) - quantized

    def _most_live(self) -> int:
        """Return the largest number of live feature-map elements per sample."""
        last = {name: index for index, kernel in enumerate(self._kernels) for name in kernel.read}
        last |= {self._same_as.get(name, name): len(self._kernels) for name in self._graph.outputs}
        live = {tensor.name for tensor in self._graph.inputs}
        most = 0
        for index, kernel in enumerate(self._kernels):
            live.add(kernel.result)
            most = max(most, sum(self._elements[name] for name in live))
            live = {name for name in live if last.get(name, -1) > index}
        return most
