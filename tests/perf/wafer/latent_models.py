"""Decoders with attention to latent vectors, as they are captured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onewafer.graph import (
    Attention,
    DataType,
    Graph,
    Linear,
    Opaque,
    RmsNorm,
    Segment,
    Tensor,
)
from onewafer.perf import Model
from tests.perf.dense_model import Sizes, dense_model


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSizes:
    """What attention to latent vectors has besides its heads."""

    heads: int = 4
    plain: int = 6
    """Features of a key that are not rotated."""
    rotated: int = 2
    values: int = 4
    """Features of a value."""
    latent: int = 8
    query_rank: int | None = 12
    """Features between the two products that make queries; None: there is one."""


DEEPSEEK_V3 = LatentSizes(heads=128, plain=128, rotated=64, values=128, latent=512, query_rank=1536)


def latent_model(sizes: Sizes, latent: LatentSizes | None = None, *, positions=4096) -> Model:
    """Return a decoder whose attention is to latent vectors; of `sizes`, heads are not read."""
    first, layers, last = dense_model("latent", sizes, rows=1, positions=positions).segments
    names = [operation.result.name for operation in layers.graph.operations]
    at = names.index("o") + 1
    before, after = layers.graph.operations[:1], layers.graph.operations[at:]
    attention, weights = _attention(sizes.hidden, latent or LatentSizes())
    graph = replace(
        layers.graph,
        operations=(*before, *attention, *after),
        parameters=(*weights, *_read_by((*before, *after), layers.graph)),
    )
    segments = (first, Segment(graph, layers.repeats), last)
    return Model(name="latent", title="latent", segments=segments, max_context=positions)


def _read_by(operations, graph: Graph):
    used = {name for operation in operations for name in operation.parameter_operands}
    return tuple(tensor for tensor in graph.parameters if tensor.name in used)


def _attention(hidden: int, sizes: LatentSizes):
    """Return operations from `h1` to `o`, and their weights."""
    heads, both = sizes.heads, sizes.latent + sizes.rotated
    asked, given = heads * (sizes.plain + sizes.rotated), heads * sizes.values

    def t(name: str, *shape: int) -> Tensor:
        return Tensor(name, shape, DataType.F16)

    def opaque(what: str, result: Tensor, inputs, parameters=()):
        return Opaque(result, f"onewafer.{what}", inputs, parameters, 1.0, keeps_rows=True)

    rank = sizes.query_rank
    first = (
        ()
        if rank is None
        else (
            Linear(t("qa", 1, rank), "h1", "wqa"),
            RmsNorm(t("qn", 1, rank), "qa", "qnorm", 1e-6),
        )
    )
    operations = (
        *first,
        Linear(t("q", 1, asked), "h1" if rank is None else "qn", "wqb"),
        Linear(t("c", 1, sizes.latent), "h1", "wc"),
        RmsNorm(t("cn", 1, sizes.latent), "c", "cnorm", 1e-6),
        Linear(t("r", 1, sizes.rotated), "h1", "wr"),
        opaque("absorb_keys", t("aq", 1, heads * both), ("q",), ("wkeys",)),
        opaque("join", t("ak", 1, both), ("cn", "r")),
        Attention(
            t("a", 1, heads * sizes.latent),
            "aq",
            "ak",
            "cn",
            heads,
            1,
            0.1,
            is_causal=True,
            cached_features=both,
        ),
        opaque("expand_values", t("av", 1, given), ("a",), ("wvalues",)),
        Linear(t("o", 1, hidden), "av", "wo"),
    )
    between = () if rank is None else (t("wqa", rank, hidden), t("qnorm", rank))
    weights = (
        *between,
        t("wqb", asked, rank or hidden),
        t("wc", sizes.latent, hidden),
        t("cnorm", sizes.latent),
        t("wr", sizes.rotated, hidden),
        t("wkeys", heads, sizes.plain, sizes.latent),
        t("wvalues", heads, sizes.values, sizes.latent),
        t("wo", hidden, given),
    )
    return operations, weights
