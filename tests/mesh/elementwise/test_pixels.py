"""Factors and shifts of pixels, and their gradients: NumPy against the fabric and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.graph import (
    DataType,
    Graph,
    Linear,
    ScalePixels,
    ShiftPixels,
    Tensor,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import shard, shard_training
from onewafer.mesh.blocks import Launch
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import random_arrays

WSE3 = load_architecture("wse3")
FORWARD, BACKWARD = (replace(Launch.at(0, 0), entry=name) for name in ("forward", "backward"))
SAMPLES, PIXELS, FEATURES = 3, 4, 5
LARGEST = {DataType.F32: 3e-6, DataType.F16: 4e-3}
"""The distance from float64, relative to the largest value."""


def shifted_product(dtype: DataType) -> Graph:
    """Factors, shifts and factors of pixels, on both sides of a product."""
    rows = [Tensor(name, (SAMPLES * PIXELS, FEATURES), dtype) for name in ("x", "y", "z", "s", "r")]
    shapes = {
        "w": (FEATURES, FEATURES),
        **dict.fromkeys(("v1", "b", "v2"), (PIXELS, FEATURES)),
    }
    parameters = (*(Tensor(name, shape, dtype) for name, shape in shapes.items()),)
    operations = (
        ScalePixels(rows[1], "x", "v1", PIXELS),
        Linear(rows[2], "y", "w"),
        ShiftPixels(rows[3], "z", "b", PIXELS),
        ScalePixels(rows[4], "s", "v2", PIXELS),
    )
    return Graph("pixels", (rows[0],), parameters, operations, ("r",))


def check_near(found, exact, names, dtype) -> None:
    for name in names:
        scale = np.abs(exact[name]).max() + 1
        assert np.abs(found[name] - exact[name]).max() <= LARGEST[dtype] * scale


def test_values_and_gradients():
    """The last PEs of a row have but padding."""
    graph = shifted_product(DataType.F32)
    wanted = ["x", *(parameter.name for parameter in graph.parameters)]
    gradients = derive_gradients(graph, wanted, outputs=["r"])
    program = shard_training(gradients, width=4, height=2, architecture=WSE3)
    parameters = random_arrays(graph.parameters, 2)
    inputs = random_arrays(gradients.graph.inputs, 1)
    launches = [(inputs, FORWARD), (inputs, BACKWARD)]
    forward, backward = check_launches(program, WSE3, parameters, launches)
    exact = evaluate_graph(gradients.graph, inputs | parameters, inputs | parameters)
    names = ("r", *gradients.by_name.values())
    check_near(forward.outputs | backward.outputs, exact, names, DataType.F32)


@pytest.mark.parametrize(
    "dtype", [DataType.F16, pytest.param(DataType.F32, marks=pytest.mark.slow)]
)
def test_values_without_gradients(dtype):
    graph = shifted_product(dtype)
    program = shard(graph, width=2, height=3, architecture=WSE3)
    parameters, inputs = random_arrays(graph.parameters, 2), random_arrays(graph.inputs, 1)
    (launched,) = check_launches(program, WSE3, parameters, [(inputs, Launch.at(0, 0))])
    given = inputs | parameters
    check_near(launched.outputs, evaluate_graph(graph, given, given), ["r"], dtype)
