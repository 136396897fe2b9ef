"""Graphs that have all kinds of operations, or few, from which the costs of kernels are measured.

A helper of `kernel_costs.py`.
"""

from __future__ import annotations

from dataclasses import replace

from onewafer.graph import (
    Activation,
    ActivationFunction,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DataType,
    DepthwiseConvolution,
    Embedding,
    FirstRow,
    Gather,
    GlobalAveragePool,
    Graph,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Operation,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    Softmax,
    Tensor,
    TopIndices,
    Window,
)


class _Chain:
    """A graph of tensors of 4×8 under construction."""

    def __init__(self, dtype: DataType) -> None:
        self.dtype = dtype
        self.operations: list[Operation] = []

    def tensor(self, name: str, *shape: int) -> Tensor:
        """Return a tensor of that shape, or of 4×8."""
        return Tensor(name, shape or (4, 8), self.dtype)

    def append_all_of_rows(self) -> None:
        """Append operations that know no positions; the first reads `x`, the last is `tanh`."""
        tensor, source = self.tensor, "x"
        for index in range(6):  # after the first, pairs of equal layers, for a REPEAT
            self.operations += [
                Linear(tensor(f"{index}.product"), source, "w"),
                AddBias(tensor(f"{index}.sum"), f"{index}.product", "v"),
                Relu(tensor(f"{index}.relu"), f"{index}.sum"),
            ]
            source = f"{index}.relu"
        for both in ("x", "0.relu"):  # more that reads the same, along either axis
            self.operations += [
                Linear(tensor(f"{both}.{side}"), both, "w") for side in ("left", "right")
            ]
        self.operations += [
            Add(tensor("even"), source, "x"),
            Add(tensor("odd"), "even", "0.relu"),  # turns its right operand
            Add(tensor("y"), "0.relu", "odd"),  # likewise, the other way
            Multiply(tensor("product"), "y", "y"),
            Scale(tensor("half"), "product", 0.5),
            ScaleFeatures(tensor("scaled"), "half", "v"),
            RmsNorm(tensor("rms"), "scaled", "v", 1e-5),
            LayerNorm(tensor("layer"), "rms", "v", "v", 1e-5),
        ]
        self.operations += [  # a norm that waits for a product
            RmsNorm(tensor("waiting"), "layer", "v", 1e-5),
            Linear(tensor("across"), "waiting", "w"),
            Linear(tensor("back"), "across", "w"),
        ]
        source = "back"
        for function in ActivationFunction:
            self.operations.append(Activation(tensor(function), source, function))
            source = function

    def append_selections(self) -> None:
        """Append searches for the largest elements along either axis."""
        for source in ("x", "0.relu"):
            indices = Tensor(f"{source}.largest", (4, 2), DataType.I32)
            self.operations.append(TopIndices(indices, source, 2))
        self.operations.append(Gather(self.tensor("taken", 4, 2), source, indices.name))

    def append_products(self) -> None:
        """Append products of two tensors, and the softmax of one."""
        tensor = self.tensor
        self.operations += [
            BatchedMatmul(tensor("scores"), "x", "x", 2, 4, is_transposed=True),
            Softmax(tensor("shares"), "scores", 2),
            BatchedMatmul(tensor("mixed"), "shares", "x", 2, 4, is_transposed=False),
        ]

    def append_all_on_feature_maps(self) -> None:
        """Append operations on a feature map of 2×2 pixels."""
        tensor, window = self.tensor, Window(2, 2, 1, 2, right=1)
        self.operations += [
            Convolution(tensor("convolved"), "tanh", "taps", window),
            DepthwiseConvolution(tensor("weighed"), "convolved", "tap vectors", window),
            MaxPool(tensor("largest"), "weighed", window),
            GlobalAveragePool(tensor("average", 1, 8), "largest", 4),
            ScaleFeatureMaps(tensor("gated"), "largest", "average", 4),
            GlobalAveragePool(tensor("mean", 1, 8), "gated", 4),
        ]

    def append_all_of_sequences(self) -> None:
        """Append operations that know positions, and attention along either axis."""
        tensor = self.tensor
        self.operations += [
            Linear(tensor("entry"), "largest", "w"),
            PositionEmbedding(tensor("places"), "table"),
            Add(tensor("placed"), "entry", "places"),
            Rotary(tensor("rotated"), "placed", "angles", "angles", 2),
            _attend(tensor("apart"), "rotated"),
            replace(_attend(tensor("first"), "apart"), is_causal=False, bias="bias"),
            Linear(tensor("turned"), "first", "w"),
            replace(_attend(tensor("second"), "turned"), is_causal=False, bias="bias"),
            FirstRow(tensor("one", 1, 8), "second"),
            LastRow(tensor("last", 1, 8), "second"),
            Add(tensor("end", 1, 8), "one", "last"),
            Add(tensor("all", 1, 8), "end", "mean"),
        ]


def _attend(result: Tensor, source: str) -> Attention:
    return Attention(result, source, source, source, 2, 2, 0.5, is_causal=True)


def graph_of_all_kinds(dtype: DataType, *, is_sequence: bool) -> Graph:
    """Build a graph that needs every kind of operation on a rectangle of 4×4."""
    chain = _Chain(dtype)
    tensor = chain.tensor
    shapes = {"w": (8, 8), "v": (8,), "table": (8, 8), "angles": (8, 4), "bias": (8, 4)}
    shapes |= {"taps": (2, 8, 8), "tap vectors": (2, 8)}
    parameters = tuple(tensor(name, *shape) for name, shape in shapes.items())
    chain.operations.append(Embedding(tensor("x"), "ids", "table"))
    chain.append_all_of_rows()
    chain.append_selections()
    chain.append_products()
    chain.append_all_on_feature_maps()
    if is_sequence:
        chain.append_all_of_sequences()
    ids = Tensor("ids", (4, 1), DataType.I32)
    operations = tuple(chain.operations)
    return Graph("all kinds", (ids,), parameters, operations, (operations[-1].result.name,))


def graph_of_few_kinds(dtype: DataType, *, is_sequence: bool) -> Graph:
    """Build a graph that needs nothing but an addition, and to be a sequence one row of it."""
    chain = _Chain(dtype)
    tensor = chain.tensor
    operations: tuple[Operation, ...] = (Add(tensor("y"), "x", "x"),)
    if is_sequence:
        operations = (*operations, FirstRow(tensor("z", 1, 8), "y"))
    return Graph("few kinds", (tensor("x"),), (), operations, (operations[-1].result.name,))
