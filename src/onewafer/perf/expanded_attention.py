"""Multi-head latent attention as training computes it: with the keys and values of all heads.

A capture has latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) in the form for
decoding: the projection to keys is applied to the queries, the projection to values to the result,
and all heads attend to one vector a token. Training has no cache. It computes keys (P features a
head, beside R rotated ones that all heads share) and values (V features a head) from the latent
vectors, so that a pair of tokens costs P + R + V multiply-adds a head.

In: a segment. Out: a segment with ordinary attention instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import ConfigurationError
from onewafer.graph import (
    Attention,
    Linear,
    Opaque,
    Tensor,
)

if TYPE_CHECKING:
    from onewafer.graph import Graph, Operation, Segment


def with_expanded_attention(segment: Segment) -> Segment:
    """Replace attention to latent vectors by ordinary attention.

    Raises ConfigurationError where keys and values are not made by a product for each head.
    """
    graph = segment.graph
    for operation in segment.graph.operations:
        if isinstance(operation, Attention) and operation.cached_features is not None:
            graph = _expanded(graph, operation)
    return segment if graph is segment.graph else replace(segment, graph=graph)


def _expanded(graph: Graph, attention: Attention) -> Graph:
    absorb, join, expand = _find_parts(graph, attention)
    heads, latent = attention.heads, attention.value
    of_keys, of_values = (_as_matrix(graph.tensor(op.parameters[0])) for op in (absorb, expand))
    query = graph.tensor(absorb.inputs[0])
    result = expand.result
    names = [f"{attention.result.name}.{part}" for part in ("unrotated", "key", "value")]
    unrotated, value = (
        Tensor(name, (*result.shape[:-1], matrix.shape[0]), result.dtype)
        for name, matrix in ((names[0], of_keys), (names[2], of_values))
    )
    key = Tensor(names[1], query.shape, query.dtype)
    mixed = replace(
        attention,
        result=result,
        query=query.name,
        key=key.name,
        value=value.name,
        kv_heads=heads,
        cached_features=None,
    )
    made = (
        Linear(unrotated, latent, of_keys.name),
        replace(join, result=key, inputs=(unrotated.name, join.inputs[-1])),
        Linear(value, latent, of_values.name),
        mixed,
    )
    put: dict[str, tuple[Operation, ...]] = {
        absorb.result.name: (),
        join.result.name: (),
        attention.result.name: made,
        expand.result.name: (),
    }
    matrices = {matrix.name: matrix for matrix in (of_keys, of_values)}
    return replace(
        graph,
        operations=tuple(
            new for old in graph.operations for new in put.get(old.result.name, (old,))
        ),
        parameters=tuple(matrices.get(tensor.name, tensor) for tensor in graph.parameters),
    )


def _find_parts(graph: Graph, attention: Attention) -> tuple[Opaque, Opaque, Opaque]:
    """Return the operations that project queries, join parts of keys, and make values."""
    source = {operation.result.name: operation for operation in graph.operations}
    name = attention.result.name
    reader = next((op for op in graph.operations if name in op.activation_operands), None)
    match source.get(attention.query), source.get(attention.key), reader:
        case (
            Opaque(parameters=(_,)) as absorb,
            Opaque(parameters=()) as join,
            Opaque(parameters=(_,)) as expand,
        ):
            return absorb, join, expand
        case _:
            raise ConfigurationError(
                f"the attention that defines {name!r} does not make keys and values of latent "
                "vectors by a product of each head, and its training has no equations here; ask "
                "for inference"
            )


def _as_matrix(stack: Tensor) -> Tensor:
    """Return the weights of all heads (heads, outputs, inputs) as one matrix (outputs, inputs).

    The weight of keys is stored for the queries' side: features of a key by latent features.
    """
    heads, outputs, inputs = stack.shape
    return replace(stack, shape=(heads * outputs, inputs))
