"""A piece of a model on feature maps as kernels of a training step on one GPU.

In: the graph of a segment, whose rows are those of one sample. Out: kernels of the forward and of
the backward pass, whose sizes are closed forms of the graph, for each sample of a micro-batch:

    WeightedMaps   a product with a weight, without a matrix of taps. A convolution has three:
                   forward N·P·Q × K over C·R·S, of the input N·H·W × C over K·R·S, of the weight
                   C·R·S × K over N·P·Q (NVIDIA, Convolutional Layers User's Guide, the table of
                   GEMM parameters; cuDNN, Chetlur et al., arXiv 1410.0759, section 3). With a
                   stride, a pixel of the input meets P·Q·R·S / (H·W) taps in the mean: the three
                   have the same FLOP
    Sweep          anything else: each feature map that it needs is read, each that it makes is
                   written. A norm over the batch reads its input twice forward, and both operands
                   twice backward, first for sums (Jung et al., Restructuring Batch Normalization to
                   Accelerate CNN Training, arXiv 1807.01702, section 3)
    Attend         attention among the rows of a sample

The gradient rules of the graph tell which maps the backward pass needs, and its FLOP. A chain of
elementwise operations is one kernel, with the norm or pool before it. A product is fused only with
its bias, whose gradient comes with that of the weight (epilogues of cuBLASLt). Intermediate results
of a chain are recomputed from its inputs. Where several kernels read a map, the later ones add to
its gradient as they write it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError, GraphError
from onewafer.graph import (
    AddBias,
    Attention,
    BatchedMatmul,
    BatchedOuter,
    BatchNorm,
    Convolution,
    ConvolutionInputGradient,
    ConvolutionWeightGradient,
    Graph,
    Linear,
    LinearInputGradient,
    LinearWeightGradient,
    derive_gradients,
)
from onewafer.perf.gpu.feature_map_kernels import form_kernels
from onewafer.perf.gpu.feature_map_pieces import attention_of_sample, title_of, title_of_product
from onewafer.perf.gpu.kernels import Convolution as ConvolutionKernel
from onewafer.perf.gpu.sharding import Attend, Sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from onewafer.graph import Gradients, Operation, Segment, Tensor
    from onewafer.perf.gpu.feature_map_kernels import MapKernel
    from onewafer.perf.gpu.kernels import NumberFormat

    Tensors = Mapping[str, Tensor]

_PRODUCTS = (Linear, Convolution)
_OF_TENSOR_CORES = (BatchedMatmul, BatchedOuter)
_STATISTICS = 2
"""16-bit elements that attention saves per row and head: a logarithm in fp32."""


@dataclass(frozen=True, slots=True)
class WeightedMaps:
    """A product with a weight, or one that computes the gradient of a weight."""

    name: str
    rows: int
    """Rows of the result: per sample, or in all where samples are summed."""
    outputs: int
    depth: float
    """Mean number of products summed per result."""
    elements: int
    """Elements of feature maps read and written per sample."""
    fixed: int
    """Elements of the weight, or of its gradient."""
    is_dense: bool
    """True if the window has one tap."""
    adds_samples: bool = False
    """True if samples are summed: the result is the gradient of a weight."""

    def kernel(self, samples: int, number_format: NumberFormat) -> ConvolutionKernel:
        """Return the kernel for some samples."""
        return ConvolutionKernel(
            rows=self.rows * (1 if self.adds_samples else samples),
            outputs=self.outputs,
            depth=self.depth * (samples if self.adds_samples else 1),
            elements=self.elements * samples + self.fixed,
            number_format=number_format,
            is_dense=self.is_dense,
        )


MapPart = WeightedMaps | Sweep | Attend


@dataclass(frozen=True, slots=True)
class TrainedPiece:
    """One piece of a segment on one GPU, which has all of it."""

    forward: tuple[MapPart, ...]
    backward: tuple[MapPart, ...]
    """In the order of execution. Attention is the forward kernel, whose backward time is a
    multiple."""
    num_weights: int
    kept_elements: int
    """Elements per sample that the forward pass saves for the backward pass."""
    input_elements: int
    """Elements per sample of the piece's input."""
    result_elements: int
    """Elements per sample of the piece's outputs."""


def trained_piece(
    segment: Segment, *, is_first: bool = False, is_last: bool = False
) -> TrainedPiece:
    """Return the kernels of a piece; the input of a model's first piece needs no gradient.

    Raise ConfigurationError for an operation that has no rule of gradients.
    """
    return _Piece(segment, is_first=is_first, is_last=is_last).piece()


@dataclass(slots=True)
class _Backward:
    """The backward pass in the making."""

    parts: list[MapPart] = field(default_factory=list[MapPart])
    kept: set[str] = field(default_factory=set[str])
    begun: set[str] = field(default_factory=set[str])
    """Feature maps whose gradient has at least one term."""


class _Piece:
    def __init__(self, segment: Segment, *, is_first: bool, is_last: bool) -> None:
        self._graph = segment.graph
        self._learned = {tensor.name for tensor in segment.weights}
        self._elements = {tensor.name: tensor.num_elements for tensor in self._graph.tensors}
        self._is_last = is_last
        self._kernels, self._same_as = form_kernels(
            self._graph,
            may_join=_may_join,
            is_done_before=lambda names: False,  # noqa: ARG005  # what pieces begin with is theirs
        )
        stream = self._graph.inputs[0].name
        self._needed = self._learned | (set[str]() if is_first else {stream})
        """Tensors that need a gradient."""
        for kernel in self._kernels:
            if not self._needed.isdisjoint((*kernel.read, *_parameters(kernel))):
                self._needed.add(kernel.result)

    def piece(self) -> TrainedPiece:
        backward = _Backward()
        outputs = [self._same_as.get(name, name) for name in self._graph.outputs]
        for kernel in reversed(self._kernels):
            if kernel.result in self._needed:
                self._add_backward(kernel, backward)
        heads = (op for op in self._graph.operations if isinstance(op, Attention))
        statistics = sum(_STATISTICS * op.heads * op.result.shape[0] for op in heads)
        return TrainedPiece(
            forward=tuple(map(self._forward, self._kernels)),
            backward=(*backward.parts,),
            num_weights=sum(self._elements[name] for name in self._learned),
            kept_elements=self._count(backward.kept) + statistics,
            input_elements=self._elements[self._graph.inputs[0].name],
            result_elements=self._count({*outputs}),
        )

    def _count(self, names: Collection[str]) -> int:
        return sum(self._elements[name] for name in names)

    # --- forward ----------------------------------------------------------------------------

    def _forward(self, kernel: MapKernel) -> MapPart:
        first, graph = kernel.first, self._graph
        if isinstance(first, Attention):
            return attention_of_sample(first, graph)
        if isinstance(first, _PRODUCTS):
            return self._product(kernel, first)
        tensors = graph.by_name
        again = kernel.read[:1] if isinstance(first, BatchNorm) else []
        return Sweep(
            title_of(first),
            elements=self._count([*{*kernel.read}, *again, kernel.result]),
            fixed=sum(self._elements[name] for name in {*_parameters(kernel)}),
            flop=sum(operation.count_flop(tensors) for operation in kernel.operations),
            is_product=isinstance(first, _OF_TENSOR_CORES),
        )

    def _product(self, kernel: MapKernel, operation: Linear | Convolution) -> WeightedMaps:
        outputs, inputs = self._graph.tensor(operation.weight).shape[-2:]
        depth = self._elements[operation.weight] // outputs
        rows = operation.result.num_elements // outputs
        return WeightedMaps(
            self._title(kernel),
            rows,
            outputs,
            depth,
            elements=min(self._elements[kernel.read[0]], rows * depth) + rows * outputs,
            fixed=depth * outputs,
            is_dense=depth == inputs,
        )

    def _title(self, kernel: MapKernel) -> str:
        first = kernel.first
        if not isinstance(first, _PRODUCTS):
            return title_of(first)
        rows = first.result.num_elements // first.result.shape[-1]
        return title_of_product(first, rows, is_last=self._is_last)

    # --- backward ---------------------------------------------------------------------------

    def _add_backward(self, kernel: MapKernel, backward: _Backward) -> None:
        first = kernel.first
        if isinstance(first, Attention):
            backward.parts.append(attention_of_sample(first, self._graph))
            backward.kept |= {*kernel.read, kernel.result}
            self._begin([name for name in kernel.read if name in self._needed], backward)
            return
        gradients = self._gradients(kernel)
        operations = gradients.graph.operations[gradients.num_forward :]
        products = [op for op in operations if op.is_product]
        for operation in products:
            self._add_product(kernel, operation, gradients, backward)
        others = [op for op in operations if not op.is_product]
        if not first.is_product:
            self._add_sweep(kernel, others, gradients, backward)

    def _gradients(self, kernel: MapKernel) -> Gradients:
        tensors = self._graph.by_name
        read, parameters = [*dict.fromkeys(kernel.read)], [*dict.fromkeys(_parameters(kernel))]
        graph = Graph(
            kernel.result,
            tuple(tensors[name] for name in read),
            tuple(tensors[name] for name in parameters),
            tuple(operation.renamed(self._same_as) for operation in kernel.operations),
            (kernel.result,),
        )
        wanted = [name for name in (*read, *parameters) if name in self._needed]
        try:
            return derive_gradients(graph, wanted)
        except GraphError as error:
            raise ConfigurationError(f"there are no equations for its training: {error}") from error

    def _add_product(
        self, kernel: MapKernel, operation: Operation, gradients: Gradients, backward: _Backward
    ) -> None:
        """Add the product that computes the gradient of an input or of a weight."""
        backward.kept |= {*operation.activation_operands} & {*kernel.read}
        target = _target(gradients, operation)
        of_weight = target in self._learned
        added = 0 if target is None or of_weight else self._begin([target], backward)
        tensors, title = gradients.graph.by_name, self._title(kernel)
        product = _gradient_product(operation, tensors, title)
        if product is not None:
            backward.parts.append(replace(product, elements=product.elements + added))
            return
        result = operation.result.num_elements
        maps = sum(tensors[name].num_elements for name in {*operation.activation_operands})
        weights = sum(tensors[name].num_elements for name in {*operation.parameter_operands})
        backward.parts.append(
            Sweep(
                title,
                elements=maps + added + (0 if of_weight else result),
                fixed=weights + (result if of_weight else 0),
                flop=operation.count_flop(tensors),
                is_product=isinstance(operation, _OF_TENSOR_CORES),
            )
        )

    def _add_sweep(
        self,
        kernel: MapKernel,
        operations: list[Operation],
        gradients: Gradients,
        backward: _Backward,
    ) -> None:
        """Add the backward kernel of a chain, and sums of gradients that it passes on unchanged."""
        (seed,) = gradients.seeds.values()
        name, result = title_of(kernel.first), self._elements[kernel.result]
        targets = {one: gradients.by_name.get(one) for one in {*kernel.read} & self._needed}
        for one in (one for one, gradient in targets.items() if gradient == seed):
            if added := self._begin([one], backward):
                backward.parts.append(Sweep(name, elements=3 * added))
        if not operations:
            return
        tensors = gradients.graph.by_name
        made = [one for one, gradient in targets.items() if gradient not in (None, seed)]
        written = sum(tensors[one].num_elements for one in {targets[one] for one in made} if one)
        needed = self._read_backward(kernel, operations)
        backward.kept |= needed
        passes = 2 if isinstance(kernel.first, BatchNorm) else 1
        backward.parts.append(
            Sweep(
                name,
                elements=passes * (self._count(needed) + result)
                + written
                + self._begin(made, backward),
                fixed=sum(self._elements[one] for one in {*_parameters(kernel)}),
                flop=sum(operation.count_flop(tensors) for operation in operations),
            )
        )

    def _read_backward(self, kernel: MapKernel, operations: list[Operation]) -> set[str]:
        """Return the feature maps of the forward pass that gradient rules read."""
        operands = {name for operation in operations for name in operation.activation_operands}
        made = {operation.result.name for operation in kernel.operations}
        if operands.isdisjoint(made):
            return operands & {*kernel.read}
        if len(kernel.operations) > 1:
            return {*kernel.read}  # intermediate results are recomputed
        return operands & {*kernel.read, kernel.result}

    def _begin(self, names: list[str], backward: _Backward) -> int:
        """Return the elements of existing gradients that these are added to."""
        there = backward.begun & {*names}
        backward.begun |= {*names}
        return self._count(there)


def _may_join(kernel: MapKernel, operation: Operation) -> bool:
    """Tell whether an operation can be fused into a kernel of a training step."""
    if isinstance(kernel.first, Attention) or kernel.first.is_product:
        return isinstance(operation, AddBias)
    return True


def _parameters(kernel: MapKernel) -> list[str]:
    return [name for operation in kernel.operations for name in operation.parameter_operands]


def _target(gradients: Gradients, operation: Operation) -> str | None:
    """Return the tensor whose gradient an operation computes; None for intermediate results."""
    found = (name for name, grad in gradients.by_name.items() if grad == operation.result.name)
    return next(found, None)


@singledispatch
def _gradient_product(operation: Operation, tensors: Tensors, name: str) -> WeightedMaps | None:
    """Return the product that a backward operation is; None: it involves no weight."""
    del operation, tensors, name


@_gradient_product.register(ConvolutionInputGradient | LinearInputGradient)
def _(
    operation: ConvolutionInputGradient | LinearInputGradient, tensors: Tensors, name: str
) -> WeightedMaps:
    weight, gradient = tensors[operation.weight], tensors[operation.gradient]
    inputs = operation.result.shape[-1]
    rows = operation.result.num_elements // inputs
    return WeightedMaps(
        name,
        rows,
        inputs,
        depth=gradient.num_elements * weight.num_elements / (rows * weight.shape[-2] * inputs),
        elements=gradient.num_elements + operation.result.num_elements,
        fixed=weight.num_elements,
        is_dense=weight.num_elements == weight.shape[-2] * inputs,
    )


@_gradient_product.register(ConvolutionWeightGradient | LinearWeightGradient)
def _(
    operation: ConvolutionWeightGradient | LinearWeightGradient, tensors: Tensors, name: str
) -> WeightedMaps:
    gradient, read = tensors[operation.gradient], tensors[operation.input]
    outputs = gradient.shape[-1]
    rows = gradient.num_elements // outputs
    columns = operation.result.num_elements // outputs
    return WeightedMaps(
        name,
        outputs,
        columns,
        depth=rows,
        elements=gradient.num_elements + min(read.num_elements, rows * columns),
        fixed=operation.result.num_elements,
        is_dense=columns == read.shape[-1],
        adds_samples=True,
    )
