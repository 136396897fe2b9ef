"""Norms over a batch and their gradients: NumPy against the fabric, the closed form and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import TooLargeError, UnsupportedOperationError
from onewafer.graph import (
    BatchMean,
    BatchNorm,
    BatchNormInputGradient,
    BatchVariance,
    DataType,
    Graph,
    Linear,
    Tensor,
    derive_gradients,
    evaluate_graph,
    with_dtype,
)
from onewafer.mesh import shard, shard_training
from onewafer.mesh.blocks import Launch
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import random_arrays

WSE3 = load_architecture("wse3")
FORWARD, BACKWARD = (replace(Launch.at(0, 0), entry=name) for name in ("forward", "backward"))
ROWS, FEATURES = 9, 5


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


def two_norms() -> Graph:
    """A norm whose statistics are outputs, a product, and a norm without; the output is its sum."""
    rows = [tensor(name, ROWS, FEATURES) for name in ("x", "y", "z", "r")]
    parameters = (
        tensor("w", FEATURES, FEATURES),
        *(tensor(name, FEATURES) for name in ("v1", "b1", "v2", "b2")),
    )
    operations = (
        BatchMean(tensor("mean", 1, FEATURES), "x"),
        BatchVariance(tensor("variance", 1, FEATURES), "x"),
        BatchNorm(rows[1], "x", "v1", "b1", 1e-5),
        Linear(rows[2], "y", "w"),
        BatchNorm(rows[3], "z", "v2", "b2", 1e-3),
    )
    return Graph("norms", (rows[0],), parameters, operations, ("mean", "variance", "r"))


@pytest.mark.parametrize("rectangle", [(3, 2), pytest.param((1, 1), marks=pytest.mark.slow)])
def test_values_and_gradients(rectangle):
    graph, (width, height) = two_norms(), rectangle
    wanted = ["x", *(tensor.name for tensor in graph.parameters)]
    gradients = derive_gradients(graph, wanted, outputs=["r"])
    program = shard_training(gradients, width=width, height=height, architecture=WSE3)
    parameters = random_arrays(graph.parameters, 2)
    inputs = random_arrays(gradients.graph.inputs, 1)
    launches = [(inputs, FORWARD), (inputs, BACKWARD)]
    forward, backward = check_launches(program, WSE3, parameters, launches)
    found = forward.outputs | backward.outputs
    exact = evaluate_graph(gradients.graph, inputs | parameters, inputs | parameters)
    for name in ("mean", "variance", "r", *gradients.by_name.values()):
        scale = np.abs(exact[name]).max() + 1  # that of a shift before a norm is 0
        assert np.abs(found[name] - exact[name]).max() <= 3e-6 * scale


def test_blocks_wider_than_a_stride_are_refused():
    graph = Graph(
        "mean", (tensor("x", 2, 130),), (), (BatchMean(tensor("m", 1, 130), "x"),), ("m",)
    )
    with pytest.raises(TooLargeError, match="with 130 features on each PE is not supported"):
        shard(graph, width=1, height=1, architecture=WSE3)


def test_half_precision_is_refused():
    graph = with_dtype(two_norms(), DataType.F16)
    with pytest.raises(UnsupportedOperationError, match="supported in f32 only"):
        shard(graph, width=1, height=1, architecture=WSE3)


def test_a_gradient_asks_for_its_norm():
    x, y, v = tensor("x", 2, 3), tensor("y", 2, 3), tensor("v", 3)
    operation = BatchNormInputGradient(tensor("r", 2, 3), "x", "y", "v", 1e-5)
    graph = Graph("alone", (x, y), (v,), (operation,), ("r",))
    with pytest.raises(UnsupportedOperationError, match="it has no norm before it"):
        shard(graph, width=1, height=1, architecture=WSE3)
