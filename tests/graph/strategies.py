"""Random well-formed graphs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    DataType,
    Embedding,
    FirstRow,
    Gather,
    Graph,
    LastRow,
    LayerNorm,
    Linear,
    Multiply,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    Softmax,
    Tensor,
    TopIndices,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onewafer.graph import Operation

FLOATS = st.sampled_from([DataType.F16, DataType.F32])


ROW_BY_ROW = (
    "linear",
    "bias",
    "relu",
    "add",
    "multiply",
    "scale",
    "activation",
    "rms",
    "layer",
    "softmax",
)


def _divisors(number: int) -> st.SearchStrategy[int]:
    return st.sampled_from([n for n in range(1, number + 1) if not number % n])


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    max_features: int = 12,
    max_operations: int = 6,
    kinds: Sequence[str] = ROW_BY_ROW,
) -> Graph:
    """Draw a chain of operations with residual connections, over anything, of one shape."""
    dtype = draw(FLOATS)
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    few = draw(st.lists(st.integers(1, max_features), min_size=1, max_size=2))
    sizes = st.sampled_from(few)  # so that tensors of one shape are common
    x = Tensor("x", (*batch, draw(sizes)), dtype)
    live, parameters, operations = [x], list[Tensor](), list["Operation"]()
    for index in range(draw(st.integers(0, max_operations))):
        source = live[-1]
        name = f"t{index}"
        result = Tensor(name, source.shape, dtype)
        match draw(st.sampled_from(kinds)):
            case "linear":
                out = draw(sizes)
                parameters.append(Tensor(f"{name}.weight", (out, source.shape[-1]), dtype))
                result = Tensor(name, (*batch, out), dtype)
                operations.append(Linear(result, source.name, parameters[-1].name))
            case "bias":
                parameters.append(Tensor(f"{name}.bias", (source.shape[-1],), dtype))
                operations.append(AddBias(result, source.name, parameters[-1].name))
            case "relu":
                operations.append(Relu(result, source.name))
            case "scale":
                operations.append(Scale(result, source.name, draw(st.floats(-2, 2))))
            case "activation":
                function = draw(st.sampled_from(ActivationFunction))
                operations.append(Activation(result, source.name, function))
            case "rms":
                features = source.shape[-1]
                groups = draw(_divisors(features))
                parameters.append(Tensor(f"{name}.weight", (features // groups,), dtype))
                weight = parameters[-1].name
                operations.append(RmsNorm(result, source.name, weight, 1e-6, groups))
            case "layer":
                features = source.shape[-1]
                groups = draw(_divisors(features))
                pair = [f"{name}.weight", f"{name}.bias"]
                parameters += [Tensor(item, (features // groups,), dtype) for item in pair]
                operations.append(LayerNorm(result, source.name, *pair, 1e-5, groups))
            case "softmax":
                groups = draw(_divisors(source.shape[-1]))
                operations.append(Softmax(result, source.name, groups))
            case kind:
                other = draw(st.sampled_from([t for t in live if t.shape == source.shape]))
                left, right = draw(st.permutations([source.name, other.name]))
                operation = Multiply if kind == "multiply" else Add
                operations.append(operation(result, left, right))
        live.append(result)
    return Graph("random", (x,), tuple(parameters), tuple(operations), (live[-1].name,))


@st.composite
def searches(draw: st.DrawFn, **options: object) -> Graph:
    """Draw a graph that ends in a search for the largest elements of each row."""
    graph = draw(graphs(**options))
    source = graph.tensor(graph.outputs[0])
    count = draw(st.integers(1, source.shape[-1]))
    result = Tensor("found", (*source.shape[:-1], count), DataType.I32)
    taken = Tensor("taken", result.shape, graph.dtype)
    search = TopIndices(result, source.name, count), Gather(taken, source.name, "found")
    operations, outputs = (*graph.operations, *search), (result.name, taken.name)
    return replace(graph, operations=operations, outputs=outputs)


@st.composite
def products(draw: st.DrawFn, *, max_size: int = 6) -> Graph:
    """Draw a product of two tensors, or a chain of two like that of an attention."""
    dtype, sizes = draw(FLOATS), st.integers(1, max_size)
    samples, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rows, others, depth, width = (draw(sizes) for _ in range(4))
    left = Tensor("left", (samples * rows, groups * depth), dtype)
    right = Tensor("right", (samples * others, groups * depth), dtype)
    scores = Tensor("scores", (samples * rows, groups * others), dtype)
    first = BatchedMatmul(scores, "left", "right", groups, rows, is_transposed=True)
    if draw(st.booleans()):
        return Graph("product", (left, right), (), (first,), ("scores",))
    values = Tensor("values", (samples * others, groups * width), dtype)
    shares = Softmax(replace(scores, name="shares"), "scores", groups)
    mixed = Tensor("mixed", (samples * rows, groups * width), dtype)
    second = BatchedMatmul(mixed, "shares", "values", groups, rows, is_transposed=False)
    inputs, operations = (left, right, values), (first, shares, second)
    return Graph("products", inputs, (), operations, ("mixed", "scores"))


@dataclass
class _Sequence:
    """A graph over the tokens of a sequence, under construction."""

    dtype: DataType
    has_equal_heads: bool
    """True if heads of values are as wide as those of keys."""
    is_causal: bool
    """True if each token attends to earlier ones only."""
    parameters: list[Tensor] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def parameter(self, name: str, *shape: int) -> str:
        self.parameters.append(Tensor(name, shape, self.dtype))
        return name

    def tensor(self, *shape: int) -> Tensor:
        return Tensor(f"t{len(self.operations)}", shape, self.dtype)

    def linear(self, source: Tensor, out: int) -> Tensor:
        result = self.tensor(source.shape[0], out)
        weight = self.parameter(f"{result.name}.weight", out, source.shape[1])
        self.operations.append(Linear(result, source.name, weight))
        return result

    def attention(self, draw: st.DrawFn, source: Tensor) -> None:
        kv_heads, group, pairs = (draw(st.integers(1, 2)) for _ in range(3))
        heads, causal = kv_heads * group, self.is_causal or draw(st.booleans())
        query = self.linear(source, heads * pairs * 2)
        key = self.linear(source, kv_heads * pairs * 2)
        value_features = pairs * 2 if self.has_equal_heads else draw(st.integers(1, 3))
        value = self.linear(source, kv_heads * value_features)
        result = self.tensor(source.shape[0], value.shape[1] // kv_heads * heads)
        scale = draw(st.floats(0.125, 2))
        self.operations.append(
            Attention(
                result, query.name, key.name, value.name, heads, kv_heads, scale, is_causal=causal
            )
        )

    def rotate(self, draw: st.DrawFn, source: Tensor, max_positions: int) -> None:
        heads = draw(st.integers(1, 2))
        rotated = self.linear(source, heads * 2 * draw(st.integers(1, 2)))
        result = self.tensor(*rotated.shape)
        shape = (max_positions, rotated.shape[1] // heads)
        cosine = self.parameter(f"{result.name}.cosine", *shape)
        sine = self.parameter(f"{result.name}.sine", *shape)
        swapped = draw(st.sampled_from([None, *range(0, shape[1] + 1, 2)]))
        self.operations.append(Rotary(result, rotated.name, cosine, sine, heads, swapped))


_ROW_BY_ROW = ["linear", "multiply", "scale", "activation", "rms", "layer"]
_OF_POSITIONS = ["position", "rotary", "attention", "first", "last"]


@st.composite
def sequences(
    draw: st.DrawFn,
    *,
    max_rows: int = 4,
    max_operations: int = 6,
    has_equal_heads: bool = False,
    has_cache: bool = False,
) -> Graph:
    """Draw a chain of all operations over the tokens of one sequence.

    With a cache, it has causal attention, and what it computes does not need its first token.
    """
    rows, features, vocabulary = (draw(st.integers(1, most)) for most in (max_rows, 6, 9))
    sequence = _Sequence(draw(FLOATS), has_equal_heads, is_causal=has_cache)
    ids = Tensor("ids", (rows, 1), DataType.I32)
    table = sequence.parameter("table", vocabulary, features)
    sequence.operations.append(Embedding(sequence.tensor(rows, features), "ids", table))
    num_operations = draw(st.integers(int(has_cache), max_operations))
    attends = draw(st.integers(0, num_operations - 1)) if has_cache else None
    of_positions = [kind for kind in _OF_POSITIONS if not (has_cache and kind == "first")]
    for index in range(num_operations):
        has_all_rows = not any(isinstance(o, FirstRow | LastRow) for o in sequence.operations)
        kinds = _ROW_BY_ROW + of_positions if has_all_rows else _ROW_BY_ROW
        if attends is not None and index <= attends:
            kinds = ["attention"] if index == attends else [k for k in kinds if k != "last"]
        _append(draw, sequence, draw(st.sampled_from(kinds)), max_positions=rows + 3)
    last = sequence.operations[-1].result.name
    return Graph("sequence", (ids,), (*sequence.parameters,), (*sequence.operations,), (last,))


def _append(draw: st.DrawFn, sequence: _Sequence, kind: str, *, max_positions: int) -> None:
    source = sequence.operations[-1].result
    rows, features = source.shape
    result = sequence.tensor(rows, features)
    operations, name, parameter = sequence.operations, source.name, sequence.parameter
    match kind:
        case "linear":
            sequence.linear(source, draw(st.integers(1, 6)))
        case "multiply":
            operations.append(Multiply(result, name, name))
        case "scale":
            operations.append(Scale(result, name, draw(st.floats(-2, 2))))
        case "activation":
            operations.append(Activation(result, name, draw(st.sampled_from(ActivationFunction))))
        case "rms":
            groups = draw(_divisors(features))
            weight = parameter(f"{result.name}.weight", features // groups)
            operations.append(RmsNorm(result, name, weight, 1e-6, groups))
        case "layer":
            groups = draw(_divisors(features))
            weight = parameter(f"{result.name}.weight", features // groups)
            bias = parameter(f"{result.name}.bias", features // groups)
            operations.append(LayerNorm(result, name, weight, bias, 1e-5, groups))
        case "position":
            positions = parameter(f"{result.name}.table", max_positions, features)
            operations.append(PositionEmbedding(result, positions))
            operations.append(Add(sequence.tensor(rows, features), result.name, name))
        case "rotary":
            sequence.rotate(draw, source, max_positions)
        case "attention":
            sequence.attention(draw, source)
        case "first":
            operations.append(FirstRow(sequence.tensor(1, features), name))
        case _:
            operations.append(LastRow(sequence.tensor(1, features), name))
