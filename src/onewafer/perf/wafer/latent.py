"""Multi-head latent attention, by operations that have a form on the mesh.

Multi-head latent attention caches one vector a token: L latent features, of which keys and values
of all heads are made, and R rotated ones that all heads share (DeepSeek-V2, arXiv:2405.04434,
section 2.1). With H heads, of P unrotated key features and V value features each, it is computed in
one of two forms:

    absorbed   What makes keys multiplies the queries instead, what makes values multiplies what
               attention gives: H query heads of L + R features meet one key head, whose first L
               features are its values. Kernels serve a few query heads with a key head, so latent
               vectors lie along the axis of features in copies, each with its share of the heads.
    expanded   Keys and values of all heads are made of the latent vectors as these come, and are
               there as long as the prompt is read: fewer products for a pair of tokens, and
               H · (P + R + V) numbers of a token in the place of L + R. Heads whose keys and values
               differ in size are counted as heads of their mean.

Products of heads (to keys, to values) are linear operations with block-diagonal weights; zero
blocks are neither stored nor multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Attention,
    Linear,
    Opaque,
    RmsNorm,
    Tensor,
)
from onewafer.perf.jobs import Prefill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onewafer.graph import Graph, Operation
    from onewafer.perf.jobs import Job
    from onewafer.perf.model import Model


@dataclass(frozen=True, slots=True)
class LatentForm:
    """A form of attention to latent vectors."""

    group: int = 8
    """Most query heads that share a copy of the latent vectors."""
    is_expanded: bool = False
    """True if each head has its own keys and values while a prompt is read."""

    def copies(self, heads: int) -> int:
        """Return the number of copies of the latent vectors, each for equally many heads.

        >>> LatentForm(8).copies(128), LatentForm(8).copies(20)
        (16, 4)
        """
        return heads // next(group for group in range(self.group, 0, -1) if heads % group == 0)

    def __str__(self) -> str:
        """Return the form in words, for a note."""
        kept = f"with a copy of the latent vectors for each {self.group} query heads"
        return f"{kept}, expanded while a prompt is read" if self.is_expanded else kept


USUAL_FORM = LatentForm()
_GROUPS = (8, 32)
"""Query heads per copy that are tried: few make reductions short, many save cache memory. Kernels
have strides for 63."""


def latent_forms(model: Model, job: Job) -> tuple[LatentForm, ...]:
    """Return the forms in which a job of a model can be done.

    Decoding does not expand keys and values: they would be recomputed for every token, or cached
    instead of the latent vectors.
    """
    if not has_latent_attention(model):
        return (USUAL_FORM,)
    absorbed = tuple(map(LatentForm, _GROUPS))
    if not isinstance(job, Prefill):
        return absorbed
    return (*absorbed, LatentForm(_GROUPS[-1], is_expanded=True))


def reading_forms(model: Model, form: LatentForm) -> tuple[LatentForm, ...]:
    """Return the forms for reading prompts whose cache is that of a form."""
    if not has_latent_attention(model):
        return (form,)
    return form, replace(form, is_expanded=True)


@dataclass(slots=True)
class Rewritten:
    """A graph without latent attention, and the properties of the tensors that replace it."""

    graph: Graph
    parameters: list[Tensor] = field(default_factory=list[Tensor])
    """Weights that were added to the graph."""
    stored: dict[str, float] = field(default_factory=dict[str, float])
    """Weight → stored bytes ÷ bytes of its shape."""
    head_products: dict[str, int] = field(default_factory=dict[str, int])
    """Block-diagonal weight → number of heads."""
    estimated: set[str] = field(default_factory=set[str])
    """Results of operations that replace others."""
    kept_share: float = 1.0
    """Share of the graph's keys and values that is cached for later tokens."""
    passing_share: float = 0.0
    """Share of keys and values that exists for one sequence at a time, while its prompt is read."""


def has_latent_attention(model: Model) -> bool:
    """Tell whether a model has attention to latent vectors."""
    return any(_is_latent(op) for segment in model.segments for op in segment.graph.operations)


def without_latent_attention(graph: Graph, form: LatentForm) -> Rewritten:
    """Replace attention to latent vectors by ordinary attention.

    Raises UnsupportedOperationError where latent vectors are not made and read by products.
    """
    rewritten = Rewritten(graph)
    for operation in graph.operations:
        if isinstance(operation, Attention) and _is_latent(operation):
            parts = _find_parts(operation, rewritten.graph)
            one = _Rewriting(parts, rewritten)
            copies = form.copies(operation.heads)
            put = one.expanded(copies) if form.is_expanded else one.absorbed(copies)
            rewritten.graph = replace(
                rewritten.graph,
                operations=tuple(
                    new
                    for old in rewritten.graph.operations
                    for new in put.get(old.result.name, (old,))
                ),
            )
    return rewritten


def _is_latent(operation: Operation) -> bool:
    return isinstance(operation, Attention) and operation.cached_features is not None


@dataclass(frozen=True, slots=True)
class _Parts:
    """An attention to latent vectors and the operations around it, in the graph's order."""

    query: Linear
    latent: Linear
    norm: RmsNorm
    """The norm of the latent vector."""
    rotated: Linear
    absorb: Opaque
    """Multiplies queries by the weight of the keys."""
    join: Opaque
    """Concatenates the latent vector and the rotated features."""
    attention: Attention
    expand: Opaque
    """Multiplies the result by the weight of the values."""
    output: Linear


def _find_parts(attention: Attention, graph: Graph) -> _Parts:
    source = {operation.result.name: operation for operation in graph.operations}
    names = attention.query, attention.key, attention.value
    match *map(source.get, names), _reader(attention.result.name, graph):
        case [Opaque() as absorb, Opaque() as join, RmsNorm() as norm, Opaque() as expand]:
            made = (absorb.inputs[0], norm.input, join.inputs[-1])
            match *map(source.get, made), _reader(expand.result.name, graph):
                case [Linear() as query, Linear() as latent, Linear() as rotated, Linear() as out]:
                    return _Parts(
                        query, latent, norm, rotated, absorb, join, attention, expand, out
                    )
                case _:
                    pass
        case _:
            pass
    raise UnsupportedOperationError(
        f"Attention that defines {attention.result.name!r}: its latent vectors are not made and "
        "read by products, and nothing on the wafer costs as much"
    )


def _reader(name: str, graph: Graph) -> Operation | None:
    """Return the first operation that reads a result."""
    return next((op for op in graph.operations if name in op.activation_operands), None)


class _Rewriting:
    """Replaces one attention."""

    def __init__(self, parts: _Parts, to: Rewritten) -> None:
        self._parts = parts
        self._to = to
        self._features = {tensor.name: tensor.shape[-1] for tensor in to.graph.tensors}

    def absorbed(self, copies: int) -> Mapping[str, tuple[Operation, ...]]:
        """Return the replacement of each result in absorbed form: heads meet latent vectors."""
        parts, attention = self._parts, self._parts.attention
        both = self._features[attention.key]
        made, key = (self._tensor(name, copies * both) for name in ("copies", "key"))
        lies = self._redistributed(key) if self._is_query_redistributed_once() else None
        met = key if lies is None else lies.result
        scale = self._weight(key, (both,), held=self._features[parts.norm.weight])
        mixed = self._tensor("mixed", attention.heads * both)
        mix = replace(
            attention,
            result=mixed,
            key=met.name,
            value=met.name,
            kv_heads=copies,
            cached_features=None,
        )
        self._to.kept_share = 1 / 2  # a copy serves as key and value
        self._to.estimated |= {key.name, mixed.name}
        return {
            parts.latent.result.name: (self._product(made, parts.latent.input),),
            parts.norm.result.name: (
                RmsNorm(key, made.name, scale, parts.norm.epsilon, groups=copies),
            ),
            parts.rotated.result.name: (),
            parts.absorb.result.name: (self._head_product(parts.absorb, parts.query.result.name),),
            parts.join.result.name: () if lies is None else (lies,),
            attention.result.name: (mix,),
            parts.expand.result.name: (self._head_product(parts.expand, mixed.name),),
        }

    def expanded(self, copies: int) -> Mapping[str, tuple[Operation, ...]]:
        """Return the replacement of each result in expanded form: heads have keys and values."""
        parts, attention = self._parts, self._parts.attention
        asked, given = (self._features[op.result.name] for op in (parts.query, parts.expand))
        features = attention.heads * -(-(asked + given) // (2 * attention.heads))
        query, key, value, mixed = (
            self._tensor(name, features) for name in ("query", "key", "value", "mixed")
        )
        lies = self._redistributed(query) if self._is_query_redistributed_once() else None
        mix = replace(
            attention,
            result=mixed,
            query=query.name if lies is None else lies.result.name,
            key=key.name,
            value=value.name,
            kv_heads=attention.heads,
            cached_features=None,
        )
        source, held = parts.norm.result.name, self._held(parts.absorb) + self._held(parts.expand)
        self._to.kept_share = copies * self._features[attention.key] / (2 * features)
        self._to.passing_share = 1.0
        self._to.estimated.add(mixed.name)
        return {
            parts.query.result.name: (
                self._product(query, parts.query.input, held=self._held(parts.query)),
            ),
            parts.norm.result.name: (
                parts.norm,
                self._product(key, source, held=held / 2),
                self._product(value, source, held=held / 2),
            ),
            parts.absorb.result.name: () if lies is None else (lies,),
            parts.join.result.name: (),
            attention.result.name: (mix,),
            parts.expand.result.name: (),
            parts.output.result.name: (
                self._product(parts.output.result, mixed.name, held=self._held(parts.output)),
            ),
        }

    def _is_query_redistributed_once(self) -> bool:
        """Tell whether one product makes queries from the input of the latent vectors.

        A product changes the axis that features lie along, and queries must lie as keys do. With
        two products, as where queries are made from a latent vector too, they do.
        """
        return self._parts.query.input == self._parts.latent.input

    def _redistributed(self, tensor: Tensor) -> Linear:
        """Return a product without weights that redistributes a tensor to the other axis."""
        redistributed = self._tensor(f"{tensor.name}.turned", tensor.shape[-1])
        product = self._product(redistributed, tensor.name, held=0)
        self._to.head_products[product.weight] = tensor.shape[-1]
        return product

    def _head_product(self, operation: Opaque, source: str) -> Linear:
        product = self._product(operation.result, source, held=self._held(operation))
        self._to.head_products[product.weight] = self._parts.attention.heads
        return product

    def _product(self, result: Tensor, source: str, *, held: float | None = None) -> Linear:
        """Return a product that stores `held` elements of its weight; None: all of them."""
        shape = result.shape[-1], self._features[source]
        self._to.estimated.add(result.name)
        return Linear(result, source, self._weight(result, shape, held=held))

    def _weight(self, result: Tensor, shape: tuple[int, ...], *, held: float | None) -> str:
        weight = Tensor(f"{result.name}.weights", shape, result.dtype)
        self._to.parameters.append(weight)
        self._to.stored[weight.name] = 1.0 if held is None else held / weight.num_elements
        return weight.name

    def _held(self, operation: Operation) -> int:
        tensors = map(self._to.graph.tensor, operation.parameter_operands)
        return sum(tensor.num_elements for tensor in tensors)

    def _tensor(self, part: str, features: int) -> Tensor:
        """Return a result with the rows of the attention."""
        result = self._parts.attention.result
        name = f"{result.name}.{part}"
        self._features[name] = features
        return Tensor(name, (*result.shape[:-1], features), result.dtype)
