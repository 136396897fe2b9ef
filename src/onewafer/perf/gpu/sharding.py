"""A piece of a model as the kernels of one GPU of a tensor-parallel group, for any number of rows.

In: the graph of a segment, the size of the group. Out: parts in the order of execution:

    part := Product(name, outputs, inputs, rows, is_quantized)  linear operations of one input: one
          | Attend(shape, is_causal)
          | Mix(shape)                                          experts
          | Fused(name, elements, rows, fixed, flop)            elementwise operations, one kernel
          | Exchange(collective, elements, rows)                between the GPUs of the group
          | ImplicitProduct(name, rows, outputs, inputs, taps, read)     see `feature_map_pieces`
          | Sweep(name, elements, fixed, flop, is_product)      likewise

Tensors are sharded by features, as in Megatron-LM (Shoeybi et al., 2019). A linear operation on a
whole input is column parallel: each GPU computes some of the outputs. One on a sharded input is row
parallel: each GPU computes partial sums, and an all-reduce follows. With more GPUs than heads of
keys and values, these are replicated. Every GPU computes norms, residual connections and the
routing. Experts are distributed over groups of GPUs, and each group shards its experts by features.
Embedding and head are sharded by the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from functools import singledispatchmethod
from typing import TYPE_CHECKING

from onewafer.graph import (
    Add,
    AddBias,
    Attention,
    Embedding,
    Experts,
    Gather,
    LastRow,
    LayerNorm,
    LayerPart,
    Linear,
    Multiply,
    OfElement,
    Opaque,
    PositionEmbedding,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
    Softmax,
    TopIndices,
    layer_parts,
)
from onewafer.perf.gpu.collectives import Collective
from onewafer.perf.gpu.kernels import AttentionShape, ExpertShape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onewafer.graph import Graph, Operation, Segment


class Rows(Enum):
    """The rows of a part."""

    ALL = "all"
    """Every token of the pass."""
    LAST = "last"
    """One row per sequence: its last token."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with a weight."""

    name: str
    outputs: int
    inputs: int
    rows: Rows
    is_quantized: bool
    """True if the weight has the precision of the job; that of the head stays in bf16."""
    is_choice: bool = False
    """True for the router: every GPU has its whole weight, in bf16."""


@dataclass(frozen=True, slots=True)
class Attend:
    """Attention of the heads of one GPU."""

    shape: AttentionShape
    is_causal: bool
    tokens: int | None = None
    """New tokens of each sequence if the model fixes them; None: those of the pass."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The experts of one GPU."""

    shape: ExpertShape


@dataclass(frozen=True, slots=True)
class Fused:
    """Elementwise operations in one kernel."""

    name: str
    elements: int
    """Elements read and written per row."""
    rows: Rows
    fixed: int = 0
    """Elements read once for all rows: parameters of opaque operations."""
    flop: float = 0.0
    """FLOP per row of opaque operations."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A collective of the group."""

    collective: Collective
    elements: int
    """Elements per row, over the group."""
    rows: Rows


@dataclass(frozen=True, slots=True)
class ImplicitProduct:
    """A convolution, or a linear operation at every pixel, as an implicit GEMM."""

    name: str
    rows: int
    """Output pixels per sample."""
    outputs: int
    inputs: int
    """Input features per tap."""
    taps: int
    read: int
    """Elements of feature maps read per sample: the input, and operands of fused operations."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A kernel that reads and writes feature maps, and computes little."""

    name: str
    elements: int
    """Elements read and written per sample."""
    fixed: int = 0
    """Elements of parameters, read once for all samples."""
    flop: int = 0
    """FLOP per sample."""
    is_product: bool = False
    """True if tensor cores do the arithmetic."""


Part = Product | Attend | Mix | Fused | Exchange | ImplicitProduct | Sweep


@dataclass(frozen=True, slots=True)
class ShardedPiece:
    """One piece of a segment on one GPU."""

    parts: tuple[Part, ...]
    quantized_weights: int
    """Elements on one GPU whose format is that of the job."""
    plain_weights: int
    """Elements on one GPU that stay in bf16."""
    cached_features: int
    """Elements of keys and values of a token on one GPU."""
    sample_elements: int = 0
    """Most live feature-map elements per sample; 0: the engine's reserve covers them."""
    expert_weights: int = 0
    """Elements of `quantized_weights` that are weights of experts."""


def shard(
    segment: Segment, group_size: int, *, expert_groups: int = 1, is_last: bool = False
) -> ShardedPiece:
    """Shard a segment's piece over `group_size` GPUs, which must divide the number of heads.

    Experts are distributed over `expert_groups`, which must divide the GPUs. The output product of
    a model's last segment (`is_last`) is its head.
    """
    return _Sharder(segment, group_size, expert_groups, is_last=is_last).piece()


def most_shards(segment: Segment) -> int:
    """Return the most GPUs that can share a piece: its attention heads; 1 without attention."""
    heads = (op.heads for op in segment.graph.operations if isinstance(op, Attention))
    return min(heads, default=1)


def num_experts(segment: Segment) -> int:
    """Return the number of experts of a layer; 1 without experts."""
    counts = (op.num_experts for op in segment.graph.operations if isinstance(op, Experts))
    return min(counts, default=1)


_ELEMENTWISE = (
    Add,
    AddBias,
    LayerNorm,
    Multiply,
    OfElement,
    Opaque,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatures,
)
_NORMS = (LayerNorm, RmsNorm)
_SELECTIONS = (Softmax, Gather, TopIndices)
"""Operations between the router's logits and the chosen experts."""


@dataclass(slots=True)
class _Cluster:
    """Elementwise operations that become one kernel."""

    start: int
    """Index of the first operation."""
    members: list[Operation] = field(default_factory=list["Operation"])

    @property
    def results(self) -> set[str]:
        return {operation.result.name for operation in self.members}

    @property
    def is_free(self) -> bool:
        """True if all members are views, or biases that a product adds as it writes its result."""
        return all(
            isinstance(operation, AddBias) or (isinstance(operation, Opaque) and operation.is_view)
            for operation in self.members
        )


class _Sharder:
    def __init__(
        self, segment: Segment, group_size: int, expert_groups: int, *, is_last: bool
    ) -> None:
        self._segment = segment
        self._expert_groups = expert_groups
        self._graph: Graph = segment.graph
        self._size = group_size
        self._operations = self._graph.operations
        self._kinds = [
            LayerPart.HEAD if is_last and self._is_output_product(operation) else kind
            for operation, kind in zip(self._operations, layer_parts(self._graph), strict=True)
        ]
        self._source = {op.result.name: op for op in self._operations}
        self._kv_heads = self._find_heads_of_keys_and_values()
        self._choices = self._find_choices()
        self._local: dict[str, int] = {t.name: t.shape[-1] for t in self._graph.inputs}
        """Features of a tensor on one GPU."""
        self._rows: dict[str, Rows] = {t.name: Rows.ALL for t in self._graph.inputs}
        self._parts: list[tuple[int, Part]] = []
        """Each part with the index of its first operation."""
        self._clusters: list[_Cluster] = []
        self._products: dict[tuple[str, LayerPart, bool], tuple[int, int]] = {}
        """(Input, layer part, is quantized) → index of the first operation and of its part."""
        self._position: dict[str, int] = {t.name: -1 for t in self._graph.inputs}

    def piece(self) -> ShardedPiece:
        for index, operation in enumerate(self._operations):
            self._visit(index, operation)
        self._add_fused()
        experts = sum(p.shape.elements_of_gpu for _, p in self._parts if isinstance(p, Mix))
        products, plain = self._count_weights()
        parts = tuple(part for _, part in sorted(self._parts, key=lambda entry: entry[0]))
        shapes = (p.shape for p in parts if isinstance(p, Attend) and p.is_causal)
        cached = sum(shape.token_elements for shape in shapes)
        quantized = products + experts
        return ShardedPiece(parts, quantized, plain, cached, expert_weights=experts)

    def _is_output_product(self, operation: Operation) -> bool:
        return isinstance(operation, Linear) and operation.result.name in self._graph.outputs

    def _visit(self, index: int, operation: Operation) -> None:
        operands = operation.activation_operands
        name = operation.result.name
        self._position[name] = index
        last = any(self._rows[operand] is Rows.LAST for operand in operands)
        self._rows[name] = Rows.LAST if last or isinstance(operation, LastRow) else Rows.ALL
        self._add(operation, index)

    @singledispatchmethod
    def _add(self, operation: Operation, index: int) -> None:
        """Shard the result as its operands are; gather operands that must be whole."""
        operands = operation.activation_operands
        whole = operation.result.shape[-1]
        if isinstance(operation, Opaque):
            own, of_all = self._share_of(operands)
            self._local[operation.result.name] = -(-whole * own // of_all)
            self._cluster_of(index, operation).members.append(operation)
            return
        widths = {self._local[operand] for operand in operands}
        is_whole_norm = isinstance(operation, _NORMS) and operation.groups == 1
        if len(widths) > 1 or (is_whole_norm and widths != {whole}):
            for operand in operands:
                self._gather(index, operand, whole)
            widths = {whole}
        (self._local[operation.result.name],) = widths
        if isinstance(operation, _ELEMENTWISE):
            self._cluster_of(index, operation).members.append(operation)

    def _share_of(self, names: tuple[str, ...]) -> tuple[int, int]:
        """Return local and total features of the operand with the smallest local share."""
        shares = [(self._local[name], self._graph.tensor(name).shape[-1]) for name in names]
        return min(shares, key=lambda share: share[0] / share[1], default=(1, 1))

    def _gather(self, index: int, name: str, whole: int) -> None:
        if self._local[name] != whole:
            part = Exchange(Collective.ALL_GATHER, whole, self._rows[name])
            self._parts.append((index, part))
            self._local[name] = whole

    def _cluster_of(self, index: int, operation: Operation) -> _Cluster:
        """Return a cluster that can take the operation, or a new one.

        Its operands must be results of the cluster, or older than the cluster's start.
        """
        operands = operation.activation_operands
        for cluster in reversed(self._clusters):
            inside = cluster.results
            if not inside.isdisjoint(operands):
                before = (o for o in operands if o not in inside)
                if all(self._position[operand] < cluster.start for operand in before):
                    return cluster
        self._clusters.append(_Cluster(index))
        return self._clusters[-1]

    @_add.register(Linear)
    def _add_product(self, operation: Linear, index: int) -> None:
        kind = self._kinds[index]
        name, is_head = operation.result.name, kind is LayerPart.HEAD
        if is_head:
            self._rows[name] = Rows.LAST
        outputs, inputs = self._graph.tensor(operation.weight).shape
        rows = self._rows[name]
        if self._local[operation.input] != inputs:  # row parallel: partial sums result
            local = self._local[operation.input]
            self._parts.append((index, Product(_title(kind), outputs, local, rows, not is_head)))
            self._parts.append((index, Exchange(Collective.ALL_REDUCE, outputs, rows)))
            self._local[name] = outputs
            return
        own = self._own_outputs(name, outputs)
        is_choice = name in self._choices
        is_plain = is_head or is_choice
        product = Product(_title(kind), own, inputs, rows, not is_plain, is_choice)
        self._join_product(index, operation.input, product)
        self._local[name] = own
        self._position[name] = self._products[operation.input, kind, not is_plain][0]
        if is_head:
            self._gather(index, name, outputs)

    def _join_product(self, index: int, source: str, product: Product) -> None:
        """Add a product, or widen an earlier one with the same input and format."""
        key = (source, self._kinds[index], product.is_quantized)
        if key not in self._products:
            self._products[key] = (index, len(self._parts))
            self._parts.append((index, product))
            return
        start, place = self._products[key]
        before = self._parts[place][1]
        assert isinstance(before, Product)
        joined = replace(before, outputs=before.outputs + product.outputs)
        self._parts[place] = (start, joined)

    def _own_outputs(self, name: str, outputs: int) -> int:
        """Return the outputs on one GPU: those of its heads of keys or values, or its share.

        The router has all its outputs on every GPU.
        """
        if name in self._choices:
            return outputs
        heads = self._kv_heads.get(name)
        if heads is not None and outputs < heads:
            return outputs  # features that all heads share
        if heads is not None:
            return outputs // heads * -(-heads // self._size)
        return -(-outputs // self._size)

    @_add.register(Attention)
    def _add_attention(self, operation: Attention, index: int) -> None:
        heads = -(-operation.heads // self._size)
        kv_heads = -(-operation.kv_heads // self._size)
        query = self._graph.tensor(operation.query).shape[-1] // operation.heads
        value = operation.result.shape[-1] // operation.heads
        kept = operation.cached_features
        if kept is not None and operation.kv_heads > 1:
            kept = -(-kept * kv_heads // operation.kv_heads)
        shape = AttentionShape(heads, kv_heads, (query + value) // 2, operation.window, kept)
        self._parts.append((index, Attend(shape, operation.is_causal)))
        self._local[operation.result.name] = heads * value
        self._join_clusters({operation.query, operation.key, operation.value})

    def _join_clusters(self, names: set[str]) -> None:
        """Merge the clusters before attention into one kernel, which also writes the cache."""
        leading = [cluster for cluster in self._clusters if not names.isdisjoint(cluster.results)]
        for cluster in leading[1:]:
            leading[0].members += cluster.members
            self._clusters.remove(cluster)

    @_add.register(Experts)
    def _add_experts(self, operation: Experts, index: int) -> None:
        features = operation.result.shape[-1]
        counts = (self._graph.tensor(n).num_elements for n in operation.weights)
        groups = self._expert_groups
        shape = ExpertShape(
            features=self._graph.tensor(operation.input).shape[-1],
            hidden=operation.hidden_features,
            elements=sum(counts) // operation.num_experts,
            num_experts=operation.num_experts,
            experts_per_row=operation.experts_per_row,
            tensor=self._size // groups,
            expert=groups,
        )
        self._parts.append((index, Mix(shape)))
        self._local[operation.result.name] = features
        if self._size > 1:
            self._parts.append((index, Exchange(Collective.ALL_REDUCE, features, Rows.ALL)))

    @_add.register(Embedding | PositionEmbedding)
    def _add_embedding(self, operation: Embedding | PositionEmbedding, index: int) -> None:
        features = operation.result.shape[-1]
        self._local[operation.result.name] = features
        self._parts.append((index, Fused("embedding", 2 * features, Rows.ALL)))
        if isinstance(operation, Embedding) and self._size > 1:
            self._parts.append((index, Exchange(Collective.ALL_REDUCE, features, Rows.ALL)))

    def _add_fused(self) -> None:
        """Add the clusters; a piece's last addition is fused into the next piece's first norm."""
        costs = [(c, self._elements(c)) for c in self._clusters if not c.is_free]
        first = next((c for c, _ in costs if self._begins_with_norm(c)), None)
        carried = 0
        for cluster, elements in costs:
            if first not in (None, cluster) and self._is_last_addition(cluster):
                carried += elements
        for cluster, elements in costs:
            if first not in (None, cluster) and self._is_last_addition(cluster):
                continue
            rows = self._rows[cluster.members[-1].result.name]
            own = elements + (carried if cluster is first else 0)
            fixed, flop = self._opaque_work(cluster)
            fused = Fused("norms and activations", own, rows, fixed, flop)
            self._parts.append((cluster.start, fused))

    def _elements(self, cluster: _Cluster) -> int:
        """Return the elements per row that a cluster reads from outside and writes for others."""
        inside = cluster.results
        read = {o for m in cluster.members for o in m.activation_operands} - inside
        outside = [op for op in self._operations if op.result.name not in inside]
        wanted = {o for op in outside for o in op.activation_operands} | {*self._graph.outputs}
        return sum(self._local[name] for name in read | (inside & wanted))

    def _opaque_work(self, cluster: _Cluster) -> tuple[int, float]:
        """Return the parameter elements and the FLOP per row of a cluster's opaque operations."""
        fixed, flop = 0, 0.0
        for operation in cluster.members:
            if isinstance(operation, Opaque) and not operation.is_view:
                own = self._local[operation.result.name] / operation.result.shape[-1]
                tables = sum(self._graph.tensor(n).num_elements for n in operation.parameters)
                fixed += round(tables * own)
                flop += operation.flop_per_element * self._local[operation.result.name]
        return fixed, flop

    def _begins_with_norm(self, cluster: _Cluster) -> bool:
        inputs = {tensor.name for tensor in self._graph.inputs}
        first = cluster.members[0]
        return isinstance(first, _NORMS) and first.input in inputs

    def _is_last_addition(self, cluster: _Cluster) -> bool:
        match cluster.members:
            case [Add() as addition]:
                return addition.result.name in self._graph.outputs
            case _:
                return False

    def _find_heads_of_keys_and_values(self) -> dict[str, int]:
        """Return the number of heads of each linear result that becomes keys or values."""
        found: dict[str, int] = {}
        for operation in self._operations:
            if isinstance(operation, Attention):
                for name in (operation.key, operation.value):
                    for source in self._linear_sources(name):
                        found[source] = operation.kv_heads
        return found

    def _find_choices(self) -> set[str]:
        """Return the linear results that are the router's logits."""
        chosen = (op.choice for op in self._operations if isinstance(op, Experts))
        return {source for name in chosen for source in self._linear_sources(name)}

    def _linear_sources(self, name: str) -> Iterable[str]:
        operation = self._source.get(name)
        if isinstance(operation, Linear):
            yield name
        elif isinstance(operation, (*_ELEMENTWISE, *_SELECTIONS)):
            for operand in operation.activation_operands:
                yield from self._linear_sources(operand)

    def _count_weights(self) -> tuple[int, int]:
        """Return the weights on one GPU in the job's format and in bf16, experts excluded."""
        products = [part for _, part in self._parts if isinstance(part, Product)]
        quantized = sum(p.outputs * p.inputs for p in products if p.is_quantized)
        plain = sum(p.outputs * p.inputs for p in products if not p.is_quantized)
        learned = {tensor.name: tensor.num_elements for tensor in self._segment.weights}
        for operation in self._operations:
            if isinstance(operation, Linear | Experts):
                continue
            own = sum(learned.get(name, 0) for name in operation.parameter_operands)
            plain += -(-own // self._size) if isinstance(operation, Embedding) else own
        return quantized, plain


def _title(kind: LayerPart) -> str:
    return "attention projections" if kind is LayerPart.ATTENTION else str(kind)
