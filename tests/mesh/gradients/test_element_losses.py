"""Losses of elements and their gradients: float64, NumPy, fabric, closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onewafer.arch import load_architecture
from onewafer.errors import UnsupportedOperationError
from onewafer.graph import (
    Activation,
    ActivationFunction,
    DataType,
    ElementLoss,
    LossFunction,
    Reduction,
    Tensor,
    derive_gradients,
    evaluate_graph,
)
from onewafer.mesh import shard_training
from onewafer.mesh.blocks import Launch
from tests.mesh.fabric import check_launches
from tests.mesh.strategies import mlp, random_arrays

WSE3 = load_architecture("wse3")
LAUNCHES = [replace(Launch.at(0, 0), entry=name) for name in ("forward", "loss", "backward")]


def with_loss(
    function=LossFunction.SQUARE, reduction=Reduction.MEAN, *, is_activated=False, **numbers
):
    """Return the gradients of a perceptron, and the operations of the model."""
    graph = mlp([6, 7, 5], batch=3)
    (name,) = graph.outputs
    if is_activated:  # its padding is not 0
        shares = Activation(
            Tensor("shares", (3, 5), DataType.F32), name, ActivationFunction.SIGMOID
        )
        graph = replace(graph, operations=(*graph.operations, shares))
        name = "shares"
    shape = (3, 5) if reduction is Reduction.NONE else (1, 1)
    result = Tensor("loss", shape, DataType.F32)
    loss = ElementLoss(result, name, "t", function, reduction, **numbers)
    weights = (Tensor("w", (5,), DataType.F32),) if "weights" in numbers else ()
    whole = replace(
        graph,
        parameters=(*graph.parameters, *weights),
        inputs=(*graph.inputs, Tensor("t", (3, 5), DataType.F32)),
        operations=(*graph.operations, loss),
        outputs=("loss",),
    )
    wanted = [tensor.name for tensor in graph.parameters]  # not the weights of the loss
    return derive_gradients(whole, wanted), len(graph.operations)


CASES = [
    (LossFunction.SQUARE, Reduction.MEAN, False, {}),
    (LossFunction.SQUARE, Reduction.SUM, True, {}),
    (LossFunction.ABSOLUTE, Reduction.MEAN, True, {}),
    (LossFunction.HUBER, Reduction.MEAN, False, {"delta": 0.7, "scale": 1.5}),
    (LossFunction.BINARY, Reduction.SUM, True, {}),
    (LossFunction.BINARY_LOGITS, Reduction.MEAN, False, {}),
    (LossFunction.BINARY_LOGITS, Reduction.SUM, False, {"weights": "w", "scale": 0.25}),
    (LossFunction.DIVERGENCE, Reduction.SUM, False, {"scale": 0.2}),
    (LossFunction.LOG_DIVERGENCE, Reduction.MEAN, True, {}),
]


@pytest.mark.parametrize(("function", "reduction", "is_activated", "numbers"), CASES)
@pytest.mark.alternate(3)
def test_losses_of_elements(function, reduction, is_activated, numbers):
    gradients, number = with_loss(function, reduction, is_activated=is_activated, **numbers)
    width, height = (4, 3) if function is LossFunction.SQUARE else (3, 2)  # half the programs
    program = shard_training(
        gradients, width=width, height=height, architecture=WSE3, num_model=number
    )
    inputs, parameters = (
        random_arrays(gradients.graph.inputs, 1),
        random_arrays(gradients.graph.parameters, 2),
    )
    if function is LossFunction.DIVERGENCE:
        inputs["t"] = np.abs(inputs["t"])
        inputs["t"][0] = 0
    if function in (LossFunction.BINARY, LossFunction.BINARY_LOGITS):
        inputs["t"] = np.round(np.abs(inputs["t"]) % 1, 1)
        parameters = {name: 0.3 * value for name, value in parameters.items()}  # 1 − x in f32
    exact = evaluate_graph(gradients.graph, inputs | parameters, parameters)
    launches = [(inputs, launch) for launch in LAUNCHES]
    for run in check_launches(program, WSE3, parameters, launches, slack=100):
        for name, value in run.outputs.items():
            scale = np.abs(exact[name]).max()
            assert np.abs(value - exact[name]).max() <= 1e-5 * scale


def test_a_loss_for_each_element_is_refused():
    gradients, number = with_loss(reduction=Reduction.NONE)
    with pytest.raises(UnsupportedOperationError, match="a loss for each element is not supported"):
        shard_training(gradients, width=2, height=2, architecture=WSE3, num_model=number)
