"""Compute a graph with NumPy on the host: what every other reader is compared with.

In: a graph, parameters, and for each launch inputs and its place in the sequence. Out: outputs.
All is computed in one floating type of the caller's choice, float64 unless told otherwise; results
are rounded to a narrower one if the caller names one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from onewafer.errors import HostError
from onewafer.graph.operations import (
    Activation,
    ActivationFunction,
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
from onewafer.graph.tensor import DataType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from onewafer.graph.graph import Graph
    from onewafer.graph.operations import Operation

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Evaluator:
    """A well-formed graph with its parameters; it remembers the keys and values of a sequence."""

    def __init__(
        self,
        graph: Graph,
        parameters: Arrays,
        *,
        dtype: DTypeLike = np.float64,
        stored_as: DTypeLike | None = None,
    ) -> None:
        """Take the parameters by name; raise HostError if one is missing or has another shape.

        Results are rounded to `stored_as`, then computed on with in `dtype`. Parameters that have
        this type are not copied and must not change.
        """
        self.graph = graph
        self._dtype = dtype
        self._stored_as = stored_as
        self._parameters = {
            tensor.name: _find("parameter", tensor.name, tensor.shape, parameters).astype(
                dtype, copy=False
            )
            for tensor in graph.parameters
        }
        self._cache: dict[str, tuple[Array, Array]] = {}
        """Result of a causal attention → keys and values of all rows of the sequence so far."""

    def run(self, inputs: Arrays, start: int = 0, num_rows: int | None = None) -> dict[str, Array]:
        """Return the outputs of one launch, whose first row is at position `start`.

        Inputs may have any number of rows, of which the first `num_rows` count, all if None.
        Outputs have `num_rows` rows, or one. Raises HostError for a missing input, a wrong shape,
        or a start beyond the rows that earlier launches have given.
        """
        values = dict(self._parameters)
        for tensor in self.graph.inputs:
            if tensor.name not in inputs:
                raise HostError(f"the input {tensor.name!r} is missing")
            array = inputs[tensor.name]
            if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:]:
                wanted = ("rows", *tensor.shape[1:])
                raise HostError(f"input {tensor.name!r} has shape {array.shape}, not {wanted}")
            dtype = np.int64 if tensor.dtype is DataType.I32 else self._dtype
            values[tensor.name] = array[:num_rows].astype(dtype)
        rows = values[self.graph.inputs[0].name].shape[0]
        launch = _Launch(values, self._cache, start, rows)
        for operation in self.graph.operations:
            result = launch.compute(operation)
            if operation.result.dtype is not DataType.I32:
                result = np.asarray(result, dtype=self._stored_as).astype(self._dtype, copy=False)
            values[operation.result.name] = result
        return {name: values[name] for name in self.graph.outputs}


def evaluate_graph(
    graph: Graph, inputs: Arrays, parameters: Arrays, *, dtype: DTypeLike = np.float64
) -> dict[str, Array]:
    """Return the outputs of one launch at position 0; raise HostError for missing arrays."""
    return Evaluator(graph, parameters, dtype=dtype).run(inputs)


def _find(what: str, name: str, shape: tuple[int, ...], arrays: Arrays) -> Array:
    if name not in arrays:
        raise HostError(f"the {what} {name!r} is missing")
    if arrays[name].shape != shape:
        raise HostError(f"{what} {name!r} has shape {arrays[name].shape}, not {shape}")
    return arrays[name]


class _Launch:
    """The values of one launch."""

    def __init__(
        self,
        values: dict[str, Array],
        cache: dict[str, tuple[Array, Array]],
        start: int,
        rows: int,
    ) -> None:
        self._values = values
        self._cache = cache
        self._start = start
        self._rows = rows

    def compute(self, operation: Operation) -> Array:
        """Return the result of an operation whose operands have been computed."""
        values = self._values
        match operation:
            case Linear():
                return values[operation.input] @ values[operation.weight].T
            case AddBias():
                return values[operation.input] + values[operation.bias]
            case Relu():
                return np.maximum(values[operation.input], 0)
            case Add():
                return values[operation.left] + values[operation.right]
            case Multiply():
                return values[operation.left] * values[operation.right]
            case ScaleFeatures():
                return values[operation.input] * values[operation.factors]
            case Scale():
                return values[operation.input] * operation.factor
            case Activation():
                return apply_function(operation.function, values[operation.input])
            case RmsNorm():
                return self._normalise_root(operation)
            case LayerNorm():
                return self._normalise(operation)
            case Embedding():
                return self._look_up(operation)
            case PositionEmbedding():
                return self._at_positions(operation.table)
            case Rotary():
                return self._rotate(operation)
            case Attention():
                return self._attend(operation)
            case FirstRow():
                return values[operation.input][:1]
            case LastRow():
                return values[operation.input][-1:]
            case (
                Convolution()
                | DepthwiseConvolution()
                | MaxPool()
                | ScaleFeatureMaps()
                | GlobalAveragePool()
            ):
                return self._on_feature_maps(operation)
            case Softmax():
                return self._share_out(operation)
            case BatchedMatmul():
                return self._multiply(operation)
            case TopIndices():
                return top_indices(values[operation.input], operation.count)
            case Gather():
                return np.take_along_axis(values[operation.input], values[operation.indices], -1)
            case Experts() | Opaque():
                kind = type(operation).__name__
                raise HostError(f"{kind} {operation.result.name!r} is counted, it has no values")
            case _:
                raise TypeError(f"no rule for {operation}")

    def _on_feature_maps(
        self,
        operation: Convolution
        | DepthwiseConvolution
        | MaxPool
        | ScaleFeatureMaps
        | GlobalAveragePool,
    ) -> Array:
        values = self._values
        match operation:
            case Convolution():
                taps = self._gather(operation, missing=0)
                result = np.einsum("spti,toi->spo", taps, values[operation.weight])
                return result.reshape(-1, result.shape[-1])
            case DepthwiseConvolution():
                taps = self._gather(operation, missing=0)
                return (taps * values[operation.weight]).sum(axis=2).reshape(-1, taps.shape[-1])
            case MaxPool():
                taps = self._gather(operation, missing=-np.inf)
                return taps.max(axis=2).reshape(-1, taps.shape[-1])
            case ScaleFeatureMaps():
                factors = np.repeat(values[operation.factors], operation.rows, axis=0)
                return values[operation.input] * factors
            case GlobalAveragePool():
                rows = values[operation.input]
                return rows.reshape(-1, operation.rows, rows.shape[-1]).mean(axis=1)
            case _:
                raise TypeError(f"no rule for {operation}")

    def _gather(
        self, operation: Convolution | DepthwiseConvolution | MaxPool, missing: float
    ) -> Array:
        """Return the rows at the taps of every place: `[samples, places, taps, features]`."""
        rows, sources = self._values[operation.input], operation.window.sources()
        maps = rows.reshape(-1, operation.window.num_pixels, rows.shape[-1])
        is_inside = (sources >= 0)[:, :, np.newaxis]
        return np.where(is_inside, maps[:, sources], missing)

    def _normalise_root(self, operation: RmsNorm) -> Array:
        rows = self._values[operation.input]
        groups = rows.reshape(*rows.shape[:-1], operation.groups, -1)
        square = (groups * groups).mean(axis=-1, keepdims=True)
        scaled = groups / np.sqrt(square + operation.epsilon) * self._values[operation.weight]
        return scaled.reshape(rows.shape)

    def _normalise(self, operation: LayerNorm) -> Array:
        rows = self._values[operation.input]
        groups = rows.reshape(*rows.shape[:-1], operation.groups, -1)
        centred = groups - groups.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(variance + operation.epsilon) * self._values[operation.weight]
        return (scaled + self._values[operation.bias]).reshape(rows.shape)

    def _share_out(self, operation: Softmax) -> Array:
        rows = self._values[operation.input]
        groups = rows.reshape(*rows.shape[:-1], operation.groups, -1)
        weights = np.exp(groups - groups.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).reshape(rows.shape)

    def _multiply(self, operation: BatchedMatmul) -> Array:
        left, right = self._values[operation.left], self._values[operation.right]
        samples = len(left) // operation.rows
        shape = samples, -1, operation.groups
        products = np.einsum(
            "srgk,stgk->srgt" if operation.is_transposed else "srgk,skgn->srgn",
            left.reshape(*shape, left.shape[-1] // operation.groups),
            right.reshape(*shape, right.shape[-1] // operation.groups),
        )
        return products.reshape(len(left), -1)

    def _look_up(self, operation: Embedding) -> Array:
        indices, table = self._values[operation.indices][:, 0], self._values[operation.table]
        if indices.size and not (indices.min() >= 0 and indices.max() < len(table)):
            raise HostError(
                f"{operation.indices!r} has indices from {indices.min()} to {indices.max()}; "
                f"{operation.table!r} has rows 0 to {len(table) - 1}"
            )
        return table[indices]

    def _at_positions(self, table: str) -> Array:
        end = self._start + self._rows
        rows = self._values[table]
        if end > len(rows):
            raise HostError(f"position {end - 1} is beyond the {len(rows)} positions of {table!r}")
        return rows[self._start : end]

    def _rotate(self, operation: Rotary) -> Array:
        rows = self._values[operation.input]
        heads = rows.reshape(len(rows), operation.heads, -1)
        count = operation.num_swapped
        first, second = np.split(heads[..., :count], 2, axis=-1)
        even, odd = heads[..., count::2], heads[..., count + 1 :: 2]
        neighbours = np.stack([-odd, even], axis=-1).reshape(*heads.shape[:-1], -1)
        swapped = np.concatenate([-second, first, neighbours], axis=-1)
        cosine = self._at_positions(operation.cosine)[:, np.newaxis]
        sine = self._at_positions(operation.sine)[:, np.newaxis]
        return (heads * cosine + swapped * sine).reshape(rows.shape)

    def _attend(self, operation: Attention) -> Array:
        query = self._values[operation.query]
        keys, values = self._values[operation.key], self._values[operation.value]
        if operation.is_causal:
            keys, values = self._append(operation.result.name, keys, values)
        groups = operation.heads // operation.kv_heads
        heads = query.reshape(len(query), operation.kv_heads, groups, -1)
        keys = keys.reshape(len(keys), operation.kv_heads, -1)
        values = values.reshape(len(values), operation.kv_heads, -1)
        scores = np.einsum("rhgd,shd->rhgs", heads, keys)
        if operation.bias is not None:
            bias = self._values[operation.bias]
            by_row = bias.reshape(-1, operation.heads, bias.shape[-1])
            scores = scores + by_row[: len(query), :, : len(keys)].reshape(scores.shape)
        scores = scores * operation.scale
        if operation.is_causal:
            position = self._start + np.arange(len(query))
            distance = position[:, np.newaxis] - np.arange(len(keys))
            window = len(keys) if operation.window is None else operation.window
            is_hidden = (distance < 0) | (distance >= window)
            scores = np.where(is_hidden[:, np.newaxis, np.newaxis], -np.inf, scores)
        shares = self._share(operation, scores)
        return np.einsum("rhgs,shd->rhgd", shares, values).reshape(len(query), -1)

    def _share(self, operation: Attention, scores: Array) -> Array:
        """Return the softmax of scores (rows, kv heads, group, keys), less what a sink takes."""
        top = scores.max(axis=-1, keepdims=True)
        if operation.sinks is None:
            shares = np.exp(scores - top)
            return shares / shares.sum(axis=-1, keepdims=True)
        sinks = self._values[operation.sinks].reshape(1, *scores.shape[1:3], 1)
        top = np.maximum(top, sinks)
        shares = np.exp(scores - top)
        return shares / (shares.sum(axis=-1, keepdims=True) + np.exp(sinks - top))

    def _append(self, name: str, keys: Array, values: Array) -> tuple[Array, Array]:
        if self._start:
            old_keys, old_values = self._cache.get(name, (keys[:0], values[:0]))
            if self._start > len(old_keys):
                raise HostError(
                    f"a launch starts at position {self._start}, "
                    f"but earlier launches gave {len(old_keys)} rows"
                )
            keys = np.concatenate([old_keys[: self._start], keys])
            values = np.concatenate([old_values[: self._start], values])
        self._cache[name] = keys, values
        return keys, values


def top_indices(values: Array, count: int) -> NDArray[np.int64]:
    """Return the places of the largest elements of each row, as `TopIndices` orders them."""
    if count == 1:
        return values.argmax(axis=-1, keepdims=True)
    order = np.lexsort((-values, ~np.isnan(values)))  # stable; the last key comes first
    return order[..., :count]


def apply_function(function: ActivationFunction, values: Array) -> Array:
    """Return a function of every element, as precisely as the type allows."""
    match function:
        case ActivationFunction.SIGMOID:
            return _sigmoid(values)
        case ActivationFunction.SILU:
            return values * _sigmoid(values)
        case ActivationFunction.TANH:
            return np.tanh(values)
        case ActivationFunction.GELU:
            return values * (1 + _erf(values / math.sqrt(2))) / 2
        case ActivationFunction.GELU_TANH:
            inner = math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)
            return values * (1 + np.tanh(inner)) / 2
        case _:
            assert_never(function)


def _sigmoid(values: Array) -> Array:
    """Return 1 / (1 + e⁻ˣ) without overflow, as a shifted and halved tanh."""
    return (1 + np.tanh(values / 2)) / 2
