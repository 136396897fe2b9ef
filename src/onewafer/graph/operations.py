"""The operations of a graph: one class each, and the names that it reads.

Rows and features are the last two dimensions; operations that say "two-dimensional" below need a
tensor that has no others. Where an operation knows positions, its rows are consecutive tokens of
one sequence: row r of a launch that begins at `start` is at position start + r.

Where an operation works on feature maps (images and the like), its rows are the pixels of one
feature map after the other, all pixels of a sample together, in reading order: sample · pixels + y
· width + x.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from onewafer.graph.tensor import Tensor
    from onewafer.graph.window import Window


@dataclass(frozen=True, slots=True)
class Linear:
    """Multiply by a transposed weight: `result = input @ weight.T`."""

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (out features, in features)."""


@dataclass(frozen=True, slots=True)
class AddBias:
    """Add a vector of features to every row."""

    result: Tensor
    input: str
    bias: str
    """A parameter of shape (features,)."""


@dataclass(frozen=True, slots=True)
class Relu:
    """Replace negative elements by +0; whether −0 stays or becomes +0 is open."""

    result: Tensor
    input: str


@dataclass(frozen=True, slots=True)
class Add:
    """Add two tensors of one shape (a residual connection)."""

    result: Tensor
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Multiply:
    """Multiply two tensors of one shape, element by element (a gate)."""

    result: Tensor
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class ScaleFeatures:
    """Multiply every row by a vector of features, element by element."""

    result: Tensor
    input: str
    factors: str
    """A parameter of shape (features,)."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Multiply every element by a number."""

    result: Tensor
    input: str
    factor: float


class ActivationFunction(StrEnum):
    """A function of one element; σ(x) = 1 / (1 + e⁻ˣ)."""

    SILU = "silu"
    """x · σ(x)"""
    GELU = "gelu"
    """x · (1 + erf(x / √2)) / 2"""
    GELU_TANH = "gelu_tanh"
    """x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2"""
    SIGMOID = "sigmoid"
    """σ(x)"""
    TANH = "tanh"
    """tanh(x)"""


@dataclass(frozen=True, slots=True)
class Activation:
    """Apply a function to every element."""

    result: Tensor
    input: str
    function: ActivationFunction


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """Divide each group of features of a row by its root mean square, and scale it.

    For a group g of a row: `result[g] = input[g] / √(mean(input[g]²) + epsilon) · weight`.
    """

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Give each group of features of a row mean 0 and variance 1, and scale and shift it.

    For a group g of n features of a row, with the variance over n:
    `result[g] = (input[g] − mean(input[g])) / √(variance(input[g]) + epsilon) · weight + bias`.
    """

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (features / groups,), the same for all groups."""
    bias: str
    """A parameter of shape (features / groups,), the same for all groups."""
    epsilon: float
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each is normalised alone."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Look rows up in a table: `result[r] = table[indices[r, 0]]`; two-dimensional."""

    result: Tensor
    indices: str
    """Type i32, shape (rows, 1), an input or a result; an index outside the table is a bug."""
    table: str
    """A parameter of shape (number of rows to choose from, features)."""


@dataclass(frozen=True, slots=True)
class PositionEmbedding:
    """Take the rows of a table at the positions of the launch: `result[r] = table[start + r]`."""

    result: Tensor
    table: str
    """A parameter of shape (positions, features)."""


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotate pairs of features of each head by angles of the position; two-dimensional.

    For a head x at position p and each pair of features a, b:
    `result[a] = x[a] · cosine[p, a] − x[b] · sine[p, a]` and
    `result[b] = x[b] · cosine[p, b] + x[a] · sine[p, b]`.
    """

    result: Tensor
    input: str
    cosine: str
    """A parameter of shape (positions, features of a head)."""
    sine: str
    """A parameter of shape (positions, features of a head)."""
    heads: int
    """Groups of consecutive features that are rotated alike."""
    swapped: int | None = None
    """Features at the beginning of a head whose first half is paired with the second half, None:
    all of them; the features after them are paired with their neighbours."""

    @property
    def num_swapped(self) -> int:
        """Features at the beginning of a head whose halves are paired."""
        whole = self.result.shape[-1] // self.heads
        return whole if self.swapped is None else self.swapped


@dataclass(frozen=True, slots=True)
class Attention:
    """Mix the value rows by how well their key rows match each query row; two-dimensional.

    Query head h, the h-th group of features, meets key and value head h // (heads / kv_heads):
    `result[r, h] = Σₛ softmaxₛ(scale · query[r, h] · key[s, …]) · value[s, …]`. If causal, s runs
    over the rows of this and of all earlier launches of the sequence up to position start + r, so
    that keys and values stay with the program; else over the rows of this launch. A bias is added
    to the products before they are scaled: `scale · (query[r, h] · key[s, …] + bias[r, h, s])`.
    A window leaves out what lies further back: s > start + r − window.
    """

    result: Tensor
    query: str
    """Shape (rows, heads · head features)."""
    key: str
    """Shape (rows, kv_heads · head features)."""
    value: str
    """Shape (rows, kv_heads · value features)."""
    heads: int
    kv_heads: int
    scale: float
    is_causal: bool
    bias: str | None = None
    """A parameter of shape (rows · heads, rows), row r of head h as row r · heads + h; only if not
    causal. A mask has large negative numbers where a key is not seen."""
    window: int | None = None
    """Most rows that a row sees, itself and those right before it; only if causal. None: all."""
    sinks: str | None = None
    """A parameter of shape (heads,): scores of a key that every row sees and whose value is 0."""
    cached_features: int | None = None
    """Numbers that are kept of each token for later ones, where keys and values share some; None:
    its key and its value."""


@dataclass(frozen=True, slots=True)
class FirstRow:
    """Take the first row of the launch; two-dimensional, the result has one row."""

    result: Tensor
    input: str


@dataclass(frozen=True, slots=True)
class LastRow:
    """Take the last valid row of the launch; two-dimensional, the result has one row."""

    result: Tensor
    input: str


@dataclass(frozen=True, slots=True)
class Convolution:
    """Multiply the rows at the taps of a window by a weight each; two-dimensional, on maps.

    `result[p, o] = Σₜ Σᵢ input[tap t of p, i] · weight[t, o, i]`, over the taps inside the map.
    """

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (taps, out features, in features)."""
    window: Window


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution:
    """Weigh each feature by itself over the taps of a window; two-dimensional, on maps.

    `result[p, f] = Σₜ input[tap t of p, f] · weight[t, f]`, over the taps inside the map.
    """

    result: Tensor
    input: str
    weight: str
    """A parameter of shape (taps, features)."""
    window: Window


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Take the largest of each feature over the taps of a window; two-dimensional, on maps."""

    result: Tensor
    input: str
    window: Window
    """Every pixel of the result has a tap inside the map."""


@dataclass(frozen=True, slots=True)
class GlobalAveragePool:
    """Take the mean of all rows of each sample; two-dimensional, one row a sample."""

    result: Tensor
    input: str
    rows: int
    """Rows of a sample: the pixels of its map."""


@dataclass(frozen=True, slots=True)
class ScaleFeatureMaps:
    """Multiply all rows of each sample by a row of factors (a gate); two-dimensional, on maps."""

    result: Tensor
    input: str
    factors: str
    """An input or a result of shape (samples, features)."""
    rows: int
    """Rows of a sample: the pixels of its map."""


@dataclass(frozen=True, slots=True)
class TopIndices:
    """Find the largest elements of each row, the largest first: `result[…, j]` is a feature.

    Of equals (−0 is equal to +0) the first one comes first; NaN is above all numbers.
    """

    result: Tensor
    """Type i32, shape (…, count); all other operations compute floating-point numbers."""
    input: str
    count: int
    """How many; 1: the argmax of each row."""


@dataclass(frozen=True, slots=True)
class Gather:
    """Take some features of each row: `result[…, j] = input[…, indices[…, j]]`."""

    result: Tensor
    input: str
    indices: str
    """Type i32, a row for each row of the input; an index outside the features is a bug."""


@dataclass(frozen=True, slots=True)
class Softmax:
    """Make the features of each group of a row positive numbers whose sum is 1.

    For a group g of a row: `result[g] = exp(input[g] − max(input[g])) / Σ exp(input[g] − max)`.
    """

    result: Tensor
    input: str
    groups: int = 1
    """Groups of consecutive features of equal size: the heads, where each has its own scores."""


@dataclass(frozen=True, slots=True)
class BatchedMatmul:
    """Multiply two tensors, sample by sample and group by group of features; two-dimensional.

    Of a sample, whose right operand has S rows, and of group g with K features of the left one:
    `result[r, g·N + n] = Σₖ left[r, g·K + k] · right[k, g·N + n]`, where S = K, or transposed
    `result[r, g·S + s] = Σₖ left[r, g·K + k] · right[s, g·K + k]`.
    """

    result: Tensor
    left: str
    right: str
    groups: int
    """Groups of consecutive features of equal size: the matrices of a sample, heads for example."""
    rows: int
    """Rows of the left operand and of the result that belong to a sample."""
    is_transposed: bool
    """Whether the features of the right operand are what is summed over, not its rows."""


@dataclass(frozen=True, slots=True)
class Experts:
    """Send every row through some of many small networks (experts), and add up their results.

    Counted, not computed: the mesh program has no form of it. The data of a row choose its
    networks; counts assume that all are chosen equally often and independently.
    """

    result: Tensor
    input: str
    """Shape (rows, features)."""
    choice: str
    """The input of the choice: shape (rows, something)."""
    weights: tuple[str, ...]
    """Parameters whose first dimension is the experts: matrices, and vectors of biases."""
    num_experts: int
    experts_per_row: int
    hidden_features: int
    """Between the matrices of an expert."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that PyTorch computes and that has no other form here: counted, not computed."""

    result: Tensor
    function: str
    """PyTorch's name: `aten.topk.default`."""
    inputs: tuple[str, ...]
    """Inputs and results of operations that it reads."""
    parameters: tuple[str, ...]
    flop_per_element: float
    """Floating point operations for each element of the result."""
    keeps_rows: bool
    """Whether the result has the rows of the first input, however many those are."""
    is_view: bool = False
    """Whether nothing moves: the same elements are seen in another way."""


Operation = (
    Linear
    | AddBias
    | Relu
    | Add
    | Multiply
    | ScaleFeatures
    | Scale
    | Activation
    | RmsNorm
    | LayerNorm
    | Embedding
    | PositionEmbedding
    | Rotary
    | Attention
    | FirstRow
    | LastRow
    | Convolution
    | DepthwiseConvolution
    | MaxPool
    | GlobalAveragePool
    | ScaleFeatureMaps
    | TopIndices
    | Gather
    | Softmax
    | BatchedMatmul
    | Experts
    | Opaque
)

SEQUENTIAL = (PositionEmbedding, Rotary, Attention, FirstRow, LastRow)
"""Operations for which the rows of a launch belong together, in their order."""
COUNTED = (Experts, Opaque)
"""Operations with a cost but without values."""
ON_FEATURE_MAPS = (
    Convolution,
    DepthwiseConvolution,
    MaxPool,
    GlobalAveragePool,
    ScaleFeatureMaps,
    BatchedMatmul,
)
"""Operations on samples of several consecutive rows: the pixels of a feature map, or the rows of a
product."""


def activation_operands(operation: Operation) -> tuple[str, ...]:
    """Return the names of the inputs or results that an operation reads."""
    match operation:
        case (
            Linear()
            | AddBias()
            | Relu()
            | ScaleFeatures()
            | Scale()
            | Activation()
            | RmsNorm()
            | LayerNorm()
            | Rotary()
            | FirstRow()
            | LastRow()
            | Convolution()
            | DepthwiseConvolution()
            | MaxPool()
            | GlobalAveragePool()
            | TopIndices()
            | Softmax()
        ):
            return (operation.input,)
        case Add() | Multiply() | BatchedMatmul():
            return (operation.left, operation.right)
        case ScaleFeatureMaps():
            return (operation.input, operation.factors)
        case Gather():
            return (operation.input, operation.indices)
        case Embedding():
            return (operation.indices,)
        case PositionEmbedding():
            return ()
        case Experts():
            return (operation.input, operation.choice)
        case Opaque():
            return operation.inputs
        case Attention():
            return (operation.query, operation.key, operation.value)
        case _:
            assert_never(operation)


def index_operands(operation: Operation) -> tuple[str, ...]:
    """Return those of the names that must be indices; all others must not be."""
    return (operation.indices,) if isinstance(operation, Embedding | Gather) else ()


def parameter_operands(operation: Operation) -> tuple[str, ...]:
    """Return the names of the parameters that an operation reads."""
    match operation:
        case Linear() | RmsNorm() | Convolution() | DepthwiseConvolution():
            return (operation.weight,)
        case ScaleFeatures():
            return (operation.factors,)
        case AddBias():
            return (operation.bias,)
        case LayerNorm():
            return (operation.weight, operation.bias)
        case Embedding() | PositionEmbedding():
            return (operation.table,)
        case Rotary():
            return (operation.cosine, operation.sine)
        case Attention():
            return tuple(name for name in (operation.bias, operation.sinks) if name is not None)
        case Experts():
            return operation.weights
        case Opaque():
            return operation.parameters
        case (
            Relu()
            | Add()
            | Multiply()
            | Scale()
            | Activation()
            | FirstRow()
            | LastRow()
            | MaxPool()
            | GlobalAveragePool()
            | ScaleFeatureMaps()
            | TopIndices()
            | Gather()
            | Softmax()
            | BatchedMatmul()
        ):
            return ()
        case _:
            assert_never(operation)
