"""Graphs on rectangles, and arrays for them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from onewafer.graph import Add, AddBias, DataType, Graph, Linear, Relu, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from onewafer.graph import Operation


def mlp(
    sizes: Sequence[int],
    *,
    batch: int = 1,
    dtype: DataType = DataType.F32,
    is_residual: bool = False,
) -> Graph:
    """Build Linear, bias, ReLU, Linear, bias, …; `is_residual` adds the input at the end."""
    source = Tensor("x", (batch, sizes[0]), dtype)
    first = source
    parameters, operations = list[Tensor](), list["Operation"]()
    for index, (in_features, out_features) in enumerate(itertools.pairwise(sizes)):
        weight = Tensor(f"{index}.weight", (out_features, in_features), dtype)
        bias = Tensor(f"{index}.bias", (out_features,), dtype)
        parameters += [weight, bias]
        shape = (batch, out_features)
        product = Tensor(f"{index}.product", shape, dtype)
        operations.append(Linear(product, source.name, weight.name))
        source = Tensor(f"{index}.sum", shape, dtype)
        operations.append(AddBias(source, product.name, bias.name))
        if index < len(sizes) - 2:
            operations.append(Relu(Tensor(f"{index}.relu", shape, dtype), source.name))
            source = operations[-1].result
    if is_residual:
        operations.append(Add(Tensor("residual", first.shape, dtype), source.name, first.name))
    return Graph(
        "mlp", (first,), tuple(parameters), tuple(operations), (operations[-1].result.name,)
    )


def turned_input(features: int, *, batch: int = 1, dtype: DataType = DataType.F32) -> Graph:
    """Build `turned = z + x`, where `sum = z + linear(x)` lets x and z lie along different axes."""
    x, z, product, total, turned = (
        Tensor(name, (batch, features), dtype) for name in ("x", "z", "product", "sum", "turned")
    )
    weight = Tensor("weight", (features, features), dtype)
    operations = (
        Linear(product, "x", "weight"),
        Add(total, "z", "product"),
        Add(turned, "z", "x"),
    )
    return Graph("turned input", (x, z), (weight,), operations, ("turned", "sum"))


def assert_same_bits(actual: NDArray[Any], expected: NDArray[Any]) -> None:
    """Assert that arrays agree in every bit; NaNs: in being NaN."""
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(
        np.signbit(actual) & ~np.isnan(actual), np.signbit(expected) & ~np.isnan(expected)
    )


def random_arrays(tensors: Sequence[Tensor], seed: int) -> dict[str, NDArray[np.float32]]:
    """Return normal f32 values for each tensor."""
    generator = np.random.default_rng(seed)
    return {
        tensor.name: generator.standard_normal(tensor.shape).astype(np.float32)
        for tensor in tensors
    }
