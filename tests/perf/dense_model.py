"""A decoder in the form of Llama, written by hand: what tests of equations need of a model."""

from __future__ import annotations

from dataclasses import dataclass

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    Attention,
    DataType,
    Embedding,
    Experts,
    Graph,
    LastRow,
    Linear,
    Multiply,
    RmsNorm,
    Rotary,
    Segment,
    Tensor,
)
from onewafer.perf import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    features: int
    inner: int
    vocabulary: int
    has_head_norms: bool = False
    experts: int = 0
    """0: one gated MLP with `inner` features, else so many, of which a row meets some."""
    experts_per_row: int = 8


LLAMA_8B = Sizes(
    layers=32, hidden=4096, heads=32, kv_heads=8, features=128, inner=14336, vocabulary=128256
)
LLAMA_70B = Sizes(
    layers=80, hidden=8192, heads=64, kv_heads=8, features=128, inner=28672, vocabulary=128256
)
QWEN3_32B = Sizes(
    layers=64,
    hidden=5120,
    heads=64,
    kv_heads=8,
    features=128,
    inner=25600,
    vocabulary=151936,
    has_head_norms=True,
)


QWEN3_235B = Sizes(
    layers=94,
    hidden=4096,
    heads=64,
    kv_heads=4,
    features=128,
    inner=1536,
    vocabulary=151936,
    has_head_norms=True,
    experts=128,
)


def dense_model(name: str, sizes: Sizes, *, rows: int = 8, positions: int = 131072) -> Model:
    segments = (_embedding(sizes, rows), _layers(sizes, rows, positions), _head(sizes, rows))
    return Model(name=name, title=name, segments=segments, max_context=positions)


def _tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F16)


def _embedding(sizes: Sizes, rows: int) -> Segment:
    indices = Tensor("tokens", (rows, 1), DataType.I32)
    table = _tensor("embedding", sizes.vocabulary, sizes.hidden)
    lookup = Embedding(_tensor("x", rows, sizes.hidden), "tokens", "embedding")
    return Segment(Graph("embedding", (indices,), (table,), (lookup,), ("x",)), 1)


def _head(sizes: Sizes, rows: int) -> Segment:
    x = _tensor("x", rows, sizes.hidden)
    weights = (
        _tensor("final_norm", sizes.hidden),
        _tensor("head", sizes.vocabulary, sizes.hidden),
    )
    operations = (
        LastRow(_tensor("last", 1, sizes.hidden), "x"),
        RmsNorm(_tensor("normed", 1, sizes.hidden), "last", "final_norm", 1e-5),
        Linear(_tensor("logits", 1, sizes.vocabulary), "normed", "head"),
    )
    return Segment(Graph("head", (x,), weights, operations, ("logits",)), 1)


def _gated(sizes: Sizes, rows: int):
    inner = sizes.inner
    yield Linear(_tensor("gate", rows, inner), "h2", "wgate")
    yield Linear(_tensor("up", rows, inner), "h2", "wup")
    yield Activation(_tensor("act", rows, inner), "gate", ActivationFunction.SILU)
    yield Multiply(_tensor("gated", rows, inner), "act", "up")
    yield Linear(_tensor("down", rows, sizes.hidden), "gated", "wdown")


def _mixture(sizes: Sizes, rows: int):
    yield Linear(_tensor("scores", rows, sizes.experts), "h2", "wscores")
    yield Experts(
        _tensor("down", rows, sizes.hidden),
        "h2",
        "scores",
        ("wgateup", "wdown"),
        sizes.experts,
        sizes.experts_per_row,
        sizes.inner,
    )


def _mlp_weights(sizes: Sizes):
    hidden, inner = sizes.hidden, sizes.inner
    if not sizes.experts:
        yield _tensor("wgate", inner, hidden)
        yield _tensor("wup", inner, hidden)
        yield _tensor("wdown", hidden, inner)
        return
    yield _tensor("wscores", sizes.experts, hidden)
    yield _tensor("wgateup", sizes.experts, 2 * inner, hidden)
    yield _tensor("wdown", sizes.experts, hidden, inner)


def _layers(sizes: Sizes, rows: int, positions: int) -> Segment:
    hidden = sizes.hidden
    queries, keys = sizes.heads * sizes.features, sizes.kv_heads * sizes.features

    def t(name: str, features: int) -> Tensor:
        return _tensor(name, rows, features)

    def rotated(name: str, width: int, heads: int):
        source = name
        if sizes.has_head_norms:
            yield RmsNorm(t(f"{name}n", width), name, f"{name}_norm", 1e-6, groups=heads)
            source = f"{name}n"
        yield Rotary(t(f"{name}r", width), source, "cosine", "sine", heads)

    operations = (
        RmsNorm(t("h1", hidden), "x", "norm1", 1e-5),
        Linear(t("q", queries), "h1", "wq"),
        Linear(t("k", keys), "h1", "wk"),
        Linear(t("v", keys), "h1", "wv"),
        *rotated("q", queries, sizes.heads),
        *rotated("k", keys, sizes.kv_heads),
        Attention(
            t("a", queries), "qr", "kr", "v", sizes.heads, sizes.kv_heads, 0.1, is_causal=True
        ),
        Linear(t("o", hidden), "a", "wo"),
        Add(t("x1", hidden), "x", "o"),
        RmsNorm(t("h2", hidden), "x1", "norm2", 1e-5),
        *(_mixture(sizes, rows) if sizes.experts else _gated(sizes, rows)),
        Add(t("y", hidden), "x1", "down"),
    )
    weights = (
        _tensor("norm1", hidden),
        _tensor("norm2", hidden),
        _tensor("q_norm", sizes.features),
        _tensor("k_norm", sizes.features),
        _tensor("wq", queries, hidden),
        _tensor("wk", keys, hidden),
        _tensor("wv", keys, hidden),
        _tensor("wo", hidden, queries),
        *_mlp_weights(sizes),
        _tensor("cosine", positions, sizes.features),
        _tensor("sine", positions, sizes.features),
    )
    norms = () if sizes.has_head_norms else ("q_norm", "k_norm")
    weights = tuple(tensor for tensor in weights if tensor.name not in norms)
    graph = Graph("layer", (t("x", hidden),), weights, operations, ("y",))
    tables = frozenset({"cosine", "sine"})
    return Segment(graph, sizes.layers, shared=tables, constants=tables)
