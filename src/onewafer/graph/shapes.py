"""The shapes that an operation takes and gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onewafer.errors import GraphError
from onewafer.graph.operations import (
    ON_FEATURE_MAPS,
    Activation,
    Add,
    AddBias,
    Attention,
    BatchedMatmul,
    Convolution,
    DepthwiseConvolution,
    Embedding,
    Experts,
    FirstRow,
    Gather,
    GlobalAveragePool,
    LastRow,
    LayerNorm,
    Linear,
    MaxPool,
    Multiply,
    Opaque,
    PositionEmbedding,
    Relu,
    RmsNorm,
    Rotary,
    Scale,
    ScaleFeatureMaps,
    ScaleFeatures,
    Softmax,
    TopIndices,
)
from onewafer.graph.tensor import FLOATING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation
    from onewafer.graph.tensor import DataType, Tensor

    _OneOperand = (
        Convolution | DepthwiseConvolution | MaxPool | GlobalAveragePool | ScaleFeatureMaps
    )
    OnFeatureMaps = _OneOperand | BatchedMatmul

_MATRIX = 2
"""Dimensions of a matrix."""
_STACK = 3
"""Dimensions of several matrices."""


def result_shape(operation: Operation, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the shape that the result of a well-formed operation has.

    A `PositionEmbedding` reads no other tensor, so its result says its rows.
    """
    match operation:
        case Linear():
            return (*tensors[operation.input].shape[:-1], tensors[operation.weight].shape[0])
        case (
            AddBias()
            | Relu()
            | ScaleFeatures()
            | Scale()
            | Activation()
            | RmsNorm()
            | LayerNorm()
            | Rotary()
            | ScaleFeatureMaps()
            | Softmax()
            | Experts()
        ):
            return tensors[operation.input].shape
        case Add() | Multiply():
            return tensors[operation.left].shape
        case Embedding():
            return (tensors[operation.indices].shape[0], tensors[operation.table].shape[-1])
        case PositionEmbedding():
            return (operation.result.shape[0], tensors[operation.table].shape[-1])
        case Attention():
            features = tensors[operation.value].shape[-1] // operation.kv_heads * operation.heads
            return (tensors[operation.query].shape[0], features)
        case FirstRow() | LastRow():
            return (1, tensors[operation.input].shape[-1])
        case Convolution():
            pixels = num_feature_maps(operation, tensors) * operation.window.num_result_pixels
            return (pixels, tensors[operation.weight].shape[1])
        case DepthwiseConvolution() | MaxPool():
            pixels = num_feature_maps(operation, tensors) * operation.window.num_result_pixels
            return (pixels, tensors[operation.input].shape[1])
        case Opaque():
            rows = tensors[operation.inputs[0]].shape[0] if operation.keeps_rows else None
            shape = operation.result.shape
            return shape if rows is None else (rows, *shape[1:])
        case GlobalAveragePool():
            return (num_feature_maps(operation, tensors), tensors[operation.input].shape[1])
        case BatchedMatmul():
            rows, right = tensors[operation.left].shape[0], tensors[operation.right].shape
            if not operation.is_transposed:
                return (rows, right[1])
            return (rows, right[0] // num_feature_maps(operation, tensors) * operation.groups)
        case TopIndices():
            return (*tensors[operation.input].shape[:-1], operation.count)
        case Gather():
            return tensors[operation.indices].shape
        case _:
            raise TypeError(f"no rule for {operation}")


def wrong_operand(operation: Operation, tensors: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with the shapes of an operation's operands; None if nothing is."""
    match operation:
        case Linear():
            return _wrong_linear(operation, tensors)
        case AddBias():
            features = tensors[operation.input].shape[-1]
            return _wrong_vector("bias", tensors[operation.bias], features)
        case ScaleFeatures():
            features = tensors[operation.input].shape[-1]
            return _wrong_vector("vector of factors", tensors[operation.factors], features)
        case Add() | Multiply():
            left, right = tensors[operation.left].shape, tensors[operation.right].shape
            if left != right:
                return f"the operands have shapes {left} and {right}, which must be equal"
            return None
        case RmsNorm():
            return _wrong_norm(operation, tensors, {"weight": operation.weight})
        case LayerNorm():
            vectors = {"weight": operation.weight, "bias": operation.bias}
            return _wrong_norm(operation, tensors, vectors)
        case Embedding():
            indices = tensors[operation.indices].shape
            if len(indices) != _MATRIX or indices[1] != 1:
                return f"the indices have shape {indices}, must be (rows, 1)"
            return _wrong_table(tensors[operation.table], "number of rows to choose from")
        case PositionEmbedding():
            return _wrong_table(tensors[operation.table], "positions")
        case Rotary():
            return _wrong_rotary(operation, tensors)
        case Attention():
            return _wrong_attention(operation, tensors)
        case FirstRow() | LastRow():
            return _not_a_matrix("input", tensors[operation.input])
        case Experts():
            return _wrong_experts(operation, tensors)
        case Opaque() if operation.keeps_rows and not operation.inputs:
            return "it keeps the rows of its first input, and has no input"
        case (
            Convolution()
            | DepthwiseConvolution()
            | MaxPool()
            | GlobalAveragePool()
            | ScaleFeatureMaps()
        ):
            return _wrong_feature_maps(operation, tensors) or _wrong_taps(operation, tensors)
        case Softmax():
            return _wrong_groups(tensors[operation.input].shape[-1], operation.groups)
        case BatchedMatmul():
            return _wrong_product(operation, tensors)
        case Gather():
            return _wrong_gather(operation, tensors)
        case TopIndices():
            features = tensors[operation.input].shape[-1]
            if not 1 <= operation.count <= features:
                return f"it finds {operation.count} of {features} features; use 1 to {features}"
            return None
        case Relu() | Scale() | Activation() | Opaque():
            return None
        case _:
            raise TypeError(f"no rule for {operation}")


def _wrong_linear(operation: Linear, tensors: Mapping[str, Tensor]) -> str | None:
    weight, features = tensors[operation.weight].shape, tensors[operation.input].shape[-1]
    if len(weight) != _MATRIX or weight[1] != features:
        return f"the weight has shape {weight}, must be (out features, {features})"
    return None


def _wrong_gather(operation: Gather, tensors: Mapping[str, Tensor]) -> str | None:
    rows, wanted = (tensors[name].shape[:-1] for name in (operation.input, operation.indices))
    if rows != wanted:
        return f"there are indices for rows {wanted}, and the input has rows {rows}"
    return None


def _not_a_matrix(what: str, tensor: Tensor) -> str | None:
    if len(tensor.shape) == _MATRIX:
        return None
    return f"the {what} has shape {tensor.shape}, must be (rows, features)"


def _wrong_vector(what: str, vector: Tensor, features: int) -> str | None:
    if vector.shape == (features,):
        return None
    return f"the {what} has shape {vector.shape}, must be ({features},)"


def _wrong_table(table: Tensor, rows: str) -> str | None:
    if len(table.shape) == _MATRIX:
        return None
    return f"the table has shape {table.shape}, must be ({rows}, features)"


def _wrong_norm(
    operation: RmsNorm | LayerNorm, tensors: Mapping[str, Tensor], vectors: Mapping[str, str]
) -> str | None:
    features, groups = tensors[operation.input].shape[-1], operation.groups
    finding = _wrong_groups(features, groups)
    if finding is not None:
        return finding
    findings = (
        _wrong_vector(what, tensors[name], features // groups) for what, name in vectors.items()
    )
    return next((finding for finding in findings if finding is not None), None)


def _wrong_groups(features: int, groups: int) -> str | None:
    if groups < 1 or features % groups:
        return f"it cuts {features} features into {groups} groups, which must divide them"
    return None


def _wrong_product(operation: BatchedMatmul, tensors: Mapping[str, Tensor]) -> str | None:
    left, right = tensors[operation.left], tensors[operation.right]
    for what, tensor in (("left operand", left), ("right operand", right)):
        finding = _not_a_matrix(what, tensor) or _wrong_groups(tensor.shape[1], operation.groups)
        if finding is not None:
            return f"{what}: {finding}"
    if operation.rows < 1 or left.shape[0] % operation.rows:
        return f"a sample has {operation.rows} rows, which must divide the {left.shape[0]} rows"
    samples = num_feature_maps(operation, tensors)
    if operation.is_transposed:
        if right.shape[1] != left.shape[1] or right.shape[0] % samples:
            expected = f"({samples} · rows of a sample, {left.shape[1]})"
            return f"the right operand has shape {right.shape}, must be {expected}"
        return None
    summed = left.shape[1] // operation.groups
    if right.shape[0] != samples * summed:
        expected = f"({samples} · {summed}, features)"
        return f"the right operand has shape {right.shape}, must be {expected}"
    return None


def _wrong_rotary(operation: Rotary, tensors: Mapping[str, Tensor]) -> str | None:
    source = tensors[operation.input]
    features = source.shape[-1]
    if operation.heads < 1 or features % (2 * operation.heads):
        return f"it cuts {features} features into {operation.heads} heads of two equal halves"
    head, swapped = features // operation.heads, operation.num_swapped
    if swapped % 2 or not 0 <= swapped <= head:
        return f"it swaps halves of {swapped} features; must be even, at most the {head} of a head"
    cosine, sine = tensors[operation.cosine].shape, tensors[operation.sine].shape
    if len(cosine) != _MATRIX or cosine[1] != head or sine != cosine:
        return f"the tables have shapes {cosine} and {sine}, must both be (positions, {head})"
    return _not_a_matrix("input", source)


def _wrong_attention(operation: Attention, tensors: Mapping[str, Tensor]) -> str | None:
    heads, kv_heads = operation.heads, operation.kv_heads
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        return f"it has {heads} heads over {kv_heads} key and value heads, which must divide them"
    query, key, value = (tensors[name] for name in operation.activation_operands)
    for what, tensor in (("query", query), ("key", key), ("value", value)):
        finding = _not_a_matrix(what, tensor)
        if finding is not None:
            return finding
    rows, features = query.shape
    if features % heads:
        return f"it cuts {features} features of the query into {heads} heads"
    if key.shape != (rows, features // heads * kv_heads):
        expected = (rows, features // heads * kv_heads)
        return f"the key has shape {key.shape}, must be {expected}"
    if value.shape[0] != rows or value.shape[1] % kv_heads:
        return f"the value has shape {value.shape}, must be ({rows}, a multiple of {kv_heads})"
    if operation.sinks is not None and tensors[operation.sinks].shape != (heads,):
        return f"the sinks have shape {tensors[operation.sinks].shape}, must be ({heads},)"
    if operation.window is not None and not (operation.is_causal and operation.window >= 1):
        return f"it has a window of {operation.window}, which must be at least 1 and causal"
    return None if operation.bias is None else _wrong_bias(operation, rows, tensors[operation.bias])


def _wrong_bias(operation: Attention, rows: int, bias: Tensor) -> str | None:
    if operation.is_causal:
        return "it is causal and has a bias; only attention to all rows of a launch can have one"
    expected = (rows * operation.heads, rows)
    if bias.shape == expected:
        return None
    return f"the bias has shape {bias.shape}, must be (rows · heads, rows) = {expected}"


def _wrong_experts(operation: Experts, tensors: Mapping[str, Tensor]) -> str | None:
    if not 1 <= operation.experts_per_row <= operation.num_experts:
        return f"a row meets {operation.experts_per_row} of {operation.num_experts} experts"
    for name in operation.weights:
        shape = tensors[name].shape
        if shape[0] != operation.num_experts:
            return f"{name!r} has shape {shape}, must be ({operation.num_experts} experts, …)"
    rows, found = tensors[operation.input].shape[0], tensors[operation.choice].shape[0]
    return None if rows == found else f"it chooses for {found} rows and has {rows}"


def _num_pixels(operation: OnFeatureMaps) -> int:
    """Return the rows that each sample has of the operand."""
    is_whole = isinstance(operation, GlobalAveragePool | ScaleFeatureMaps | BatchedMatmul)
    return operation.rows if is_whole else operation.window.num_pixels


def num_feature_maps(operation: OnFeatureMaps, tensors: Mapping[str, Tensor]) -> int:
    """Return how many feature maps the rows of the operand are."""
    source = operation.left if isinstance(operation, BatchedMatmul) else operation.input
    return tensors[source].shape[0] // _num_pixels(operation)


def _wrong_feature_maps(operation: _OneOperand, tensors: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with the window, or with how it cuts the rows into maps."""
    if isinstance(operation, GlobalAveragePool | ScaleFeatureMaps):
        what, sizes = f"a sample has {operation.rows} rows", [operation.rows]
    else:
        window = operation.window
        what = f"its feature map has {window.height}×{window.width} pixels"
        sizes = [window.height, window.width, window.kernel_height, window.kernel_width]
        sizes += [window.stride_y, window.stride_x, window.dilation_y, window.dilation_x]
        if min(window.top, window.left, window.bottom, window.right) < 0:
            return "a margin of its window is negative"
    if min(sizes) < 1:
        return f"{what}; sizes, strides and dilations must be at least 1"
    source = tensors[operation.input]
    pixels = _num_pixels(operation)
    if len(source.shape) == _MATRIX and source.shape[0] % pixels:
        return f"{what}, which must divide the {source.shape[0]} rows"
    return _not_a_matrix("input", source)


def _wrong_taps(operation: _OneOperand, tensors: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with the taps of a window and their weights."""
    if isinstance(operation, GlobalAveragePool):
        return None
    if isinstance(operation, ScaleFeatureMaps):
        expected = (num_feature_maps(operation, tensors), tensors[operation.input].shape[1])
        found = tensors[operation.factors].shape
        return None if found == expected else f"the factors are {found}, must be {expected}"
    window = operation.window
    kernel = f"a kernel of {window.kernel_height}×{window.kernel_width} taps"
    if min(window.result_height, window.result_width) < 1:
        return f"{kernel} does not fit its feature map of {window.height}×{window.width} pixels"
    features = tensors[operation.input].shape[1]
    match operation:
        case Convolution(weight=name):
            weight, last = tensors[name].shape, "out features, "
            is_right = len(weight) == _STACK and (weight[0], weight[2]) == (
                window.num_taps,
                features,
            )
        case DepthwiseConvolution(weight=name):
            weight, last = tensors[name].shape, ""
            is_right = weight == (window.num_taps, features)
        case MaxPool():
            if (window.sources() < 0).all(axis=1).any():
                return f"{kernel} lies outside the map for some pixels of the result"
            return None
    if is_right:
        return None
    return f"the weight has shape {weight}, must be ({window.num_taps}, {last}{features})"


def num_samples(graph: Graph) -> int:
    """Return the samples of a launch: its feature maps, or its rows; a sequence is one sample."""
    tensors = {tensor.name: tensor for tensor in graph.tensors}
    for operation in graph.operations:
        if isinstance(operation, ON_FEATURE_MAPS):
            return num_feature_maps(operation, tensors)
    return 1 if graph.is_sequence else graph.inputs[0].shape[0]


def with_samples(graph: Graph, samples: int) -> Graph:
    """Return the same graph for another number of samples.

    The graph must be well formed and two-dimensional, else GraphError is raised.
    """
    old = num_samples(graph)
    return _with_inputs(graph, lambda rows: rows // old * samples)


def with_rows(graph: Graph, rows: int) -> Graph:
    """Return the same graph for another number of rows; tensors of one row keep it.

    The graph must be well formed and two-dimensional, else GraphError is raised.
    """
    return _with_inputs(graph, lambda _: rows)


def position_tables(graph: Graph) -> tuple[str, ...]:
    """Return the parameters that have a row for every position, each once."""
    tables: dict[str, None] = {}
    for operation in graph.operations:
        match operation:
            case PositionEmbedding(_, table):
                tables[table] = None
            case Rotary(_, _, cosine, sine):
                tables |= {cosine: None, sine: None}
            case _:
                pass
    return tuple(tables)


def table_rows(graph: Graph) -> dict[str, int]:
    """Return, for each input of indices, how many rows there are to choose from.

    Of an input that looks up several tables: the rows of the smallest.
    """
    tables = {tensor.name: tensor.shape[0] for tensor in graph.parameters}
    rows: dict[str, int] = {}
    for operation in graph.operations:
        match operation:
            case Embedding(_, indices, table):
                rows[indices] = min(tables[table], rows.get(indices, tables[table]))
            case _:
                pass
    return rows


def with_positions(graph: Graph, count: int) -> Graph:
    """Return the same graph with tables of another number of positions."""
    tables = position_tables(graph)
    parameters = tuple(
        replace(tensor, shape=(count, *tensor.shape[1:])) if tensor.name in tables else tensor
        for tensor in graph.parameters
    )
    return replace(graph, parameters=parameters)


def with_dtype(graph: Graph, dtype: DataType) -> Graph:
    """Return the same graph in another floating format; indices stay."""

    def convert(tensor: Tensor) -> Tensor:
        return replace(tensor, dtype=dtype) if tensor.dtype in FLOATING else tensor

    return replace(
        graph,
        inputs=tuple(map(convert, graph.inputs)),
        parameters=tuple(map(convert, graph.parameters)),
        operations=tuple(
            replace(operation, result=convert(operation.result)) for operation in graph.operations
        ),
    )


def _with_inputs(graph: Graph, resize: Callable[[int], int]) -> Graph:
    if any(len(tensor.shape) != _MATRIX for tensor in graph.inputs):
        raise GraphError(f"graph {graph.name!r} has inputs that are not of shape (rows, features)")
    inputs = tuple(
        replace(tensor, shape=(resize(tensor.shape[0]), tensor.shape[1])) for tensor in graph.inputs
    )
    tensors = {tensor.name: tensor for tensor in (*inputs, *graph.parameters)}
    operations: list[Operation] = []
    for operation in graph.operations:
        shape = result_shape(operation, tensors)
        if isinstance(operation, PositionEmbedding):
            shape = (resize(shape[0]), shape[1])
        result = replace(operation.result, shape=shape)
        tensors[result.name] = result
        operations.append(replace(operation, result=result))
    return replace(graph, inputs=inputs, operations=tuple(operations))
