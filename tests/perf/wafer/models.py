"""Language models as the equations see them: an embedding, equal layers, a head."""

from __future__ import annotations

from dataclasses import dataclass, field

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    Attention,
    DataType,
    Embedding,
    Graph,
    LastRow,
    Linear,
    Multiply,
    RmsNorm,
    Rotary,
    Tensor,
)
from onewafer.perf import Model, Segment


@dataclass
class _Piece:
    name: str
    parameters: list[Tensor] = field(default_factory=list)
    operations: list = field(default_factory=list)

    def weight(self, name, *shape):
        self.parameters.append(Tensor(name, shape, DataType.F32))
        return name

    def result(self, name, features):
        return Tensor(f"{self.name}.{name}", (1, features), DataType.F32)

    def append(self, operation):
        self.operations.append(operation)
        return operation.result.name

    def linear(self, name, source, inside, outside):
        weight = self.weight(f"{self.name}.{name}.weight", outside, inside)
        return self.append(Linear(self.result(name, outside), source, weight))

    def norm(self, name, source, features):
        weight = self.weight(f"{self.name}.{name}.weight", features)
        return self.append(RmsNorm(self.result(name, features), source, weight, 1e-5, 1))

    def segment(self, given, output, *, repeats=1, constants=()):
        graph = Graph(
            self.name, (given,), tuple(self.parameters), tuple(self.operations), (output,)
        )
        return Segment(graph, repeats, shared=frozenset(constants), constants=frozenset(constants))


def llama(
    *,
    layers=4,
    features=64,
    heads=4,
    kv_heads=2,
    inner=128,
    vocabulary=96,
    positions=4096,
    name="llama",
):
    """Return a decoder with RMSNorm, rotary positions, grouped queries and SwiGLU."""
    head = features // heads
    first, layer, last = _Piece("first"), _Piece("layer"), _Piece("last")
    table = first.weight("tokens", vocabulary, features)
    embedded = first.append(Embedding(first.result("embedded", features), "ids", table))

    given = Tensor("first.embedded", (1, features), DataType.F32)
    tables = [layer.weight(table, positions, head) for table in ("cosine", "sine")]
    normed = layer.norm("norm", given.name, features)
    lines = []
    for line, count in (("query", heads), ("key", kv_heads), ("value", kv_heads)):
        lines.append(layer.linear(line, normed, features, count * head))
        if line != "value":
            rotated = layer.result(f"{line}.rotated", count * head)
            lines[-1] = layer.append(Rotary(rotated, lines[-1], *tables, count))
    attended = layer.append(
        Attention(
            layer.result("attended", heads * head),
            *lines,
            heads,
            kv_heads,
            head**-0.5,
            is_causal=True,
        )
    )
    projected = layer.linear("output", attended, heads * head, features)
    middle = layer.append(Add(layer.result("middle", features), given.name, projected))
    normed = layer.norm("mlp.norm", middle, features)
    gate, up = (layer.linear(line, normed, features, inner) for line in ("gate", "up"))
    silu = layer.append(Activation(layer.result("silu", inner), gate, ActivationFunction.SILU))
    gated = layer.append(Multiply(layer.result("gated", inner), silu, up))
    down = layer.linear("down", gated, inner, features)
    hidden = layer.append(Add(layer.result("hidden", features), middle, down))

    residual = Tensor("layer.hidden", (1, features), DataType.F32)
    normed = last.norm("norm", residual.name, features)
    row = last.append(LastRow(last.result("row", features), normed))
    logits = last.linear("logits", row, features, vocabulary)

    ids = Tensor("ids", (1, 1), DataType.I32)
    segments = (
        first.segment(ids, embedded),
        layer.segment(given, hidden, repeats=layers, constants=("cosine", "sine")),
        last.segment(residual, logits),
    )
    return Model(name=name, title=name, segments=segments, max_context=positions)


def llama_8b():
    """Return Llama-3.1-8B."""
    return llama(
        layers=32,
        features=4096,
        heads=32,
        kv_heads=8,
        inner=14336,
        vocabulary=128256,
        positions=131072,
        name="llama-3.1-8b",
    )


def llama_70b():
    """Return Llama-3.1-70B."""
    return llama(
        layers=80,
        features=8192,
        heads=64,
        kv_heads=8,
        inner=28672,
        vocabulary=128256,
        positions=131072,
        name="llama-3.1-70b",
    )
