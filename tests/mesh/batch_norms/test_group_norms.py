"""Norms of groups and their gradients: NumPy against the fabric, the closed form and float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    DataType,
    Graph,
    GroupNorm,
    GroupNormInputGradient,
    Linear,
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
SAMPLES, PIXELS, FEATURES = 3, 4, 6


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, DataType.F32)


def two_norms(groups: int) -> Graph:
    """A norm, a product, which lies along the other axis, and another norm."""
    rows = [tensor(name, SAMPLES * PIXELS, FEATURES) for name in ("x", "y", "z", "r")]
    parameters = (
        tensor("w", FEATURES, FEATURES),
        *(tensor(name, FEATURES) for name in ("v1", "b1", "v2", "b2")),
    )
    operations = (
        GroupNorm(rows[1], "x", "v1", "b1", PIXELS, groups, 1e-5),
        Linear(rows[2], "y", "w"),
        GroupNorm(rows[3], "z", "v2", "b2", PIXELS, 6 // groups, 1e-3),
    )
    return Graph("norms", (rows[0],), parameters, operations, ("r",))


@pytest.mark.parametrize(
    ("rectangle", "groups"),
    [((4, 3), 2), pytest.param((1, 1), 1, marks=pytest.mark.slow)],
)
def test_values_and_gradients(rectangle, groups):
    """Groups are of one feature, of some on several PEs, or of all; the last PE has but padding."""
    graph, (width, height) = two_norms(groups), rectangle
    wanted = ["x", *(tensor.name for tensor in graph.parameters)]
    gradients = derive_gradients(graph, wanted, outputs=["r"])
    program = shard_training(gradients, width=width, height=height, architecture=WSE3)
    parameters = random_arrays(graph.parameters, 2)
    inputs = random_arrays(gradients.graph.inputs, 1)
    launches = [(inputs, FORWARD), (inputs, BACKWARD)]
    forward, backward = check_launches(program, WSE3, parameters, launches)
    found = forward.outputs | backward.outputs
    exact = evaluate_graph(gradients.graph, inputs | parameters, inputs | parameters)
    for name in ("r", *gradients.by_name.values()):
        scale = np.abs(exact[name]).max() + 1
        assert np.abs(found[name] - exact[name]).max() <= 3e-6 * scale


def test_a_gradient_asks_for_its_norm():
    x, y, v = tensor("x", 2, 3), tensor("y", 2, 3), tensor("v", 3)
    operation = GroupNormInputGradient(tensor("r", 2, 3), "x", "y", "v", 1, 1, 1e-5)
    graph = Graph("alone", (x, y), (v,), (operation,), ("r",))
    with pytest.raises(UnsupportedOperationError, match="it has no norm before it"):
        shard(graph, width=1, height=1, architecture=WSE3)
