"""Small language models as graphs: the parts of Llama, GPT-2 and BERT in their usual order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    DataType,
    Embedding,
    FirstRow,
    Graph,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Tensor,
)

if TYPE_CHECKING:
    from onewafer.graph import Operation

VOCABULARY = 11


@dataclass
class _Model:
    """A graph under construction; methods append an operation and return its result's name."""

    rows: int
    dtype: DataType
    parameters: list[Tensor] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def parameter(self, name: str, *shape: int) -> str:
        self.parameters.append(Tensor(name, shape, self.dtype))
        return name

    def tensor(self, name: str, features: int, rows: int | None = None) -> Tensor:
        return Tensor(name, (rows or self.rows, features), self.dtype)

    def append(self, operation: Operation) -> str:
        self.operations.append(operation)
        return operation.result.name

    def linear(self, name: str, source: str, in_features: int, out_features: int) -> str:
        weight = self.parameter(f"{name}.weight", out_features, in_features)
        return self.append(Linear(self.tensor(name, out_features), source, weight))

    def linear_with_bias(self, name: str, source: str, in_features: int, out: int) -> str:
        product = self.linear(f"{name}.product", source, in_features, out)
        bias = self.parameter(f"{name}.bias", out)
        return self.append(AddBias(self.tensor(name, out), product, bias))

    def add(self, name: str, left: str, right: str, features: int) -> str:
        return self.append(Add(self.tensor(name, features), left, right))

    def layer_norm(self, name: str, source: str, features: int) -> str:
        weight = self.parameter(f"{name}.weight", features)
        bias = self.parameter(f"{name}.bias", features)
        return self.append(LayerNorm(self.tensor(name, features), source, weight, bias, 1e-5))

    def rms_norm(self, name: str, source: str, features: int, groups: int = 1) -> str:
        weight = self.parameter(f"{name}.weight", features // groups)
        return self.append(RmsNorm(self.tensor(name, features), source, weight, 1e-5, groups))

    def graph(self, name: str, output: str) -> Graph:
        ids = Tensor("ids", (self.rows, 1), DataType.I32)
        return Graph(name, (ids,), tuple(self.parameters), tuple(self.operations), (output,))


def llama(
    *,
    rows: int = 3,
    layers: int = 2,
    features: int = 16,
    heads: int = 4,
    kv_heads: int = 2,
    positions: int = 8,
    dtype: DataType = DataType.F32,
    has_head_norms: bool = False,
    swapped: int | None = None,
) -> Graph:
    """Build a decoder with RMSNorm, rotary positions, grouped queries, SwiGLU, tied embeddings."""
    model = _Model(rows, dtype)
    head_dim = features // heads
    model.parameter("tokens", VOCABULARY, features)
    tables = [model.parameter(name, positions, head_dim) for name in ("cosine", "sine")]
    hidden = model.append(Embedding(model.tensor("embedded", features), "ids", "tokens"))
    for layer in range(layers):
        name = f"{layer}.{{}}".format
        normed = model.rms_norm(name("norm"), hidden, features)
        sizes = {
            "query": heads * head_dim,
            "key": kv_heads * head_dim,
            "value": kv_heads * head_dim,
        }
        lines = {key: model.linear(name(key), normed, features, n) for key, n in sizes.items()}
        for key, count in (("query", heads), ("key", kv_heads)):
            if has_head_norms:
                lines[key] = model.rms_norm(name(f"{key}.norm"), lines[key], sizes[key], count)
            rotated = model.tensor(name(f"{key}.rotated"), sizes[key])
            lines[key] = model.append(Rotary(rotated, lines[key], *tables, count, swapped))
        attended = model.append(
            Attention(
                model.tensor(name("attended"), heads * head_dim),
                *lines.values(),
                heads,
                kv_heads,
                head_dim**-0.5,
                is_causal=True,
            )
        )
        projected = model.linear(name("output"), attended, heads * head_dim, features)
        hidden = model.add(name("middle"), hidden, projected, features)
        normed = model.rms_norm(name("mlp.norm"), hidden, features)
        gate = model.linear(name("gate"), normed, features, 2 * features)
        up = model.linear(name("up"), normed, features, 2 * features)
        active = model.append(
            Activation(model.tensor(name("silu"), 2 * features), gate, ActivationFunction.SILU)
        )
        gated = model.append(Multiply(model.tensor(name("gated"), 2 * features), active, up))
        down = model.linear(name("down"), gated, 2 * features, features)
        hidden = model.add(name("hidden"), hidden, down, features)
    normed = model.rms_norm("norm", hidden, features)
    last = model.append(LastRow(model.tensor("last", features, rows=1), normed))
    logits = model.append(Linear(model.tensor("logits", VOCABULARY, rows=1), last, "tokens"))
    return model.graph("llama", logits)


def _transformer_layer(
    model: _Model,
    name: str,
    source: str,
    features: int,
    heads: int,
    *,
    is_causal: bool,
    bias: str | None = None,
) -> str:
    """Append attention and a multilayer perceptron with biases; return the sum with the source."""
    query, key, value = (
        model.linear_with_bias(f"{name}.{part}", source, features, features)
        for part in ("query", "key", "value")
    )
    attended = model.append(
        Attention(
            model.tensor(f"{name}.attended", features),
            query,
            key,
            value,
            heads,
            heads,
            (features // heads) ** -0.5,
            is_causal=is_causal,
            bias=bias,
        )
    )
    projected = model.linear_with_bias(f"{name}.output", attended, features, features)
    return model.add(f"{name}.middle", source, projected, features)


def _perceptron(model: _Model, name: str, source: str, features: int, gelu: str) -> str:
    wide = model.linear_with_bias(f"{name}.up", source, features, 2 * features)
    function = ActivationFunction(gelu)
    active = model.append(Activation(model.tensor(f"{name}.active", 2 * features), wide, function))
    return model.linear_with_bias(f"{name}.down", active, 2 * features, features)


def gpt2(
    *, rows: int = 3, layers: int = 2, features: int = 12, heads: int = 3, positions: int = 8,
    dtype: DataType = DataType.F32,
) -> Graph:  # fmt: skip
    """Build a decoder with LayerNorm, learned positions and GELU."""
    model = _Model(rows, dtype)
    model.parameter("tokens", VOCABULARY, features)
    model.parameter("positions", positions, features)
    embedded = model.append(Embedding(model.tensor("embedded", features), "ids", "tokens"))
    places = model.append(PositionEmbedding(model.tensor("places", features), "positions"))
    hidden = model.add("first", embedded, places, features)
    for layer in range(layers):
        normed = model.layer_norm(f"{layer}.norm", hidden, features)
        hidden = _transformer_layer(model, str(layer), normed, features, heads, is_causal=True)
        normed = model.layer_norm(f"{layer}.mlp.norm", hidden, features)
        down = _perceptron(model, str(layer), normed, features, "gelu_tanh")
        hidden = model.add(f"{layer}.hidden", hidden, down, features)
    normed = model.layer_norm("norm", hidden, features)
    last = model.append(LastRow(model.tensor("last", features, rows=1), normed))
    logits = model.append(Linear(model.tensor("logits", VOCABULARY, rows=1), last, "tokens"))
    return model.graph("gpt2", logits)


def bert(
    *, rows: int = 5, layers: int = 2, features: int = 12, heads: int = 2, positions: int = 8,
    dtype: DataType = DataType.F32, has_bias: bool = False,
) -> Graph:  # fmt: skip
    """Build an encoder with bidirectional attention and a pooler of the first row."""
    model = _Model(rows, dtype)
    model.parameter("tokens", VOCABULARY, features)
    model.parameter("positions", positions, features)
    embedded = model.append(Embedding(model.tensor("embedded", features), "ids", "tokens"))
    places = model.append(PositionEmbedding(model.tensor("places", features), "positions"))
    hidden = model.layer_norm("first", model.add("both", embedded, places, features), features)
    bias = model.parameter("bias", rows * heads, rows) if has_bias else None
    for layer in range(layers):
        middle = _transformer_layer(
            model, str(layer), hidden, features, heads, is_causal=False, bias=bias
        )
        normed = model.layer_norm(f"{layer}.norm", middle, features)
        down = _perceptron(model, str(layer), normed, features, "gelu")
        total = model.add(f"{layer}.total", normed, down, features)
        hidden = model.layer_norm(f"{layer}.hidden", total, features)
    first = model.append(FirstRow(model.tensor("first row", features, rows=1), hidden))
    weight = model.parameter("pooler.weight", features, features)
    pooled = model.append(Linear(model.tensor("pooled", features, rows=1), first, weight))
    result = model.tensor("tanh", features, rows=1)
    return model.graph("bert", model.append(Activation(result, pooled, ActivationFunction.TANH)))


@dataclass(frozen=True)
class Decoder:
    """A small decoder with logits for every row, ReLU, and its token table as head."""

    rows: int = 5
    layers: int = 1
    features: int = 8
    heads: int = 4
    kv_heads: int = 2
    has_rotary: bool = True
    """True if it has RMSNorm and rotary positions, else LayerNorm, learned ones and biases."""
    is_causal: bool = True
    rank: int = 0
    """Features in the middle of an adapter: two layers that add to queries; 0: there is none."""

    has_transform: bool = False
    """True if there is one more layer before the head."""
    has_head_norms: bool = False
    """True if each head of queries and keys is normalised, with a weight of its own."""

    @property
    def graph(self) -> Graph:
        """The graph."""
        model, features = _Model(self.rows, DataType.F32), self.features
        norm = model.rms_norm if self.has_rotary else model.layer_norm
        linear = model.linear if self.has_rotary else model.linear_with_bias
        model.parameter("tokens", VOCABULARY, features)
        hidden = model.append(Embedding(model.tensor("embedded", features), "ids", "tokens"))
        if not self.has_rotary:
            model.parameter("positions", self.rows + 2, features)
            places = PositionEmbedding(model.tensor("places", features), "positions")
            hidden = model.add("first", hidden, model.append(places), features)
        for layer in range(self.layers):
            normed = norm(f"{layer}.norm", hidden, features)
            attended = self._attend(model, layer, normed)
            projected = linear(f"{layer}.output", attended, features, features)
            hidden = model.add(f"{layer}.middle", hidden, projected, features)
            normed = norm(f"{layer}.mlp.norm", hidden, features)
            wide = linear(f"{layer}.up", normed, features, 2 * features)
            active = model.append(Relu(model.tensor(f"{layer}.active", 2 * features), wide))
            down = linear(f"{layer}.down", active, 2 * features, features)
            hidden = model.add(f"{layer}.hidden", hidden, down, features)
        normed = norm("norm", hidden, features)
        if self.has_transform:
            normed = linear("transform", normed, features, features)
        logits = Linear(model.tensor("logits", VOCABULARY), normed, "tokens")
        return model.graph("decoder", model.append(logits))

    def _attend(self, model: _Model, layer: int, source: str) -> str:
        features, head_dim = self.features, self.features // self.heads
        counts = {"query": self.heads, "key": self.kv_heads, "value": self.kv_heads}
        lines = {
            part: model.linear(f"{layer}.{part}", source, features, count * head_dim)
            for part, count in counts.items()
        }
        if self.rank:
            down = model.linear(f"{layer}.adapter.down", source, features, self.rank)
            up = model.linear(f"{layer}.adapter.up", down, self.rank, features)
            lines["query"] = model.add(f"{layer}.adapted", lines["query"], up, features)
        for part in ("query", "key") if self.has_rotary else ():
            if layer == 0 and part == "query":
                for name in ("cosine", "sine"):
                    model.parameter(name, self.rows + 2, head_dim)
            count = counts[part]
            if self.has_head_norms:
                size, name = count * head_dim, f"{layer}.{part}.norm"
                weight = model.parameter(f"{name}.weight", size)
                norm = RmsNorm(model.tensor(name, size), lines[part], weight, 1e-5, count)
                lines[part] = model.append(norm)
            rotated = model.tensor(f"{layer}.{part}.rotated", count * head_dim)
            lines[part] = model.append(Rotary(rotated, lines[part], "cosine", "sine", count))
        attended = model.tensor(f"{layer}.attended", features)
        numbers = self.heads, self.kv_heads, head_dim**-0.5
        return model.append(
            Attention(attended, *lines.values(), *numbers, is_causal=self.is_causal)
        )
